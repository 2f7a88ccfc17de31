//! Jobs and tasks.

use std::collections::BTreeMap;

use paceline_api::{JobRef, v1};
use paceline_cell::{Job, JobSelector, TaskView};
use paceline_schedule::Waiting;
use paceline_types::{ExitStatus, NodeId, Reason, Revision, TaskIndex, TaskState};
use tonic::Status;

use crate::refuse;

/// The longest name that a job can have; the rules for names say so.
const JOB_NAME_BYTES_MAX: usize = 63;

/// The job that a request means.
pub(crate) fn selector(job: Option<v1::JobSelector>) -> Result<JobSelector, Status> {
    let missing = || refuse::invalid_field("job", "", "a name or a uid");
    Ok(match JobRef::try_from(job.ok_or_else(missing)?)? {
        // No job has it, and what is asked must not grow the log.
        JobRef::Name(name) if name.len() > JOB_NAME_BYTES_MAX => {
            let shown: String = name.chars().take(JOB_NAME_BYTES_MAX).chain(['…']).collect();
            let expected = format!("a name of at most {JOB_NAME_BYTES_MAX} characters, not {}", name.len());
            return Err(refuse::invalid_field("job.name", shown, expected));
        }
        JobRef::Name(name) => JobSelector::Name(name),
        JobRef::Uid(uid) => JobSelector::Uid(uid),
    })
}

/// A job as it is in a view of this revision, or was when it retired before; `with_spec` where one job was asked for.
pub(crate) fn job_status(view: Revision, job: &Job, retired: bool, with_spec: bool) -> v1::JobStatus {
    let count = |state| job.count(state);
    let ended = job.ended;
    let (exit_codes, reasons) = ends(job);
    v1::JobStatus {
        name: job.name.to_string(),
        uid: Some(job.uid.into()),
        state: v1::JobState::from(job.state).into(),
        revision: view.0,
        tasks: Some(v1::TaskCounts {
            pending: count(TaskState::Pending),
            assigned: count(TaskState::Assigned),
            running: count(TaskState::Running),
            stopping: count(TaskState::Stopping),
            succeeded: count(TaskState::Succeeded),
            failed: count(TaskState::Failed),
            killed: count(TaskState::Killed),
            lost: count(TaskState::Lost),
        }),
        exit_codes,
        reasons,
        submitted_unix_ms: job.submitted_unix_ms,
        ended_unix_ms: ended.map(|_| job.ended_unix_ms),
        spec: with_spec.then(|| (&*job.spec).into()),
        submitted_revision: job.submitted().0,
        ended_revision: ended.map(|revision| revision.0),
        retired,
        reason: v1::Reason::from(job.stop_reason).into(),
        waiting: None,
        silent: None,
    }
}

/// Why tasks wait.
pub(crate) fn waiting(why: &Waiting) -> v1::Waiting {
    let nodes = why
        .nodes
        .iter()
        .map(|(&reason, &nodes)| v1::NodesInTheWay { reason: v1::Reason::from(reason).into(), nodes });
    v1::Waiting {
        reason: v1::Reason::from(why.reason).into(),
        tasks: why.tasks,
        first_task: why.first.0,
        need: Some(why.need.into()),
        nodes: nodes.collect(),
        nodes_silent: why.silent,
        explanation: why.explanation(),
        change: why.change_in_words(),
    }
}

/// How many tasks ended in which way and for which reason.
fn ends(job: &Job) -> (BTreeMap<String, u64>, BTreeMap<String, u64>) {
    let (mut codes, mut reasons) = (BTreeMap::new(), BTreeMap::new());
    for (range, task) in job.task_runs().filter(|(_, task)| task.state.is_terminal()) {
        let code = task.status.map(|status| match status {
            ExitStatus::Code(code) => code.to_string(),
            ExitStatus::Signal(signal) => format!("signal {signal}"),
        });
        if let Some(code) = code {
            *codes.entry(code).or_insert(0) += range.count();
        }
        if task.reason != Reason::None {
            *reasons.entry(task.reason.to_string()).or_insert(0) += range.count();
        }
    }
    (codes, reasons)
}

/// A task as it is; a node that nobody knows the name of any more is shown by its number.
pub(crate) fn task(
    node_name: impl FnOnce(NodeId) -> Option<String>,
    index: TaskIndex,
    task: &TaskView,
    pid: Option<u32>,
) -> v1::Task {
    let node = task.node.map(|id| node_name(id).unwrap_or_else(|| format!("#{id}")));
    let (exit_code, signal) = match task.status {
        Some(ExitStatus::Code(code)) => (Some(code), None),
        Some(ExitStatus::Signal(signal)) => (None, Some(signal)),
        None => (None, None),
    };
    v1::Task {
        index: index.0,
        state: v1::TaskState::from(task.state).into(),
        node: node.unwrap_or_default(),
        attempt: task.attempt.0,
        pid,
        exit_code,
        signal,
        reason: v1::Reason::from(task.reason).into(),
        failures: u32::from(task.failures),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_no_job_can_have_is_refused_without_being_repeated() {
        let named = |bytes| Some(JobRef::Name("x".repeat(bytes)).into());
        assert!(selector(named(JOB_NAME_BYTES_MAX)).is_ok());
        let refused = selector(named(1_900_000)).expect_err("too long");
        let detail = paceline_api::detail_of(&refused).expect("typed");
        assert_eq!(detail.violations[0].field, "job.name");
        assert!(detail.violations[0].value.chars().count() <= JOB_NAME_BYTES_MAX + 1);
    }
}
