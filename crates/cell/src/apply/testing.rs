//! A cell on a bench: tests speak in short words, and every entry goes through its bytes and through `check`.

use std::sync::Arc;

use paceline_rules::JobSpec;
use paceline_types::{
    AgentInstance, Attempt, BootId, ExitStatus, JobUid, NodeEpoch, NodeId, Reason, Resources, Revision,
};

use crate::cell::Cell;
use crate::command::{Command, CommandBody, Entry, JobSelector, ReportedRun, ReportedState};
use crate::event::Event;
use crate::reply::Reply;
use crate::retired::RetiredJob;

/// A cell and everything that became true in it.
pub(crate) struct Bench {
    pub cell: Cell,
    pub events: Vec<Event>,
    retired: Vec<RetiredJob>,
}

/// A batch job of one attempt per task, 100m of CPU and 10Mi of memory each.
pub(crate) fn batch(name: &str, tasks: u32) -> JobSpec {
    JobSpec::batch(name, tasks, &["/bin/true"], Resources::new(100, 10 << 20))
}

fn registration(name: &str, instance: u8, boot: u8, capacity: Resources, capability: &str) -> CommandBody {
    CommandBody::RegisterNode {
        name: name.parse().expect("a name"),
        instance: AgentInstance([instance; 16]),
        boot: BootId([boot; 16]),
        capacity,
        labels: [("zone".to_owned(), "east".to_owned())].into(),
        capabilities: vec![capability.to_owned()],
    }
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self { cell: Cell::genesis("test"), events: Vec::new(), retired: Vec::new() }
    }

    pub(crate) fn commands(&mut self, commands: Vec<Command>) -> Vec<Reply> {
        let entry = Entry { unix_ms: 1_700_000_000_000, commands };
        let bytes = entry.encode().expect("small");
        let entry = Entry::decode(&bytes).expect("just encoded");
        let revision = Revision(self.cell.revision().0 + 1);
        let applied = self.cell.apply(revision, &entry);
        assert_eq!(self.cell.check(), Vec::<String>::new(), "after {entry:?}");
        for reply in &applied.replies {
            assert_eq!(Reply::decode(&reply.encode()), Ok(reply.clone()));
        }
        self.events.extend(applied.events);
        self.retired.extend(applied.retired);
        applied.replies
    }

    pub(crate) fn all(&mut self, bodies: Vec<CommandBody>) -> Vec<Reply> {
        self.commands(bodies.into_iter().map(Command::from).collect())
    }

    pub(crate) fn one(&mut self, body: CommandBody) -> Reply {
        self.all(vec![body]).remove(0)
    }

    pub(crate) fn submit(&mut self, spec: JobSpec) -> JobUid {
        match self.one(CommandBody::SubmitJob { spec: Arc::new(spec), submitted_unix_ms: 5 }) {
            Reply::JobSubmitted { uid, existing: false } => uid,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn stop(&mut self, job: JobUid) {
        let reply = self.one(CommandBody::StopJob { job: JobSelector::Uid(job) });
        assert!(matches!(reply, Reply::JobStopping { .. }), "{reply:?}");
    }

    pub(crate) fn retire(&mut self, job: JobUid) -> RetiredJob {
        assert_eq!(self.one(CommandBody::Retire { jobs: vec![job] }), Reply::Retired { jobs: 1 });
        self.retired.pop().expect("retired")
    }

    /// A node of one CPU, 100Mi of memory and the label zone=east.
    pub(crate) fn node(&mut self, name: &str) -> NodeId {
        match self.register(name, 1, 1) {
            Reply::NodeRegistered { node, .. } => node,
            other => panic!("{other:?}"),
        }
    }

    /// The same, but it only pretends to run tasks.
    pub(crate) fn virtual_node(&mut self, name: &str) -> NodeId {
        let capacity = Resources::new(1_000, 100 << 20);
        match self.one(registration(name, 1, 1, capacity, paceline_rules::SIMULATED)) {
            Reply::NodeRegistered { node, .. } => node,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn register(&mut self, name: &str, instance: u8, boot: u8) -> Reply {
        self.register_with(name, instance, boot, Resources::new(1_000, 100 << 20))
    }

    pub(crate) fn register_with(&mut self, name: &str, instance: u8, boot: u8, capacity: Resources) -> Reply {
        self.one(registration(name, instance, boot, capacity, "memory_limit"))
    }

    pub(crate) fn assign(&mut self, job: JobUid, follows: u32, node: NodeId, tasks: &str) -> Reply {
        self.assign_at(job, follows, node, 1, tasks)
    }

    pub(crate) fn assign_at(
        &mut self,
        job: JobUid,
        follows: u32,
        node: NodeId,
        epoch: u32,
        tasks: &str,
    ) -> Reply {
        self.one(CommandBody::Assign {
            job,
            follows: Attempt(follows),
            node,
            epoch: NodeEpoch(epoch),
            tasks: tasks.parse().expect("valid"),
        })
    }

    pub(crate) fn report_at(
        &mut self,
        job: JobUid,
        attempt: u32,
        node: NodeId,
        epoch: u32,
        tasks: &str,
        observed: ReportedState,
    ) -> Reply {
        let tasks = tasks.parse().expect("valid");
        let run = ReportedRun { job, attempt: Attempt(attempt), tasks, observed };
        self.one(CommandBody::Report { node, epoch: NodeEpoch(epoch), runs: vec![run] })
    }

    pub(crate) fn running(&mut self, job: JobUid, attempt: u32, node: NodeId, tasks: &str) -> Reply {
        self.report_at(job, attempt, node, 1, tasks, ReportedState::Running)
    }

    pub(crate) fn ended(&mut self, job: JobUid, attempt: u32, node: NodeId, tasks: &str, code: i32) -> Reply {
        let reason = if code == 0 { Reason::ExitedZero } else { Reason::ExitedNonZero };
        self.ended_for(job, attempt, node, tasks, Some(ExitStatus::Code(code)), reason)
    }

    pub(crate) fn ended_for(
        &mut self,
        job: JobUid,
        attempt: u32,
        node: NodeId,
        tasks: &str,
        status: Option<ExitStatus>,
        reason: Reason,
    ) -> Reply {
        self.report_at(job, attempt, node, 1, tasks, ReportedState::Ended { status, reason })
    }

    /// The states of a job's tasks, as in `pending 0-3, failed 4`.
    pub(crate) fn states(&self, job: JobUid) -> String {
        let mut runs: Vec<(paceline_types::TaskState, u32, u32)> = Vec::new();
        for (tasks, task) in self.cell.job(job).expect("there").task_runs() {
            match runs.last_mut() {
                Some((state, _, last)) if *state == task.state => *last = tasks.last(),
                _ => runs.push((task.state, tasks.first(), tasks.last())),
            }
        }
        let show = |(state, first, last): &(paceline_types::TaskState, u32, u32)| {
            format!("{state} {}", paceline_types::IndexRange::new(*first, *last).expect("in order"))
        };
        runs.iter().map(show).collect::<Vec<_>>().join(", ")
    }
}
