//! What clients called and were told, and what every replica applied: held against each other as they come in.
//!
//! The log gives all writes one order, so linearizability needs no search: each answer carries its revision, and an answer
//! may not be older than what was known to anyone when the call began.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::trace::Trace;

/// The number of a call.
pub type CallId = u64;

/// What every replica must agree on about one revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// The term of the leader that proposed it.
    pub term: u64,
    /// Whose write it is, if it is one of ours.
    pub call: Option<CallId>,
    /// The register that was written.
    pub register: u8,
    /// Folds everything up to here.
    pub digest: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Open,
    Acknowledged { revision: u64 },
    Refused,
}

#[derive(Debug, Clone)]
struct Call {
    /// The newest revision that anyone had been told of when it began.
    floor: u64,
    fate: Fate,
}

#[derive(Default)]
struct Book {
    calls: BTreeMap<CallId, Call>,
    applied: BTreeMap<u64, Applied>,
    /// How many writes each host acknowledged.
    acknowledged_by: BTreeMap<String, u64>,
    /// Where each write was applied.
    places: BTreeMap<CallId, u64>,
    floor: u64,
}

/// The book that all hosts write into. Clones are the same book.
#[derive(Clone)]
pub struct Ledger {
    book: Arc<Mutex<Book>>,
    trace: Trace,
}

/// A read as it was answered.
#[derive(Debug, Clone, Copy)]
pub struct ReadAnswer {
    /// What the read had to see at least.
    pub read_revision: u64,
    /// What was applied when it was served.
    pub applied: u64,
    /// Which register.
    pub register: u8,
    /// Who wrote it last there, and where.
    pub value: Option<(CallId, u64)>,
}

impl Ledger {
    /// An empty book.
    pub fn new(trace: Trace) -> Self {
        Self { book: Arc::default(), trace }
    }

    /// A call begins.
    pub fn begin(&self, call: CallId) {
        let mut book = self.book.lock();
        let floor = book.floor;
        book.calls.insert(call, Call { floor, fate: Fate::Open });
        self.trace.count("calls", 1);
    }

    /// A replica applied an entry.
    pub fn applied(&self, host: &str, revision: u64, applied: Applied) {
        let mut book = self.book.lock();
        let known = *book.applied.entry(revision).or_insert(applied);
        if known != applied {
            let what = format_args!("{host} applied {applied:?} at {revision}, another replica {known:?}");
            self.trace.violation("one-log", what);
        }
        let Some(call) = applied.call else { return };
        let place = *book.places.entry(call).or_insert(revision);
        if place != revision {
            self.trace
                .violation("once", format_args!("call {call} was applied at {place} and at {revision}"));
        }
        match book.calls.get(&call).map(|call| call.fate) {
            None => {
                self.trace.violation("no-phantom", format_args!("call {call} at {revision} was never made"))
            }
            Some(Fate::Refused) => self.trace.violation(
                "refused-means-no",
                format_args!("call {call} was refused and is applied at {revision} on {host}"),
            ),
            _ => {}
        }
    }

    /// A write was acknowledged.
    pub fn acknowledged(&self, call: CallId, host: &str, revision: u64) {
        let mut book = self.book.lock();
        book.floor = book.floor.max(revision);
        *book.acknowledged_by.entry(host.to_owned()).or_default() += 1;
        let entry = book.calls.get_mut(&call).expect("an answer belongs to a call");
        entry.fate = Fate::Acknowledged { revision };
        let floor = entry.floor;
        if revision <= floor {
            let what = format_args!("call {call} at {revision} on {host} began when {floor} was known");
            self.trace.violation("writes-in-order", what);
        }
        if book.places.get(&call) != Some(&revision) {
            let what =
                format_args!("call {call} was acknowledged at {revision} by {host} and not applied there");
            self.trace.violation("acknowledged-is-applied", what);
        }
        drop(book);
        self.trace.count("acknowledged", 1);
        self.trace.event(host, format_args!("acknowledges call {call} at {revision}"));
    }

    /// A write was refused: it must never happen.
    pub fn refused(&self, call: CallId, host: &str) {
        let mut book = self.book.lock();
        book.calls.get_mut(&call).expect("an answer belongs to a call").fate = Fate::Refused;
        if let Some(revision) = book.places.get(&call) {
            let what = format_args!("call {call} was refused by {host} and is applied at {revision}");
            self.trace.violation("refused-means-no", what);
        }
        drop(book);
        self.trace.count("refused", 1);
    }

