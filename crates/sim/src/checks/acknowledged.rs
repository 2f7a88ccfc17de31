//! No acknowledged submission is lost, and none is done twice.

use super::{Sight, uid_of};
use crate::launched::Launched;
use crate::ledger::{Answer, Ledger};

/// Every job that was acknowledged is there unless somebody asked to delete it, and no name has more jobs than were
/// asked for.
pub fn acknowledged(sight: &Sight, ledger: &Ledger, _launched: &Launched) -> Vec<String> {
    let mut wrong = Vec::new();
    let records = ledger.jobs();
    for (name, record) in &records {
        let found: Vec<_> = sight
            .jobs
            .iter()
            .filter(|(job, _)| job.name == *name)
            .filter_map(|(job, _)| uid_of(job))
            .collect();
        if record.deletions.is_empty() {
            for uid in record.uids.iter().filter(|uid| !found.contains(uid)) {
                wrong.push(format!("{name} was acknowledged as {uid:?} and is not there"));
            }
        }
        if found.len() > record.asked {
            wrong.push(format!(
                "{name} was asked for {} times and is there {} times",
                record.asked,
                found.len()
            ));
        }
        if matches!(record.submitted, Some(Answer::NotDone(_))) && !found.is_empty() {
            wrong.push(format!("{name} was refused for certain and is there"));
        }
        let deleted = record.deletions.iter().any(|answer| matches!(answer, Answer::Done(_)));
        if deleted && record.asked == 1 && !found.is_empty() {
            wrong.push(format!("{name} was deleted for certain and is there"));
        }
    }
    for (job, _) in sight.jobs.iter().filter(|(job, _)| !records.contains_key(&job.name)) {
        wrong.push(format!("{} is there and nobody asked for it", job.name));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use paceline_client::v1;

    use super::*;
    use crate::trace::Trace;

    fn sight(names: &[(&str, u64)]) -> Sight {
        let job = |&(name, revision): &(&str, u64)| {
            let uid = Some(v1::JobUid { revision, ordinal: 0 });
            (v1::JobStatus { name: name.into(), uid, ..v1::JobStatus::default() }, Vec::new())
        };
        Sight { jobs: names.iter().map(job).collect(), ..Sight::default() }
    }

    fn ledger() -> Ledger {
        let ledger = Ledger::default();
        ledger.submitting("a", 1, 0);
        ledger.note("a", |job| {
            (job.asked, job.submitted) = (1, Some(Answer::Done(7)));
            job.uids.insert((7, 0));
        });
        ledger
    }

    fn wrong(names: &[(&str, u64)], ledger: &Ledger) -> usize {
        acknowledged(&sight(names), ledger, &Launched::new(Trace::new(false))).len()
    }

    #[test]
    fn what_was_acknowledged_is_there_once_and_nothing_else() {
        assert_eq!(wrong(&[("a", 7)], &ledger()), 0);
        assert_eq!(wrong(&[], &ledger()), 1, "lost");
        assert_eq!(wrong(&[("a", 7), ("a", 9)], &ledger()), 1, "done twice");
        assert_eq!(wrong(&[("a", 7), ("b", 9)], &ledger()), 1, "never asked for");
    }

    #[test]
    fn what_was_deleted_for_certain_is_gone() {
        let ledger = ledger();
        ledger.note("a", |job| job.deletions.push(Answer::Open));
        assert_eq!((wrong(&[("a", 7)], &ledger), wrong(&[], &ledger)), (0, 0), "open: either");
        ledger.note("a", |job| job.deletions.push(Answer::Done(9)));
        assert_eq!((wrong(&[("a", 7)], &ledger), wrong(&[], &ledger)), (1, 0));
    }
}
