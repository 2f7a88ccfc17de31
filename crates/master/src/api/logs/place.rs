//! On which node the output of an attempt is, as far as a view and the changes that are kept tell.
//!
//! The cell stores the node of a task's current or last attempt. Of earlier attempts, and of a task that waits for its
//! next, the node is known as long as the change that assigned them is among those that are kept.

use paceline_api::v1::ErrorCode;
use paceline_cell::{Cell, Event, Job, JobSelector, RetiredJob};
use paceline_types::{Attempt, JobUid, NodeId, NodeName, TaskIndex, TaskState};
use tonic::Status;

use crate::published::Published;
use crate::refuse;

/// Whose output is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub job: JobUid,
    pub task: TaskIndex,
    /// Zero is the current or last one.
    pub attempt: Attempt,
}

/// Where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub node: NodeName,
    pub attempt: Attempt,
    /// The attempt has not ended, as far as the view knows.
    pub open: bool,
    /// The attempt was not said to run yet.
    pub starting: bool,
}

/// What a view says of it.
#[derive(Debug)]
pub(super) enum Found {
    At(Place),
    /// The attempt has not begun, and may yet: why.
    NotYet(Status),
}

/// The job that a selector means.
pub(super) fn job<'v>(view: &'v Cell, selector: &JobSelector) -> Result<&'v Job, Status> {
    let (job, name) = match selector {
        JobSelector::Name(name) => (view.job_by_name(name), name.clone()),
        JobSelector::Uid(uid) => (view.job(*uid), uid.to_string()),
    };
    job.ok_or_else(|| no_such_job(&name))
}

fn no_such_job(name: &str) -> Status {
    let message = format!(
        "there is no job `{name}` whose output can be read: it was never submitted, or was forgotten; `paceline job \
         list` shows those that there are"
    );
    refuse::plain(ErrorCode::NotFound, message)
}

/// Finds an attempt in a view.
pub(super) fn find(view: &Cell, published: &Published, wanted: Wanted) -> Result<Found, Status> {
    let job = view.job(wanted.job).ok_or_else(|| no_such_job(&wanted.job.to_string()))?;
    let task = job.task(wanted.task).ok_or_else(|| no_such_task(job, wanted.task))?;
    let attempt = if wanted.attempt.0 == 0 { task.attempt } else { wanted.attempt };
    if attempt.0 == 0 || attempt > task.attempt {
        return not_begun(job, wanted.task, attempt, task.attempt, task.state);
    }
    let current = attempt == task.attempt;
    let node = match task.node.filter(|_| current) {
        Some(node) => Some(node),
        None => assigned_to(published, wanted.job, wanted.task, attempt),
    };
    let node = node.ok_or_else(|| node_forgotten(job, wanted.task, attempt, published))?;
    let node = view.node(node).ok_or_else(|| node_gone(job, wanted.task, attempt, &format!("#{node}")))?;
    let open = current && task.state.is_on_node();
    let starting = current && task.state == TaskState::Assigned;
    Ok(Found::At(Place { node: node.name.clone(), attempt, open, starting }))
}

/// Finds an attempt of a job that has retired: its record names the nodes of last attempts. Nothing of it changes any
/// more.
pub(super) fn find_retired(
    view: &Cell,
    published: &Published,
    retired: &RetiredJob,
    wanted: Wanted,
) -> Result<Place, Status> {
    let job = retired.job();
    let task = job.task(wanted.task).ok_or_else(|| no_such_task(job, wanted.task))?;
    let attempt = if wanted.attempt.0 == 0 { task.attempt } else { wanted.attempt };
    if attempt.0 == 0 || attempt > task.attempt {
        let message = format!(
            "task {} of job `{}` was {} and had {}: there is no more to read",
            wanted.task,
            job.name,
            task.state,
            had(task.attempt)
        );
        return Err(refuse::plain(ErrorCode::NotFound, message));
    }
    let node = match task.node.filter(|_| attempt == task.attempt) {
        Some(node) => Some(node),
        None => assigned_to(published, wanted.job, wanted.task, attempt),
    };
    let id = node.ok_or_else(|| node_forgotten(job, wanted.task, attempt, published))?;
    // The record has names of nodes that were there when the job left; a name is what finds an agent.
    let name = retired.node_name(id).or_else(|| view.node(id).map(|node| &node.name));
    let node = name.ok_or_else(|| node_gone(job, wanted.task, attempt, &format!("#{id}")))?;
    if view.node_by_name(node).is_none_or(|now| now.id != id) {
        return Err(node_gone(job, wanted.task, attempt, node.as_str()));
    }
    Ok(Place { node: node.clone(), attempt, open: false, starting: false })
}

fn no_such_task(job: &Job, task: TaskIndex) -> Status {
    let message = format!(
        "job `{}` has no task {task}: its {} tasks are numbered from 0 to {}",
        job.name,
        job.spec.tasks,
        job.spec.tasks.saturating_sub(1)
    );
    refuse::plain(ErrorCode::NotFound, message)
}

fn node_gone(job: &Job, task: TaskIndex, attempt: Attempt, node: &str) -> Status {
    let message = format!(
        "attempt {attempt} of task {task} of job `{}` ran on node {node}, which has left the cell, and its output with it",
        job.name
    );
    refuse::plain(ErrorCode::NotFound, message)
}

/// How many attempts there were, in words.
fn had(last: Attempt) -> String {
    match last.0 {
        0 => "no attempt".to_owned(),
        1 => "one attempt".to_owned(),
        many => format!("{many} attempts"),
    }
}

/// An attempt that there is not: one that may come, or never will.
fn not_begun(
    job: &Job,
    task: TaskIndex,
    attempt: Attempt,
    last: Attempt,
    state: TaskState,
) -> Result<Found, Status> {
    let name = &job.name;
    let had = had(last);
    if state.is_terminal() {
        let message =
            format!("task {task} of job `{name}` is {state} and has had {had}: there is no more to read");
        return Err(refuse::plain(ErrorCode::NotFound, message));
    }
    let which = if attempt.0 == 0 {
        "there is no output yet".to_owned()
    } else {
        format!("attempt {attempt} is to come")
    };
    let message = format!(
        "task {task} of job `{name}` is {state} and has had {had}, so {which}: wait for it with -f; `paceline job get \
         {name}` says why tasks wait"
    );
    Ok(Found::NotYet(refuse::plain(ErrorCode::Conflict, message)))
}

fn node_forgotten(job: &Job, task: TaskIndex, attempt: Attempt, published: &Published) -> Status {
    let message = format!(
        "on which node attempt {attempt} of task {task} of job `{}` ran is not known any more: the cell keeps the node \
         of the last attempt, and this master the changes after revision {}",
        job.name,
        published.oldest()
    );
    refuse::plain(ErrorCode::NotFound, message)
}

/// The node of an attempt by the change that assigned it, if that is kept.
fn assigned_to(published: &Published, job: JobUid, task: TaskIndex, attempt: Attempt) -> Option<NodeId> {
    // The ring is bounded by events; all of it is read, once for each stream of an earlier attempt.
    let changes = published.changes_after(published.oldest(), usize::MAX).ok()?;
    changes.iter().rev().flat_map(|(_, events)| events.iter()).find_map(|event| match event {
        Event::TasksAssigned { job: of, attempt: number, node, tasks }
            if *of == job && *number == attempt && tasks.contains(task) =>
        {
            Some(*node)
        }
        _ => None,
    })
}
