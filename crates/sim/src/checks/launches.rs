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