    /// A read was answered.
    pub fn read(&self, call: CallId, host: &str, answer: ReadAnswer) {
        let mut book = self.book.lock();
        let floor = book.calls.get(&call).expect("an answer belongs to a call").floor;
        let ReadAnswer { read_revision, applied, register, value } = answer;
        if read_revision < floor || applied < read_revision {
            let what = format_args!(
                "read {call} on {host} is of {read_revision} with {applied} applied and began when {floor} was known"
            );
            self.trace.violation("reads-not-stale", what);
        }
        let newest = book.applied.range(..=applied.min(floor)).rev();
        let newest = newest.filter(|(_, entry)| entry.register == register && entry.call.is_some());
        let newest = newest.map(|(revision, _)| *revision).next();
        if value.map(|(_, revision)| revision) < newest {
            let what = format_args!(
                "read {call} on {host} of register {register} saw {value:?}, {newest:?} was known"
            );
            self.trace.violation("reads-not-stale", what);
        }
        if let Some((writer, revision)) = value
            && book.applied.get(&revision).and_then(|entry| entry.call) != Some(writer)
        {
            let what =
                format_args!("read {call} on {host} saw call {writer} at {revision}, which is not there");
            self.trace.violation("reads-what-was-written", what);
        }
        book.floor = book.floor.max(read_revision);
        drop(book);
        self.trace.count("reads", 1);
    }

    /// A snapshot does not hold what the log held.
    pub fn wrong_snapshot(&self, host: &str, what: &str) {
        self.trace.violation("snapshot-is-the-log", format_args!("{host}: {what}"));
    }

    /// What is known of a revision.
    pub fn at(&self, revision: u64) -> Option<Applied> {
        self.book.lock().applied.get(&revision).copied()
    }

    /// The newest revision that anyone was told of.
    pub fn floor(&self) -> u64 {
        self.book.lock().floor
    }

    /// How many writes each host acknowledged.
    pub fn acknowledged_by(&self) -> BTreeMap<String, u64> {
        self.book.lock().acknowledged_by.clone()
    }

    /// Every acknowledged write with its revision.
    pub fn acknowledged_writes(&self) -> Vec<(CallId, u64)> {
        let book = self.book.lock();
        let fates = book.calls.iter().map(|(call, entry)| (*call, entry.fate));
        let acknowledged = fates.filter_map(|(call, fate)| match fate {
            Fate::Acknowledged { revision } => Some((call, revision)),
            Fate::Open | Fate::Refused => None,
        });
        acknowledged.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(call: CallId, digest: u64) -> Applied {
        Applied { term: 1, call: Some(call), register: 0, digest }
    }

    fn read(revision: u64, value: Option<(CallId, u64)>) -> ReadAnswer {
        ReadAnswer { read_revision: revision, applied: revision, register: 0, value }
    }

    /// Two acknowledged writes, at 1 and at 2.
    fn ledger() -> (Ledger, Trace) {
        let trace = Trace::new(false);
        let ledger = Ledger::new(trace.clone());
        for at in 1..=2 {
            ledger.begin(at);
            ledger.applied("m1", at, applied(at, at * 10));
            ledger.acknowledged(at, "m1", at);
        }
        (ledger, trace)
    }

    #[test]
    fn good_history_passes() {
        let (ledger, trace) = ledger();
        ledger.applied("m2", 1, applied(1, 10));
        ledger.begin(3);
        ledger.read(3, "m2", read(2, Some((2, 2))));
        assert_eq!(trace.violations(), Vec::<String>::new());
        assert_eq!((ledger.floor(), ledger.acknowledged_writes()), (2, vec![(1, 1), (2, 2)]));
    }

    #[test]
    fn every_bad_history_is_caught() {
        type Bad = fn(&Ledger);
        let cases: [(&str, Bad); 8] = [
            ("one-log", |ledger| ledger.applied("m2", 2, applied(2, 21))),
            ("once", |ledger| ledger.applied("m2", 3, applied(2, 30))),
            ("no-phantom", |ledger| ledger.applied("m2", 3, applied(9, 30))),
            ("refused-means-no", |ledger| {
                ledger.begin(3);
                ledger.refused(3, "m1");
                ledger.applied("m2", 3, applied(3, 30));
            }),
            ("acknowledged-is-applied", |ledger| {
                ledger.begin(3);
                ledger.acknowledged(3, "m1", 3);
            }),
            ("writes-in-order", |ledger| {
                ledger.begin(3);
                ledger.acknowledged(3, "m1", 2);
            }),
            ("reads-not-stale", |ledger| {
                ledger.begin(3);
                ledger.read(3, "m2", read(1, Some((1, 1))));
            }),
            ("reads-what-was-written", |ledger| {
                ledger.begin(3);
                ledger.read(3, "m2", read(2, Some((7, 2))));
            }),
        ];
        for (check, bad) in cases {
            let (ledger, trace) = ledger();
            bad(&ledger);
            let violations = trace.violations();
            assert!(
                violations.iter().any(|violation| violation.starts_with(check)),
                "{check}: {violations:?}"
            );
        }
    }
}
