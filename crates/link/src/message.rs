//! What travels between agent, shard and leader, as values. `api` gives them their bytes.
//!
//! ```text
//! agent ──AgentMessage──► shard ──ShardMessage──► leader's hub
//!       ◄──AgentOrder───        ◄──MasterMessage─
//! ```

use std::collections::BTreeMap;

use paceline_types::{
    AgentInstance, Attempt, AttemptId, BootId, ExitStatus, FenceToken, IndexSet, JobUid, LinkSession,
    NodeEpoch, NodeId, NodeName, Reason, Resources, Revision, ShardId, ShardName, SpecVersion,
};

/// First message of an agent on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The node, as in the agent's certificate.
    pub node: NodeName,
    /// The id in the agent's data folder.
    pub instance: AgentInstance,
    /// The kernel's boot id.
    pub boot: BootId,
    /// The epoch the agent was last told; zero when it never was.
    pub epoch: NodeEpoch,
    /// Minted by the agent for this connection, higher than any it used before.
    pub session: LinkSession,
    /// The highest fencing token that the agent has stored.
    pub fence: FenceToken,
    /// What the node offers to tasks.
    pub capacity: Resources,
    /// Labels that the agent found or was configured with.
    pub labels: BTreeMap<String, String>,
    /// What the node can enforce, in words: `memory_limit`, `cpu_weight`, or `no memory_limit: cgroup not writable`.
    pub capabilities: Vec<String>,
    /// The agent's certificate, so that the leader can check the signature without trusting the shard.
    pub certificate_der: Vec<u8>,
    /// Over [`Hello::signed_bytes`] by the certificate's key (A-14).
    pub signature: Vec<u8>,
}

impl Hello {
    /// What the agent signs once per session: who it is, and through which shard it speaks.
    #[must_use]
    pub fn signed_bytes(cell: &str, hello: &Self, shard: &ShardName) -> Vec<u8> {
        let mut bytes = b"paceline.v1 link session\n".to_vec();
        let numbers = format!("{}\n{}", hello.epoch, hello.session);
        for part in
            [cell, hello.node.as_str(), &hello.instance.to_string(), &hello.boot.to_string(), &numbers]
        {
            bytes.extend_from_slice(part.as_bytes());
            bytes.push(b'\n');
        }
        bytes.extend_from_slice(shard.as_str().as_bytes());
        bytes
    }
}

/// What an agent knows of attempts, in order; the watermark of acknowledgements is its `sequence`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Rising by one within the session, from 1.
    pub sequence: u64,
    /// What is known, like attempts together.
    pub runs: Vec<ReportRun>,
    /// This report ends the agent's full table: before it the cell may not conclude anything from absence.
    pub table_complete: bool,
}

/// Attempts of which the same is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportRun {
    /// The job.
    pub job: JobUid,
    /// The number of the attempt, the same for all tasks of the run.
    pub attempt: Attempt,
    /// The tasks.
    pub tasks: IndexSet,
    /// What is known.
    pub observed: Observed,
    /// Process ids in the order of the tasks, or empty. Soft: shown, never stored in the log.
    pub pids: Vec<u32>,
}

/// What an agent knows of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Observed {
    /// It runs.
    Running,
    /// It ended, or can never start here. Nothing for the status where there never was a process.
    Ended {
        /// How the process ended.
        status: Option<ExitStatus>,
        /// Why.
        reason: Reason,
    },
}

/// From an agent to its shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentMessage {
    /// First on a connection, and only then.
    Hello(Box<Hello>),
    /// State of attempts.
    Report(Report),
    /// Nothing new, still here. Sent when nothing else was for a heartbeat interval.
    Alive,
    /// Asks for the lease without which `at_most_one` attempts of the node must end.
    LeaseRequest {
        /// Rising within the session, from 1: the agent notes when it sent which.
        number: u64,
    },
}

/// What attempts should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Desired {
    /// To run; assigned at this revision.
    Run {
        /// The revision of the assignment: absence from a later full set means that the attempt must end (A-8).
        assigned: Revision,
    },
    /// To stop.
    Stop {
        /// From SIGTERM to SIGKILL.
        grace_ms: u64,
    },
}

/// Attempts that should be the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderRun {
    /// The job.
    pub job: JobUid,
    /// The number of the attempt.
    pub attempt: Attempt,
    /// The tasks.
    pub tasks: IndexSet,
    /// What they should be.
    pub desired: Desired,
}

/// A job's specification as the agent needs it, sent once per session before the first order that names the job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobBody {
    /// The job.
    pub job: JobUid,
    /// Which version of its specification.
    pub version: SpecVersion,
    /// The specification, encoded by `api`; links do not look inside.
    pub spec: Vec<u8>,
}

