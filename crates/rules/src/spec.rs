//! The specification of a job: one template, and what differs by task index.

use std::collections::BTreeMap;
use std::fmt;

use paceline_types::{IndexSet, LEASE_WAIT_MS, Resources, TaskIndex};

use crate::simulate::Simulate;

/// Label or environment pairs, ordered by name.
pub type Labels = BTreeMap<String, String>;

/// How long a task may go on after SIGTERM unless its specification says otherwise.
pub const GRACE_MS_DEFAULT: u64 = 10_000;

/// How long the node of a task may be silent before the task runs elsewhere, unless its specification says otherwise.
pub const REPLACE_AFTER_MS_DEFAULT: u64 = 60_000;

/// What kind of work a job is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JobKind {
    /// Tasks that run to an end.
    #[default]
    Batch,
}

/// N tasks from one template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobSpec {
    /// Unique among live jobs.
    pub name: String,
    /// What kind of work it is.
    pub kind: JobKind,
    /// Path of the resource pool; `/` is the root.
    pub pool: String,
    /// How many tasks, 1 to `Limits::tasks_per_job`.
    pub tasks: u32,
    /// What every task runs.
    pub template: TaskSpec,
    /// What differs by index; where two name the same index and field, the later one holds.
    pub overrides: Vec<Override>,
    /// Failed attempts after which a task has failed, at least 1.
    pub max_attempts: u32,
    /// How many tasks may be on nodes at once; 0 admits none; nothing means no bound.
    pub max_running: Option<u32>,
    /// Failed tasks above this stop the job; nothing means no bound.
    pub max_failed_tasks: Option<u32>,
    /// Silence of a node after which tasks on it run elsewhere; nothing means never.
    pub replace_after_ms: Option<u64>,
    /// No two attempts of a task ever run at the same time: they run under leases only.
    pub at_most_one: bool,
    /// Terms on node labels; all must hold.
    pub constraints: Vec<Constraint>,
    /// Taints that the tasks put up with.
    pub tolerations: Vec<Toleration>,
    /// For people and dashboards; placement does not look at them.
    pub labels: Labels,
    /// Its tasks only pretend to run, and only on nodes that simulate; nothing means that they run.
    pub simulate: Option<Simulate>,
}

/// What one task runs and needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskSpec {
    /// The program and its arguments.
    pub run: Vec<String>,
    /// Environment on top of what the agent gives.
    pub env: Labels,
    /// The user to run as; nothing means the node's unprivileged default.
    pub user: Option<String>,
    /// What is reserved on the node. CPU is a weight, memory a hard limit where the node can enforce it.
    pub resources: Resources,
    /// A CPU quota in thousandths of a CPU.
    pub cpu_limit_milli: Option<u64>,
    /// The attempt is ended after this long.
    pub time_limit_ms: Option<u64>,
    /// From SIGTERM to SIGKILL.
    pub grace_ms: u64,
}

/// What differs for some indices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Override {
    /// For which tasks.
    pub tasks: IndexSet,
    /// Replaces the command.
    pub run: Option<Vec<String>>,
    /// Added to the environment, over the template's values.
    pub env: Labels,
    /// Replaces the resources.
    pub resources: Option<Resources>,
    /// Replaces the time limit.
    pub time_limit_ms: Option<u64>,
}

/// How a constraint compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operator {
    /// The label is there and its value is one of those named.
    In,
    /// The label is absent or its value is none of those named.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is absent.
    Absent,
}

impl Operator {
    /// Every operator.
    pub const ALL: [Self; 4] = [Self::In, Self::NotIn, Self::Exists, Self::Absent];

    /// The word in job files and the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::NotIn => "not_in",
            Self::Exists => "exists",
            Self::Absent => "absent",
        }
    }
}

/// A term on a node label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Constraint {
    /// The label's name.
    pub label: String,
    /// How it is compared.
    pub operator: Operator,
    /// With what; empty for `exists` and `absent`.
    pub values: Vec<String>,
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.label, self.operator.as_str())?;
        if self.values.is_empty() { Ok(()) } else { write!(f, " [{}]", self.values.join(", ")) }
    }
}

/// Keeps tasks off a node unless they tolerate it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Taint {
    /// The taint's name.
    pub key: String,
    /// Its value, possibly empty.
    pub value: String,
}

/// A taint that tasks put up with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Toleration {
    /// The taint's name.
    pub key: String,
    /// Its value; nothing tolerates any.
    pub value: Option<String>,
}

impl JobSpec {
    /// A batch job in the root pool with one task per index, one attempt each, and nothing special.
    #[must_use]
    pub fn batch(name: &str, tasks: u32, run: &[&str], resources: Resources) -> Self {
        Self {
            name: name.to_owned(),
            kind: JobKind::Batch,
            pool: "/".to_owned(),
            tasks,
            template: TaskSpec {
                run: run.iter().map(|&word| word.to_owned()).collect(),
                resources,
                grace_ms: GRACE_MS_DEFAULT,
                ..TaskSpec::default()
            },
            overrides: Vec::new(),
            max_attempts: 1,
            max_running: None,
            max_failed_tasks: None,
            replace_after_ms: Some(REPLACE_AFTER_MS_DEFAULT),
            at_most_one: false,
            constraints: Vec::new(),
            tolerations: Vec::new(),
            labels: Labels::new(),
            simulate: None,
        }
    }

    /// How long a node must have been silent before tasks of the job on it may run elsewhere; nothing means for ever.
    /// Where two must never run at once no lease may be out by then, whatever the job says.
    #[must_use]
    pub fn patience_ms(&self) -> Option<u64> {
        let least_ms = if self.at_most_one { LEASE_WAIT_MS } else { 0 };
        self.replace_after_ms.map(|after_ms| after_ms.max(least_ms))
    }

    /// What the task at `index` needs: cheaper than [`JobSpec::task`].
    #[must_use]
    pub fn resources(&self, index: TaskIndex) -> Resources {
        let named = |over: &&Override| over.resources.is_some() && over.tasks.contains(index);
        self.overrides
            .iter()
            .rev()
            .find(named)
            .and_then(|over| over.resources)
            .unwrap_or(self.template.resources)
    }

    /// The template with every override of `index` laid over it, in order.
    #[must_use]
    pub fn task(&self, index: TaskIndex) -> TaskSpec {
        let mut task = self.template.clone();
        for over in self.overrides.iter().filter(|over| over.tasks.contains(index)) {
            if let Some(run) = &over.run {
                task.run.clone_from(run);
            }
            task.env.extend(over.env.iter().map(|(name, value)| (name.clone(), value.clone())));
            task.resources = over.resources.unwrap_or(task.resources);
            task.time_limit_ms = over.time_limit_ms.or(task.time_limit_ms);
        }
        task
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_override_of_an_index_holds() {
        let mut job = JobSpec::batch("j", 4, &["/bin/true"], Resources::new(10, 10));
        let over = |tasks: &str, cpu| Override {
            tasks: tasks.parse().expect("valid"),
            resources: Some(Resources::new(cpu, 10)),
            env: [("CPU".to_owned(), cpu.to_string())].into(),
            ..Override::default()
        };
        job.overrides = vec![over("0-2", 20), over("2-3", 30)];
        for (index, cpu) in [(0, 20), (1, 20), (2, 30), (3, 30)] {
            let task = job.task(TaskIndex(index));
            assert_eq!(task.resources.cpu_milli(), cpu);
            assert_eq!(task.env["CPU"], cpu.to_string());
            assert_eq!(job.resources(TaskIndex(index)), task.resources);
        }
    }
}
