//! A job whose tasks say themselves when they start and end, and end only when they are told to: what runs through a
//! fault must be the same processes afterwards, and nothing of it depends on how fast the machine is.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use paceline_client::{Client, JobRef, v1};
use paceline_rules::{Constraint, JobSpec};
use paceline_types::{JobUid, Resources};

use super::{Options, checks};
use crate::cell::DevCell;
use crate::marks::{Marks, exit_code};
use crate::process::Process;
use crate::report::Report;
use crate::wait::until;

/// A task needs little, so that all run at once on a small machine.
pub const NEEDS: Resources = Resources::new(5, 4 << 20);
/// From submission until all tasks run and the leader knows their processes; on a machine that does much else.
const RUNNING_WITHIN: Duration = Duration::from_secs(120);
/// From the release of a stage until its processes are gone. They look once a second.
const GONE_WITHIN: Duration = Duration::from_secs(60);
/// From the end of the last process until the cell has committed it.
const ENDED_WITHIN: Duration = Duration::from_secs(120);
/// From an agent's return until the leader has heard of every process of its tasks.
const HEARD_WITHIN: Duration = Duration::from_secs(120);

/// Short tasks that come and go, for each task that runs through a fault.
const CHURN_PER_TASK: u32 = 10;
/// One of so many has ended when the fault comes: it meets tasks that wait, start, run and end.
const CHURN_ENDED_OF: usize = 4;

/// A task that runs.
#[derive(Clone, Debug)]
pub struct Running {
    /// Its process.
    pub process: Process,
    /// Where.
    pub node: String,
}

/// Tasks that run, by index.
pub type Pids = BTreeMap<u32, Running>;

/// The job.
#[derive(Debug)]
pub struct Workload {
    client: Client,
    name: String,
    count: u32,
    /// Its identity.
    pub uid: JobUid,
    /// What its tasks wrote.
    pub marks: Marks,
}

impl Workload {
    /// Submits the job. Its tasks end stage by stage, as they are released; at once where there are no stages.
    pub async fn submit(
        cell: &DevCell,
        client: &Client,
        name: String,
        count: u32,
        stages: u32,
        constraints: Vec<Constraint>,
    ) -> Result<Self> {
        let marks = Marks::new(cell.marks_folder(), &name, stages);
        let script = marks.script();
        let spec =
            JobSpec { constraints, ..JobSpec::batch(&name, count, &["/bin/sh", "-c", &script], NEEDS) };
        Self::submit_spec(client, spec, marks).await
    }

    /// Submits a job that is not as the others are: its tasks need not mark anything.
    pub async fn submit_spec(client: &Client, spec: JobSpec, marks: Marks) -> Result<Self> {
        let uid = checks::submit(client, &spec).await?;
        Ok(Self { client: client.clone(), name: spec.name, count: spec.tasks, uid, marks })
    }

    /// Holds these tasks against being in this attempt, as these processes.
    pub async fn same_attempts(&self, pids: &Pids, attempt: u32, report: &mut Report) -> Result<()> {
        for task in self.tasks().await.map_err(anyhow::Error::msg)? {
            let Some(known) = pids.get(&task.index) else { continue };
            if task.attempt != attempt || task.pid != Some(known.process.pid) || !known.process.runs() {
                let (index, now, pid) = (task.index, task.attempt, task.pid);
                report.violations.push(format!(
                    "task {index} is in attempt {now} as process {pid:?}, it was {known:?} in attempt {attempt}"
                ));
            }
        }
        Ok(())
    }

    /// Waits until these tasks run in this attempt as processes elsewhere than on the given nodes.
    pub async fn run_elsewhere(
        &self,
        tasks: &Pids,
        attempt: u32,
        nodes: &[String],
        within: Duration,
    ) -> Result<Pids> {
        let look = || async {
            let mut found = Pids::new();
            for task in self.tasks().await?.into_iter().filter(|task| tasks.contains_key(&task.index)) {
                let runs = task.state() == v1::TaskState::Running && task.attempt == attempt;
                let process = task.pid.and_then(Process::find);
                match process.filter(|_| runs && !nodes.contains(&task.node)) {
                    Some(process) => found.insert(task.index, Running { process, node: task.node }),
                    None => {
                        let (index, state) = (task.index, task.state().as_str_name());
                        return Err(format!(
                            "task {index} is {state} in attempt {} on `{}`",
                            task.attempt, task.node
                        ));
                    }
                };
            }
            Ok(found)
        };
        until(&format!("attempt {attempt} of tasks of {}", self.name), within, look).await
    }

    /// Submits a job of tasks that end at once, and returns in the middle of it.
    pub async fn churn(cell: &DevCell, client: &Client, number: usize, options: &Options) -> Result<Self> {
        let count = options.tasks * CHURN_PER_TASK;
        let job = Self::submit(cell, client, format!("churn-{number}"), count, 0, Vec::new()).await?;
        let look = || async {
            let ended = job.tasks().await?.iter().filter(|task| task.exit_code.is_some()).count();
            let wanted = count as usize / CHURN_ENDED_OF;
            if ended >= wanted { Ok(()) } else { Err(format!("{ended} of {wanted} have ended")) }
        };
        until(&format!("the first ends of {}", job.name), ENDED_WITHIN, look).await?;
        Ok(job)
    }