/// Where a set of orders stands among those that make up a node's full set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OrderSet {
    /// Only what changed.
    #[default]
    Diff,
    /// A part of everything that the node should have, at the token's revision.
    Full {
        /// The first part.
        first: bool,
        /// The last part: what was in no part and was assigned at or before the revision must end.
        last: bool,
    },
}

/// Orders for one node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orders {
    /// Fences them (A-8).
    pub token: FenceToken,
    /// Everything or a change.
    pub set: OrderSet,
    /// Bodies of jobs that the orders name and the session has not had yet.
    pub jobs: Vec<JobBody>,
    /// The orders.
    pub runs: Vec<OrderRun>,
}

/// The answer to a request for a lease: the node's `at_most_one` attempts that were assigned by the token's revision, in
/// its generation, and that no order of the session ends, may run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Of the request. The lease counts from when that was sent, so the time on the way is never added to it.
    pub number: u64,
    /// Of the view in which the leader saw them assigned to the node, after the request had come.
    pub token: FenceToken,
    /// How long it lasts.
    pub duration_ms: u64,
}

/// From a shard to an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentOrder {
    /// The leader accepted the session.
    Welcome {
        /// The node's number.
        node: NodeId,
        /// Its epoch from now on.
        epoch: NodeEpoch,
        /// How often the agent must be heard.
        heartbeat_ms: u64,
    },
    /// What should be.
    Orders(Orders),
    /// Every report up to this sequence was applied from a committed entry.
    Acknowledge {
        /// The watermark.
        sequence: u64,
    },
    /// The session is refused; the agent says so and retries no sooner than this.
    Refused {
        /// For the log of the agent.
        message: String,
        /// When to come again.
        retry_after_ms: u64,
    },
    /// The shards of the cell changed; an agent that belongs elsewhere moves.
    Shards(ShardList),
    /// A lease was granted.
    Lease(Lease),
}

/// A shard that agents may connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardAddress {
    /// Its number.
    pub id: ShardId,
    /// Its name, as in its certificate.
    pub name: ShardName,
    /// Where it listens for agents, `host:port`.
    pub address: String,
}

/// The shards of a cell; the version is the revision of the last change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardList {
    /// Higher is newer.
    pub version: Revision,
    /// In the order of their numbers.
    pub shards: Vec<ShardAddress>,
}

/// From a shard to the leader. Several travel in one batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShardMessage {
    /// First on a connection, and only then.
    Hello {
        /// Its name, as in its certificate.
        name: ShardName,
        /// Where it listens for agents.
        address: String,
    },
    /// An agent connected.
    NodeHello(Box<Hello>),
    /// An agent reported.
    NodeReport {
        /// The node.
        node: NodeName,
        /// Its session.
        session: LinkSession,
        /// The report.
        report: Report,
    },
    /// An agent's session ended: its connection closed, or it was silent for too long.
    NodeGone {
        /// The node.
        node: NodeName,
        /// The session that ended.
        session: LinkSession,
    },
    /// One per interval when there is nothing else to say.
    Alive,
    /// An agent asked for a lease.
    NodeLeaseRequest {
        /// The node.
        node: NodeName,
        /// Its session.
        session: LinkSession,
        /// Of its request.
        number: u64,
    },
}

/// From the leader to a shard. Several travel in one batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MasterMessage {
    /// The leader accepted the shard. Said again a few times per heartbeat, so that silence means something.
    Welcome {
        /// The shard's number.
        shard: ShardId,
        /// How often the shard must be heard, and an agent by the shard.
        heartbeat_ms: u64,
        /// Silence after which a session is over.
        silence_ms: u64,
    },
    /// For one session of one node; dropped when that session is not the shard's current one.
    ToNode {
        /// The node.
        node: NodeName,
        /// The session.
        session: LinkSession,
        /// The order.
        order: AgentOrder,
    },
    /// The shards of the cell changed.
    Shards(ShardList),
    /// Fetch a piece of a task's log from the node's agent.
    FetchLog(LogRequest),
}

/// A piece of a task's output, asked for through the cell; it is answered on a stream of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRequest {
    /// Names the answer; minted by the master.
    pub ticket: u64,
    /// Where the attempt is.
    pub node: NodeName,
    /// Whose output.
    pub attempt: AttemptId,
    /// Standard error instead of standard output.
    pub stderr: bool,
    /// From which byte on.
    pub offset: u64,
    /// At most this many bytes.
    pub max_bytes: u64,
}
