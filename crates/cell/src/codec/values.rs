//! Small values that many messages share.

use std::str::FromStr;

use paceline_rules::{Labels, Taint, Violation};
use paceline_types::{IndexRange, IndexSet, JobState, JobUid, Reason, Resources, Revision, TaskState};

use super::{Decoded, present, proto, wrong};

pub(super) fn uid(uid: JobUid) -> proto::JobUid {
    proto::JobUid { revision: uid.revision.0, ordinal: uid.ordinal }
}

pub(super) fn read_uid(field: &'static str, uid: Option<proto::JobUid>) -> Decoded<JobUid> {
    let uid = present(field, uid)?;
    Ok(JobUid { revision: Revision(uid.revision), ordinal: uid.ordinal })
}

pub(super) fn resources(resources: &Resources) -> proto::Resources {
    proto::Resources { cpu_milli: resources.cpu_milli(), memory_bytes: resources.memory_bytes() }
}

pub(super) fn read_resources(resources: &proto::Resources) -> Resources {
    Resources::new(resources.cpu_milli, resources.memory_bytes)
}

pub(super) fn pairs(labels: &Labels) -> Vec<proto::Pair> {
    labels.iter().map(|(name, value)| proto::Pair { name: name.clone(), value: value.clone() }).collect()
}

pub(super) fn read_pairs(pairs: Vec<proto::Pair>) -> Labels {
    pairs.into_iter().map(|pair| (pair.name, pair.value)).collect()
}

pub(super) fn taints(taints: &[Taint]) -> Vec<proto::Taint> {
    taints.iter().map(|taint| proto::Taint { key: taint.key.clone(), value: taint.value.clone() }).collect()
}

pub(super) fn read_taints(taints: Vec<proto::Taint>) -> Vec<Taint> {
    taints.into_iter().map(|taint| Taint { key: taint.key, value: taint.value }).collect()
}

pub(super) fn violations(violations: &[Violation]) -> proto::Violations {
    let of = |violation: &Violation| proto::Violation {
        field: violation.field.clone(),
        value: violation.value.clone(),
        expected: violation.expected.clone(),
    };
    proto::Violations { violations: violations.iter().map(of).collect() }
}

pub(super) fn read_violations(violations: proto::Violations) -> Vec<Violation> {
    let of = |violation: proto::Violation| Violation {
        field: violation.field,
        value: violation.value,
        expected: violation.expected,
    };
    violations.violations.into_iter().map(of).collect()
}

/// Text of a type whose parser holds the rule.
pub(super) fn parsed<T: FromStr>(field: &'static str, text: &str, expected: &'static str) -> Decoded<T> {
    text.parse().map_err(|_| wrong(field, expected))
}

/// A byte array of a fixed length.
pub(super) fn fixed<const N: usize>(field: &'static str, bytes: &[u8]) -> Decoded<[u8; N]> {
    bytes.try_into().map_err(|_| wrong(field, "of the fixed length"))
}

pub(super) fn read_reason(code: u64) -> Decoded<Reason> {
    let reason = u8::try_from(code).ok().and_then(Reason::from_code);
    reason.ok_or(wrong("reason", "a reason that this build knows"))
}

pub(super) fn read_task_state(code: u64) -> Decoded<TaskState> {
    let state = u8::try_from(code).ok().and_then(TaskState::from_code);
    state.ok_or(wrong("state", "a state of a task"))
}

pub(super) fn read_job_state(code: u32) -> Decoded<JobState> {
    let state = u8::try_from(code).ok().and_then(JobState::from_code);
    state.ok_or(wrong("state", "a state of a job"))
}

/// Distances from the least index that could follow, and lengths less one.
pub(super) fn index_set(set: &IndexSet) -> proto::IndexSet {
    let mut steps = Vec::with_capacity(set.ranges().len() * 2);
    let mut least = 0_u32;
    for range in set.ranges() {
        // Ranges are rising and apart by one at least, so the differences do not go below zero.
        steps.push(range.first().wrapping_sub(least));
        steps.push(range.last() - range.first());
        least = range.last().wrapping_add(2);
    }
    proto::IndexSet { steps }
}

pub(super) fn read_index_set(set: &proto::IndexSet) -> Decoded<IndexSet> {
    let bad = || wrong("tasks", "rising ranges of task indices");
    if !set.steps.len().is_multiple_of(2) {
        return Err(bad());
    }
    let mut least = Some(0_u32);
    let mut ranges = Vec::with_capacity(set.steps.len() / 2);
    for step in set.steps.chunks_exact(2) {
        let first = least.and_then(|least| least.checked_add(step[0])).ok_or_else(bad)?;
        let last = first.checked_add(step[1]).ok_or_else(bad)?;
        ranges.push(IndexRange::new(first, last).ok_or_else(bad)?);
        least = last.checked_add(2);
    }
    Ok(ranges.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_sets_read_back_and_bad_ones_are_refused() {
        for text in ["0", "0-4294967295", "4294967295", "0-9,11,4294967290-4294967293,4294967295"] {
            let set: IndexSet = text.parse().expect("valid");
            assert_eq!(read_index_set(&index_set(&set)), Ok(set));
        }
        for steps in [vec![1], vec![1, u32::MAX], vec![u32::MAX, 0, 0, 0], vec![0, u32::MAX - 1, 0, 0]] {
            assert!(read_index_set(&proto::IndexSet { steps }).is_err());
        }
    }
}
