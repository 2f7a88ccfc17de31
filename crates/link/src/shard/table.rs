//! The merged table of one agent: of each attempt the last thing reported, under the sequence that said so.
//!
//! Ended attempts stay until acknowledged, running ones until they end. A batch is cut in the order of sequences:
//! a piece that carries everything up to sequence s, and everything that was later said anew under a higher one,
//! may be acknowledged as s. So acknowledgements pass through untranslated (never minted here), however much
//! was merged.

use std::collections::{BTreeMap, BTreeSet};

use paceline_types::{Attempt, IndexRange, IndexSet, JobUid, TaskIndex};

use crate::message::{Observed, Report, ReportRun};
use crate::weight::report_run_bytes;

/// An attempt in the order in which batches name them: like attempts beside each other.
type Key = (JobUid, Attempt, TaskIndex);

#[derive(Clone, Copy, Debug)]
struct Entry {
    sequence: u64,
    observed: Observed,
    pid: Option<u32>,
}

/// The table. Bounded by its owner through [`Table::attempts`].
#[derive(Debug, Default)]
pub(super) struct Table {
    entries: BTreeMap<Key, Entry>,
    by_sequence: BTreeSet<(u64, Key)>,
    last: u64,
    complete: bool,
}

/// A piece of a table, on its way up.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub report: Report,
    pub bytes: usize,
}

impl Table {
    pub(super) fn attempts(&self) -> usize {
        self.entries.len()
    }

    /// The highest sequence that was reported.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Merges a report, whose sequence must be above [`Table::last`].
    pub(super) fn merge(&mut self, report: Report) {
        self.last = report.sequence;
        self.complete |= report.table_complete;
        for run in report.runs {
            let with_pids = u64::try_from(run.pids.len()).is_ok_and(|pids| pids == run.tasks.count());
            let mut pids = run.pids.iter().copied().filter(|_| with_pids);
            for task in run.tasks.iter() {
                let entry = Entry { sequence: report.sequence, observed: run.observed, pid: pids.next() };
                self.insert((run.job, run.attempt, task), entry);
            }
        }
    }

    /// An end is final: nothing that comes after it in the session replaces it.
    fn insert(&mut self, key: Key, entry: Entry) {
        if let Some(old) = self.entries.get(&key) {
            if matches!(old.observed, Observed::Ended { .. }) && entry.observed == Observed::Running {
                return;
            }
            self.by_sequence.remove(&(old.sequence, key));
        }
        self.by_sequence.insert((entry.sequence, key));
        self.entries.insert(key, entry);
    }

    /// Ends up to this sequence are in the cell.
    pub(super) fn acknowledged(&mut self, sequence: u64) {
        let upto = self.by_sequence.range(..=(sequence, LAST_KEY));
        let ended = |key: &Key| matches!(self.entries[key].observed, Observed::Ended { .. });
        let done: Vec<_> = upto.filter(|(_, key)| ended(key)).copied().collect();
        for entry in done {
            self.by_sequence.remove(&entry);
            self.entries.remove(&entry.1);
        }
    }

    /// What came after sequence `after`, whole sequences only, up to about `bytes_max`; nothing when nothing came.
    pub(super) fn piece(&self, after: u64, bytes_max: usize) -> Option<Piece> {
        if after >= self.last {
            return None;
        }
        let mut piece = Piece { report: Report::default(), bytes: 0 };
        let mut upto = self.last;
        let mut from = after;
        while let Some(((sequence, _), bytes, runs)) = self.sequence_after(from) {
            if piece.bytes > 0 && piece.bytes + bytes > bytes_max {
                upto = from;
                break;
            }
            piece.bytes += bytes;
            piece.report.runs.extend(runs);
            from = sequence;
        }
        piece.report.sequence = upto;
        piece.report.table_complete = self.complete && upto == self.last;
        Some(piece)
    }

    /// The runs of the lowest sequence above `after`.
    fn sequence_after(&self, after: u64) -> Option<((u64, Key), usize, Vec<ReportRun>)> {
        // An acknowledged sequence comes from an agent, which may have numbered its reports as it liked.
        let first = *self.by_sequence.range((after.checked_add(1)?, FIRST_KEY)..).next()?;
        let keys = self.by_sequence.range((first.0, FIRST_KEY)..=(first.0, LAST_KEY)).map(|(_, key)| *key);
        let runs = runs(keys.map(|key| (key, self.entries[&key])));
        Some((first, runs.iter().map(report_run_bytes).sum(), runs))
    }
}

const FIRST_KEY: Key =
    (JobUid { revision: paceline_types::Revision(0), ordinal: 0 }, Attempt(0), TaskIndex(0));
const LAST_KEY: Key = (
    JobUid { revision: paceline_types::Revision(u64::MAX), ordinal: u32::MAX },
    Attempt(u32::MAX),
    TaskIndex(u32::MAX),
);

