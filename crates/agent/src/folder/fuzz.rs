//! What is read from the data folder against broken bytes.

use paceline_fuzz::Campaign;
use paceline_types::{
    Attempt, AttemptId, ExitStatus, FenceToken, Generation, JobUid, NodeEpoch, Reason, Revision, TaskIndex,
    Term,
};

use super::{encoding, frame};
use crate::table::{Change, End, Stored};

fn id(task: u32) -> AttemptId {
    let job = JobUid { revision: Revision(40), ordinal: 1 };
    AttemptId { job, task: TaskIndex(task), attempt: Attempt(2) }
}

fn changes() -> Vec<Change> {
    let token = FenceToken { generation: Generation(1), term: Term(7), revision: Revision(900) };
    let accepted = |task| Change::Accepted {
        attempt: id(task),
        generation: Generation(1),
        assigned: Revision(41),
        grace_ms: 10_000,
    };
    let end = End { status: Some(ExitStatus::Signal(9)), reason: Reason::Signaled };
    let mut changes = vec![Change::Fence(token), Change::Epoch(NodeEpoch(3))];
    changes.extend((0..4).map(accepted));
    changes.push(Change::Killed { attempt: id(0), grace_ms: 5 });
    changes.push(Change::Ended { attempt: id(1), end });
    changes.extend([2, 3, 9].map(|task| Change::Settled { attempt: id(task) }));
    changes
}

fn fold(payload: &[u8]) -> Option<Stored> {
    let mut stored = Stored::default();
    encoding::fold(payload, &mut stored).ok().map(|()| stored)
}

#[test]
fn changes_and_bases() {
    let mut stored = Stored::default();
    changes().iter().for_each(|change| stored.apply(change));
    let sound = vec![encoding::encode(&changes()), encoding::encode_base(&stored)];
    Campaign::new("agent changes", sound).run(fold, |stored| fold(&encoding::encode_base(stored)));
}

#[test]
fn settled_ranges_cost_no_more_than_their_text() {
    let everything = r#"[{"settled":{"job":"40-1","attempt":2,"tasks":"0-4294967295"}}]"#;
    let stored = fold(everything.as_bytes()).unwrap();
    assert!(stored.settled.contains(id(0)) && stored.settled.contains(id(u32::MAX)));
}

#[test]
fn frames() {
    let written = |payloads: &[Vec<u8>]| {
        let mut bytes = Vec::new();
        let add = |chain, payload: &Vec<u8>| frame::append(&mut bytes, chain, payload);
        payloads.iter().fold(frame::CHAIN_START, add);
        bytes
    };
    let read = |bytes: &[u8]| frame::read(bytes).ok().map(|frames| frames.payloads);
    let sound = vec![written(&[b"first".to_vec(), Vec::new(), b"third one".to_vec()])];
    Campaign::new("agent frames", sound).run(read, |payloads| read(&written(payloads)));
}
