//! What the machines ran is what the cell says: an attempt that succeeded really ran, alone, and nothing ran that the cell
//! does not know of.

use std::collections::BTreeMap;

use paceline_client::v1::TaskState;
use paceline_types::{JobUid, Revision, TaskIndex};

use super::{Sight, uid_of};
use crate::launched::{Launched, Ran};
use crate::ledger::Ledger;

/// The last attempt of each task that ended with its own process was launched on the node that the cell names, no
/// attempt came after it, and no two attempts of a task ran at the same time.
pub fn launches(sight: &Sight, ledger: &Ledger, launched: &Launched) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut ran: BTreeMap<(JobUid, TaskIndex), Vec<Ran>> = BTreeMap::new();
    for one in launched.all() {
        ran.entry((one.attempt.job, one.attempt.task)).or_default().push(one);
    }
    for attempts in ran.values_mut() {
        attempts.sort_by_key(|one| (one.started_ms, one.attempt));
        for pair in attempts.windows(2).filter(|pair| pair[1].started_ms < pair[0].ends_ms) {
            let (first, second) = (&pair[0], &pair[1]);
            wrong.push(format!(
                "{} ran on {} until {} ms, and {} began on {} at {} ms",
                first.attempt, first.node, first.ends_ms, second.attempt, second.node, second.started_ms
            ));
        }
    }
    let fails = |job: &str| ledger.jobs().get(job).is_some_and(|record| record.exit != 0);
    for (job, tasks) in &sight.jobs {
        let Some((revision, ordinal)) = uid_of(job) else { continue };
        let uid = JobUid { revision: Revision(revision), ordinal };
        for task in tasks {
            let attempts = ran.get(&(uid, TaskIndex(task.index))).map(Vec::as_slice).unwrap_or_default();
            let last = attempts.iter().find(|one| one.attempt.attempt.0 == task.attempt);
            let name = format!("{}.{}", job.name, task.index);
            if let Some(later) = attempts.iter().find(|one| one.attempt.attempt.0 > task.attempt) {
                wrong.push(format!(
                    "{name} ran as {} and the cell knows of {} attempts",
                    later.attempt, task.attempt
                ));
            }
            let good = |one: &&Ran| !one.struck && Some(*one) != last;
            if !fails(&job.name)
                && let Some(lost) = attempts.iter().find(good)
            {
                let node = &lost.node;
                wrong
                    .push(format!("{name} ran well as {} on {node} and was tried again (A-7)", lost.attempt));
            }
            match (task.state(), last) {
                (TaskState::Succeeded, None) => wrong.push(format!("{name} succeeded and never ran")),
                (TaskState::Succeeded, Some(last)) if *last.node != *task.node => {
                    wrong.push(format!("{name} succeeded on {} and ran on {}", task.node, last.node));
                }
                _ => {}
            }
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use paceline_client::v1;
    use paceline_types::{Attempt, AttemptId};

    use super::*;
    use crate::trace::Trace;

    const UID: JobUid = JobUid { revision: Revision(7), ordinal: 0 };

    fn sight(attempt: u32, node: &str) -> Sight {
        let uid = Some(v1::JobUid { revision: 7, ordinal: 0 });
        let job = v1::JobStatus { name: "a".into(), uid, ..v1::JobStatus::default() };
        let state = TaskState::Succeeded.into();
        let task = v1::Task { index: 0, state, node: node.into(), attempt, ..v1::Task::default() };
        Sight { jobs: vec![(job, vec![task])], ..Sight::default() }
    }

    fn attempt(attempt: u32) -> AttemptId {
        AttemptId { job: UID, task: TaskIndex(0), attempt: Attempt(attempt) }
    }

    /// Attempt, node, from, until.
    fn launched(ran: &[(u32, &str, u64, u64)]) -> Launched {
        let launched = Launched::new(Trace::new(false));
        for (number, node, from, until) in ran {
            launched.started(attempt(*number), &Arc::from(*node), *from, *until);
        }
        launched
    }

    fn wrong(sight: &Sight, launched: &Launched) -> usize {
        launches(sight, &Ledger::default(), launched).len()
    }

    #[test]
    fn a_task_that_succeeded_ran_once_where_the_cell_says() {
        let once = launched(&[(1, "n1", 0, 9)]);
        assert_eq!(wrong(&sight(1, "n1"), &once), 0);
        assert_eq!(wrong(&sight(1, "n2"), &once), 1, "elsewhere");
        assert_eq!(wrong(&sight(1, "n1"), &launched(&[])), 1, "never ran");
    }

    #[test]
    fn an_attempt_that_the_cell_does_not_know_of_is_found() {
        let more = launched(&[(1, "n1", 0, 9), (2, "n2", 20, 29)]);
        assert_eq!(wrong(&sight(1, "n1"), &more), 2, "unknown to the cell, and needless");
    }

    #[test]
    fn two_attempts_at_once_are_found_even_where_a_machine_had_lost_its_power() {
        let overlapping = launched(&[(1, "n1", 0, 9), (2, "n2", 5, 29)]);
        overlapping.struck(attempt(1), 9);
        assert_eq!(wrong(&sight(2, "n2"), &overlapping), 1);
    }

    #[test]
    fn a_good_attempt_is_followed_by_another_only_after_a_power_cut() {
        let again = launched(&[(1, "n1", 0, 9), (2, "n2", 20, 29)]);
        assert_eq!(wrong(&sight(2, "n2"), &again), 1);
        again.struck(attempt(1), 12);
        assert_eq!(wrong(&sight(2, "n2"), &again), 0);
    }
}
