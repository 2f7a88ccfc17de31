//! Replies and refusals, each on its own.

use paceline_cell::{Bound, Counter, Refusal, Reply, Subject};
use paceline_rules::Violation;
use paceline_types::{
    AgentInstance, Attempt, FeatureLevel, Generation, JobState, JobUid, NodeEpoch, NodeId, Reason, Revision,
    ShardId, TaskIndex, TaskState,
};

use crate::golden;

const UID: JobUid = JobUid { revision: Revision(42), ordinal: 1 };

fn violation(field: &str) -> Vec<Violation> {
    let of = |text: &str| text.to_owned();
    vec![Violation { field: of(field), value: of("0"), expected: of("more than 0, as in 10m") }]
}

fn refusals() -> Vec<(&'static str, Refusal)> {
    let (uid, node, retry_after_ms) = (UID, NodeId(7), 1_000);
    let (task, state, attempt) = (TaskIndex(9), TaskState::Assigned, Attempt(2));
    let full = |bound| Refusal::Overloaded { bound, limit: 1_024, retry_after_ms };
    vec![
        ("invalid_spec", Refusal::InvalidSpec(violation("resources.cpu"))),
        ("invalid_argument", Refusal::InvalidArgument(violation("heartbeat_ms"))),
        ("not_found_job", Refusal::NotFound { subject: Subject::Job, name: "words".to_owned() }),
        ("not_found_node", Refusal::NotFound { subject: Subject::Node, name: "n1".to_owned() }),
        ("not_found_shard", Refusal::NotFound { subject: Subject::Shard, name: "east".to_owned() }),
        ("name_in_use", Refusal::NameInUse { uid }),
        ("job_not_terminal", Refusal::JobNotTerminal { uid, state: JobState::Active }),
        ("job_not_active", Refusal::JobNotActive { uid, state: JobState::Stopping }),
        ("instance_mismatch", Refusal::InstanceMismatch { node, known: AgentInstance([0xa1; 16]) }),
        ("stale_epoch", Refusal::StaleEpoch { node, committed: NodeEpoch(3) }),
        ("stale_attempt", Refusal::StaleAttempt { task, state, attempt }),
        ("no_such_task", Refusal::NoSuchTask { task, tasks: 9 }),
        ("no_tasks", Refusal::NoTasks),
        ("infeasible", Refusal::Infeasible(Reason::CpuShort)),
        ("clock_mismatch", Refusal::ClockMismatch { committed_ms: 5_000 }),
        ("step_too_large", Refusal::StepTooLarge { limit_ms: 5_000 }),
        ("request_conflict", Refusal::RequestConflict),
        ("request_too_old", Refusal::RequestTooOld { horizon: Revision(40) }),
        ("request_answered", Refusal::RequestAnswered { lowest_unanswered: 6 }),
        ("overloaded_open_requests", full(Bound::OpenRequests)),
        ("overloaded_request_records", full(Bound::RequestRecords)),
        ("overloaded_jobs", full(Bound::Jobs)),
        ("overloaded_tasks", full(Bound::Tasks)),
        ("overloaded_nodes", full(Bound::Nodes)),
        ("overloaded_shards", full(Bound::Shards)),
        ("feature_level", Refusal::FeatureLevel { needed: FeatureLevel(2), committed: FeatureLevel(1) }),
        ("generation_not_higher", Refusal::GenerationNotHigher { committed: Generation(3) }),
        ("exhausted_attempt", Refusal::Exhausted { counter: Counter::Attempt }),
        ("exhausted_node_epoch", Refusal::Exhausted { counter: Counter::NodeEpoch }),
        ("exhausted_node_id", Refusal::Exhausted { counter: Counter::NodeId }),
        ("exhausted_shard_id", Refusal::Exhausted { counter: Counter::ShardId }),
        ("exhausted_clock", Refusal::Exhausted { counter: Counter::Clock }),
        ("undecodable", Refusal::Undecodable),
    ]
}

fn replies() -> Vec<(&'static str, Reply)> {
    let uid = UID;
    let mut replies = vec![
        ("done", Reply::Done),
        ("job_submitted", Reply::JobSubmitted { uid, existing: false }),
        ("job_existing", Reply::JobSubmitted { uid, existing: true }),
        ("job_stopping", Reply::JobStopping { uid, state: JobState::Stopping }),
        ("job_deleted", Reply::JobDeleted { uid }),
        ("node_registered", Reply::NodeRegistered { node: NodeId(7), epoch: NodeEpoch(2) }),
        ("shard_registered", Reply::ShardRegistered { shard: ShardId(2) }),
        ("assigned", Reply::Assigned { attempt: Attempt(1) }),
        ("reported", Reply::Reported { applied: 300, doubles: 2, stale: 1 }),
        ("ticked", Reply::Ticked { clock_ms: 6_000 }),
        ("retired", Reply::Retired { jobs: 3 }),
        ("written_off", Reply::WrittenOff { tasks: 300, lost: true }),
    ];
    replies.extend(refusals().into_iter().map(|(name, refusal)| (name, Reply::Refused(refusal))));
    replies
}

#[test]
fn replies_are_written_and_read_as_ever() {
    let replies = replies();
    let today: Vec<_> = replies.iter().map(|(name, reply)| (*name, reply.encode().to_vec())).collect();
    let golden = golden("replies.hex", include_str!("replies.hex"), &today);
    for (name, reply) in replies {
        assert_eq!(Reply::decode(&golden[name]), Ok(reply), "{name}");
    }
}