/// Joins entries that say the same of tasks of one job and attempt number.
fn runs(entries: impl Iterator<Item = (Key, Entry)>) -> Vec<ReportRun> {
    type Tasks = (Vec<IndexRange>, Vec<u32>);
    let mut alike: BTreeMap<(JobUid, Attempt, Observed, bool), Tasks> = BTreeMap::new();
    for ((job, attempt, task), entry) in entries {
        let (ranges, pids) = alike.entry((job, attempt, entry.observed, entry.pid.is_some())).or_default();
        ranges.push(IndexRange::one(task));
        pids.extend(entry.pid);
    }
    let run = |((job, attempt, observed, _), (ranges, pids)): (_, Tasks)| ReportRun {
        job,
        attempt,
        tasks: ranges.into_iter().collect::<IndexSet>(),
        observed,
        pids,
    };
    alike.into_iter().map(run).collect()
}

/// How many attempts a report names; what its ranges cost the sender says nothing about it.
pub(super) fn attempts_named(report: &Report) -> u64 {
    report.runs.iter().map(|run| run.tasks.count()).fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use paceline_types::{ExitStatus, Reason, Revision};

    const OK: Observed = Observed::Ended { status: Some(ExitStatus::Code(0)), reason: Reason::ExitedZero };

    fn report(sequence: u64, tasks: &str, observed: Observed, complete: bool) -> Report {
        let tasks: IndexSet = tasks.parse().expect("indices");
        let job = JobUid { revision: Revision(1), ordinal: 0 };
        let pids =
            if observed == Observed::Running { tasks.iter().map(|t| t.0 + 100).collect() } else { vec![] };
        let run = ReportRun { job, attempt: Attempt(1), tasks, observed, pids };
        Report { sequence, runs: vec![run], table_complete: complete }
    }

    fn table(reports: impl IntoIterator<Item = Report>) -> Table {
        let mut table = Table::default();
        reports.into_iter().for_each(|report| table.merge(report));
        table
    }

    #[test]
    fn a_piece_merges_reports_and_keeps_the_last_sequence() {
        let table = table([report(1, "0-9", Observed::Running, true), report(2, "0-3", OK, false)]);
        let piece = table.piece(0, usize::MAX).expect("a piece").report;
        assert_eq!((piece.sequence, piece.table_complete), (2, true));
        let said: Vec<_> = piece.runs.iter().map(|run| (run.tasks.to_string(), run.observed)).collect();
        assert_eq!(said, [("4-9".to_owned(), Observed::Running), ("0-3".to_owned(), OK)]);
        assert_eq!(piece.runs[0].pids, [104, 105, 106, 107, 108, 109]);
        assert_eq!(table.piece(2, usize::MAX), None);
    }

    #[test]
    fn a_cut_falls_between_sequences_and_only_the_last_piece_completes() {
        let table = table([
            report(1, "0", Observed::Running, false),
            report(2, "1", Observed::Running, false),
            report(3, "2", OK, true),
        ]);
        let mut after = 0;
        let mut seen = Vec::new();
        while let Some(piece) = table.piece(after, 1) {
            after = piece.report.sequence;
            seen.push((after, piece.report.table_complete));
        }
        assert_eq!(seen, [(1, false), (2, false), (3, true)]);
    }

    #[test]
    fn an_empty_report_still_moves_the_sequence() {
        let mut table = table([report(1, "0", OK, false)]);
        table.merge(Report { sequence: 2, runs: vec![], table_complete: true });
        table.acknowledged(1);
        let piece = table.piece(0, usize::MAX).expect("a piece").report;
        assert_eq!(piece, Report { sequence: 2, runs: vec![], table_complete: true });
    }

    #[test]
    fn acknowledged_ends_leave_and_running_attempts_stay() {
        let mut table = table([report(1, "0-9", Observed::Running, true), report(2, "0-3", OK, false)]);
        table.acknowledged(1);
        assert_eq!(table.attempts(), 10);
        table.acknowledged(2);
        let tasks: Vec<_> = table.entries.keys().map(|(_, _, task)| task.0).collect();
        assert_eq!(tasks, [4, 5, 6, 7, 8, 9]);
    }

    #[test]
    fn the_highest_sequence_that_there_is_ends_a_table_and_does_not_begin_it_anew() {
        let table = table([report(1, "0", OK, false), report(u64::MAX, "1", OK, true)]);
        let piece = table.piece(0, usize::MAX).expect("a piece").report;
        let said: Vec<_> = piece.runs.iter().map(|run| run.tasks.to_string()).collect();
        assert_eq!((piece.sequence, said), (u64::MAX, vec!["0".to_owned(), "1".to_owned()]));
        assert_eq!(table.piece(u64::MAX, usize::MAX), None);
    }

    #[test]
    fn an_end_is_final() {
        let table = table([report(1, "0", OK, false), report(2, "0", Observed::Running, false)]);
        let piece = table.piece(0, usize::MAX).expect("a piece").report;
        assert_eq!(piece.runs.len(), 1);
        assert_eq!((piece.runs[0].observed, piece.sequence), (OK, 2));
    }
}