    /// The same job, as another client sees it.
    pub fn seen_by(&self, client: &Client) -> Self {
        let Self { name, count, uid, marks, .. } = self;
        Self { client: client.clone(), name: name.clone(), count: *count, uid: *uid, marks: marks.clone() }
    }

    /// Waits until all tasks run, and the cell tells of their processes.
    pub async fn all_running(&self) -> Result<Pids> {
        let look = || async {
            let tasks = self.tasks().await?.into_iter();
            let running = tasks.filter(|task| task.state() == v1::TaskState::Running);
            let process = |task: v1::Task| {
                let process = Process::find(task.pid?)?;
                Some((task.index, Running { process, node: task.node }))
            };
            let pids: Pids = running.filter_map(process).collect();
            let (have, want) = (pids.len(), self.count);
            if have == want as usize { Ok(pids) } else { Err(format!("{have} of {want} run with a pid")) }
        };
        until(&format!("the start of all tasks of {}", self.name), RUNNING_WITHIN, look).await
    }

    /// Waits until the cell tells of the same process, in attempt 1, for each of these tasks.
    pub async fn same_processes(&self, pids: &Pids, of: impl Fn(u32) -> bool) -> Result<()> {
        let look = || async {
            for task in self.tasks().await? {
                let Some(before) = pids.get(&task.index).filter(|_| of(task.index)) else { continue };
                let same = task.pid == Some(before.process.pid) && task.node == before.node;
                if !same || task.attempt != 1 || task.state() != v1::TaskState::Running {
                    let (state, pid, attempt) = (task.state().as_str_name(), task.pid, task.attempt);
                    let (now, index) = (&task.node, task.index);
                    return Err(format!(
                        "task {index} is {state} as process {pid:?} on {now} in attempt {attempt}, it was {before:?}"
                    ));
                }
            }
            Ok(())
        };
        until(&format!("the same processes of {}", self.name), HEARD_WITHIN, look).await
    }

    /// Lets the tasks of a stage end, and waits until none of their processes runs.
    pub async fn end_stage(&self, stage: u32, pids: &Pids) -> Result<()> {
        self.marks.release(stage)?;
        let look = || async {
            let of_stage = pids.iter().filter(|(index, _)| self.marks.stage(**index) == stage);
            match of_stage.filter(|(_, task)| task.process.runs()).count() {
                0 => Ok(()),
                running => Err(format!("{running} still run")),
            }
        };
        until(&format!("the end of the processes of {}", self.name), GONE_WITHIN, look).await
    }

    /// Waits until the cell knows that these tasks have ended.
    pub async fn ended(&self, of: impl Fn(u32) -> bool) -> Result<()> {
        let look = || async {
            let over = |task: &v1::Task| {
                !matches!(
                    task.state(),
                    v1::TaskState::Unspecified
                        | v1::TaskState::Pending
                        | v1::TaskState::Assigned
                        | v1::TaskState::Running
                        | v1::TaskState::Stopping
                )
            };
            let tasks = self.tasks().await?;
            let open: Vec<_> = tasks.iter().filter(|task| of(task.index) && !over(task)).collect();
            match open.first() {
                None => Ok(()),
                Some(task) => Err(format!(
                    "{} have not ended, task {} is {} on {}",
                    open.len(),
                    task.index,
                    task.state().as_str_name(),
                    task.node
                )),
            }
        };
        until(&format!("the ends of tasks of {}", self.name), ENDED_WITHIN, look).await
    }

    /// Holds the whole job, which must have ended by itself: exit codes, attempts, counts, and one start of each task
    /// by the process that the cell had told of.
    pub async fn hold(&self, pids: &Pids, report: &mut Report) -> Result<()> {
        // What has not ended is found by the comparison, task by task.
        let ended = self.ended(|_| true).await;
        report.violations.extend(ended.err().map(|error| format!("{error:#}")));
        let verdict = checks::hold_job(&self.client, self.uid, self.count, exit_code).await?;
        report.attempts_above_one += verdict.attempts_above_one;
        report.violations.extend(verdict.violations);
        let pid = |index: u32| pids.get(&index).map(|task| task.process.pid);
        report.violations.extend(self.marks.hold(self.count, 1, pid)?);
        Ok(())
    }

    /// All tasks as the leader sees them.
    pub async fn tasks(&self) -> Result<Vec<v1::Task>, String> {
        let listed = self.client.jobs().list_tasks(JobRef::Uid(self.uid), &[]).await;
        listed.map_err(|error| error.to_string())
    }

    /// How many tasks of these still run as the same processes; one of a stage that was not released and does not is
    /// a violation.
    pub fn hold_processes(
        &self,
        pids: &Pids,
        unreleased: impl Fn(u32) -> bool,
        report: &mut Report,
    ) -> usize {
        let (runs, gone): (Vec<_>, Vec<_>) = pids.iter().partition(|(_, task)| task.process.runs());
        for (index, task) in gone.into_iter().filter(|(index, _)| unreleased(self.marks.stage(**index))) {
            let (name, pid) = (&self.name, task.process.pid);
            report.violations.push(format!("job {name}: task {index} did not go on: process {pid} is gone"));
        }
        runs.len()
    }
}
