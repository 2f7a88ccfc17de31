//! Refusals, as a part of replies.

use paceline_types::{
    AgentInstance, Attempt, FeatureLevel, Generation, NodeEpoch, NodeId, Revision, TaskIndex,
};

use super::proto::refusal::Kind;
use super::values::{
    fixed, read_job_state, read_reason, read_task_state, read_uid, read_violations, uid, violations,
};
use super::{Decoded, present, proto, wrong};
use crate::refusal::{Bound, Counter, Refusal, Subject};

pub(super) fn refusal(refusal: &Refusal) -> proto::Refusal {
    let done = proto::Done {};
    let job = |job, state: paceline_types::JobState| proto::JobInState {
        uid: Some(uid(job)),
        state: u32::from(state.code()),
    };
    let kind = match refusal {
        Refusal::InvalidSpec(found) => Kind::InvalidSpec(violations(found)),
        Refusal::InvalidArgument(found) => Kind::InvalidArgument(violations(found)),
        Refusal::NotFound { subject, name } => {
            Kind::NotFound(proto::NotFound { subject: u32::from(subject.code()), name: name.clone() })
        }
        Refusal::NameInUse { uid: job } => Kind::NameInUse(uid(*job)),
        Refusal::JobNotTerminal { uid, state } => Kind::JobNotTerminal(job(*uid, *state)),
        Refusal::JobNotActive { uid, state } => Kind::JobNotActive(job(*uid, *state)),
        Refusal::InstanceMismatch { node, known } => {
            Kind::InstanceMismatch(proto::InstanceMismatch { node: node.0, known: known.0.to_vec() })
        }
        Refusal::StaleEpoch { node, committed } => {
            Kind::StaleEpoch(proto::NodeRegistered { node: node.0, epoch: committed.0 })
        }
        Refusal::StaleAttempt { task, state, attempt } => Kind::StaleAttempt(proto::StaleAttempt {
            task: task.0,
            state: u32::from(state.code()),
            attempt: attempt.0,
        }),
        Refusal::NoSuchTask { task, tasks } => {
            Kind::NoSuchTask(proto::NoSuchTask { task: task.0, tasks: *tasks })
        }
        Refusal::NoTasks => Kind::NoTasks(done),
        Refusal::Infeasible(reason) => Kind::Infeasible(u32::from(reason.code())),
        Refusal::ClockMismatch { committed_ms } => Kind::ClockMismatch(*committed_ms),
        Refusal::StepTooLarge { limit_ms } => Kind::StepTooLarge(*limit_ms),
        Refusal::RequestConflict => Kind::RequestConflict(done),
        Refusal::RequestTooOld { horizon } => Kind::RequestTooOld(horizon.0),
        Refusal::RequestAnswered { lowest_unanswered } => Kind::RequestAnswered(*lowest_unanswered),
        Refusal::Overloaded { bound, limit, retry_after_ms } => Kind::Overloaded(proto::Overloaded {
            bound: u32::from(bound.code()),
            limit: *limit,
            retry_after_ms: *retry_after_ms,
        }),
        Refusal::FeatureLevel { needed, committed } => {
            Kind::FeatureLevel(proto::FeatureLevelRefusal { needed: needed.0, committed: committed.0 })
        }
        Refusal::GenerationNotHigher { committed } => Kind::GenerationNotHigher(committed.0),
        Refusal::Exhausted { counter } => Kind::Exhausted(u32::from(counter.code())),
        Refusal::Undecodable => Kind::Undecodable(done),
    };
    proto::Refusal { kind: Some(kind) }
}

pub(super) fn read_refusal(refusal: proto::Refusal) -> Decoded<Refusal> {
    Ok(match present("kind", refusal.kind)? {
        Kind::InvalidSpec(found) => Refusal::InvalidSpec(read_violations(found)),
        Kind::InvalidArgument(found) => Refusal::InvalidArgument(read_violations(found)),
        Kind::NotFound(missing) => Refusal::NotFound {
            subject: known("subject", Subject::from_code(missing.subject))?,
            name: missing.name,
        },
        Kind::NameInUse(uid) => Refusal::NameInUse { uid: read_uid("uid", Some(uid))? },
        Kind::JobNotTerminal(job) => {
            Refusal::JobNotTerminal { uid: read_uid("uid", job.uid)?, state: read_job_state(job.state)? }
        }
        Kind::JobNotActive(job) => {
            Refusal::JobNotActive { uid: read_uid("uid", job.uid)?, state: read_job_state(job.state)? }
        }
        Kind::InstanceMismatch(node) => Refusal::InstanceMismatch {
            node: NodeId(node.node),
            known: AgentInstance(fixed("known", &node.known)?),
        },
        Kind::StaleEpoch(node) => {
            Refusal::StaleEpoch { node: NodeId(node.node), committed: NodeEpoch(node.epoch) }
        }
        Kind::StaleAttempt(stale) => Refusal::StaleAttempt {
            task: TaskIndex(stale.task),
            state: read_task_state(u64::from(stale.state))?,
            attempt: Attempt(stale.attempt),
        },
        Kind::NoSuchTask(task) => Refusal::NoSuchTask { task: TaskIndex(task.task), tasks: task.tasks },
        Kind::NoTasks(proto::Done {}) => Refusal::NoTasks,
        Kind::Infeasible(reason) => Refusal::Infeasible(read_reason(u64::from(reason))?),
        Kind::ClockMismatch(committed_ms) => Refusal::ClockMismatch { committed_ms },
        Kind::StepTooLarge(limit_ms) => Refusal::StepTooLarge { limit_ms },
        Kind::RequestConflict(proto::Done {}) => Refusal::RequestConflict,
        Kind::RequestTooOld(horizon) => Refusal::RequestTooOld { horizon: Revision(horizon) },
        Kind::RequestAnswered(lowest_unanswered) => Refusal::RequestAnswered { lowest_unanswered },
        Kind::Overloaded(full) => Refusal::Overloaded {
            bound: known("bound", Bound::from_code(full.bound))?,
            limit: full.limit,
            retry_after_ms: full.retry_after_ms,
        },
        Kind::FeatureLevel(level) => Refusal::FeatureLevel {
            needed: FeatureLevel(level.needed),
            committed: FeatureLevel(level.committed),
        },
        Kind::GenerationNotHigher(committed) => {
            Refusal::GenerationNotHigher { committed: Generation(committed) }
        }
        Kind::Exhausted(counter) => {
            Refusal::Exhausted { counter: known("counter", Counter::from_code(counter))? }
        }
        Kind::Undecodable(proto::Done {}) => Refusal::Undecodable,
    })
}

fn known<T>(field: &'static str, value: Option<T>) -> Decoded<T> {
    value.ok_or(wrong(field, "a code that this build knows"))
}
