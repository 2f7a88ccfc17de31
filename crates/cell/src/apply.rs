//! What commands do. One file per command; this one walks an entry, holds the gates, and keeps the request table.
//!
//! Each command checks everything before it changes anything, so a refusal leaves no trace.

mod assign;
mod change;
mod delete_job;
mod drain_node;
mod generation;
mod label_node;
mod level;
mod register_node;
mod register_shard;
mod remove_node;
mod remove_shard;
mod replace_node;
mod report;
mod retire;
mod set_config;
mod settle;
mod stop_job;
mod submit_job;
mod taint_node;
#[cfg(test)]
pub(crate) mod testing;
mod tick;
mod write_off_node;

use paceline_types::{FeatureLevel, Revision};

use crate::cell::Cell;
use crate::codec::body_hash;
use crate::command::{Command, CommandBody, Entry, RequestId};
use crate::event::Event;
use crate::refusal::Refusal;
use crate::reply::Reply;
use crate::requests::{Admission, Answered};
use crate::retired::RetiredJob;

pub use tick::TICK_STEP_MS_MAX;

/// What came of an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// One per command, in their order.
    pub replies: Vec<Reply>,
    /// What became true, in order; an event's position here is its ordinal.
    pub events: Vec<Event>,
    /// Jobs that left the state for history.
    pub retired: Vec<RetiredJob>,
    /// The cell has been raised to a level that this build does not know: from here on it cannot follow the others, and
    /// the process must end without having said anything about this entry.
    pub newer_build_needed: Option<FeatureLevel>,
}

/// A command at work: the state, where it stands, and what it has brought about.
struct Work<'a> {
    cell: &'a mut Cell,
    revision: Revision,
    ordinal: u32,
    unix_ms: u64,
    events: Vec<Event>,
    retired: Vec<RetiredJob>,
    newer_build_needed: Option<FeatureLevel>,
}

/// What a command says: a refusal is the error side until it becomes a reply.
type Outcome = Result<Reply, Refusal>;

impl Cell {
    /// Applies a committed entry. Total: whatever the entry holds, the answer is a reply.
    ///
    /// # Panics
    /// When `revision` is not above the last one: then the log was applied out of order, and going on would
    /// make this replica differ from the others.
    pub fn apply(&mut self, revision: Revision, entry: &Entry) -> Applied {
        self.advance(revision);
        let needed = entry.feature_level();
        if needed > self.feature_level {
            return self.refuse_entry(entry.commands.len(), &above(needed, self.feature_level));
        }
        let mut work = Work {
            cell: self,
            revision,
            ordinal: 0,
            unix_ms: entry.unix_ms,
            events: Vec::new(),
            retired: Vec::new(),
            newer_build_needed: None,
        };
        let mut replies = Vec::with_capacity(entry.commands.len());
        for (ordinal, command) in (0_u32..).zip(&entry.commands) {
            work.ordinal = ordinal;
            replies.push(work.command(command));
        }
        let Work { events, retired, newer_build_needed, .. } = work;
        Applied { replies, events, retired, newer_build_needed }
    }

    /// Notes a committed entry that [`Entry::decode`] cannot read: one refusal, and the state is that of a replica
    /// that can read it but is at the same feature level.
    ///
    /// # Panics
    /// As [`Cell::apply`].
    pub fn apply_undecodable(&mut self, revision: Revision) -> Applied {
        self.advance(revision);
        self.refuse_entry(1, &Refusal::Undecodable)
    }

    fn advance(&mut self, revision: Revision) {
        assert!(revision > self.revision, "entry {revision} after {}: the log has one order", self.revision);
        self.revision = revision;
    }

    fn refuse_entry(&mut self, commands: usize, refusal: &Refusal) -> Applied {
        self.refused_entries = self.refused_entries.saturating_add(1);
        Applied { replies: vec![Reply::Refused(refusal.clone()); commands], ..Applied::default() }
    }
}

const fn above(needed: FeatureLevel, committed: FeatureLevel) -> Refusal {
    Refusal::FeatureLevel { needed, committed }
}

impl Work<'_> {
    fn command(&mut self, command: &Command) -> Reply {
        match &command.request {
            None => self.execute(&command.body),
            Some(id) => self.request(id, &command.body),
        }
    }

    /// Executes a client's command at most once.
    fn request(&mut self, id: &RequestId, body: &CommandBody) -> Reply {
        let body_hash = body_hash(body);
        let (now_ms, config) = (self.cell.clock_ms, std::sync::Arc::clone(&self.cell.config));
        let key = match self.cell.requests.admit(id, &body_hash, now_ms, self.revision, &config) {
            Admission::Execute(key) => key,
            Admission::Answer(reply) => return reply,
        };
        let reply = self.execute(body);
        if !matches!(&reply, Reply::Refused(refusal) if refusal.is_overload()) {
            let answered = Answered { sequence: id.sequence, body_hash, reply: reply.to_record() };
            self.cell.requests.record(&key, id, answered, now_ms, self.revision);
        }
        reply
    }

    fn execute(&mut self, body: &CommandBody) -> Reply {
        self.dispatch(body).unwrap_or_else(Reply::Refused)
    }

    fn dispatch(&mut self, body: &CommandBody) -> Outcome {
        match body {
            CommandBody::SubmitJob { spec, submitted_unix_ms } => self.submit_job(spec, *submitted_unix_ms),
            CommandBody::StopJob { job } => self.stop_job(job),
            CommandBody::DeleteJob { job } => self.delete_job(job),
            CommandBody::RegisterNode { name, instance, boot, capacity, labels, capabilities } => self
                .register_node(&register_node::Registration {
                    name,
                    instance: *instance,
                    boot: *boot,
                    capacity: *capacity,
                    labels,
                    capabilities,
                }),
            CommandBody::DrainNode { node } => self.drain_node(node, true),
            CommandBody::ResumeNode { node } => self.drain_node(node, false),
            CommandBody::LabelNode { node, set, unset } => self.label_node(node, set, unset),
            CommandBody::TaintNode { node, set, unset } => self.taint_node(node, set, unset),
            CommandBody::RemoveNode { node } => self.remove_node(node),
            CommandBody::ReplaceNode { node } => self.replace_node(node),
            CommandBody::WriteOffNode { node, epoch, silent_ms } => {
                self.write_off_node(*node, *epoch, *silent_ms)
            }
            CommandBody::RegisterShard { name, address } => self.register_shard(name, address),
            CommandBody::RemoveShard { name } => self.remove_shard(name),
            CommandBody::Assign { job, follows, node, epoch, tasks } => self.assign(&assign::Assignment {
                job: *job,
                follows: *follows,
                node: *node,
                epoch: *epoch,
                tasks,
            }),
            CommandBody::Report { node, epoch, runs } => Ok(self.report(*node, *epoch, runs)),
            CommandBody::Tick { from_ms, step_ms } => self.tick(*from_ms, *step_ms),
            CommandBody::Retire { jobs } => self.retire(jobs),
            CommandBody::SetConfig(change) => self.set_config(change),
            CommandBody::RaiseFeatureLevel { to } => self.raise_feature_level(*to),
            CommandBody::RaiseGeneration { to } => self.raise_generation(*to),
        }
    }
}
