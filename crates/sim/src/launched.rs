//! What really ran: every launch on every machine, noted by the runtimes, so that the checks need not believe the cell.

use std::collections::BTreeMap;
use std::sync::Arc;

use paceline_types::AttemptId;
use parking_lot::Mutex;

use crate::trace::Trace;

/// One launch of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// Which.
    pub attempt: AttemptId,
    /// Where.
    pub node: Arc<str>,
    /// From then, in virtual time.
    pub started_ms: u64,
    /// Until then.
    pub ends_ms: u64,
    /// The machine lost its power before the cell had acknowledged its end.
    pub struck: bool,
}

/// All launches of a run. Clones are the same ledger.
#[derive(Debug, Clone)]
pub struct Launched {
    ran: Arc<Mutex<BTreeMap<AttemptId, Ran>>>,
    trace: Trace,
}

impl Launched {
    /// Nothing ran yet.
    #[must_use]
    pub fn new(trace: Trace) -> Self {
        Self { ran: Arc::default(), trace }
    }

    /// An attempt was started. The same one twice is what agents must never do.
    pub fn started(&self, attempt: AttemptId, node: &Arc<str>, started_ms: u64, ends_ms: u64) {
        self.trace.event(node, format_args!("launches {attempt} until {ends_ms} ms"));
        self.trace.count("launches", 1);
        let ran = Ran { attempt, node: node.clone(), started_ms, ends_ms, struck: false };
        if let Some(before) = self.ran.lock().insert(attempt, ran) {
            let text = format!("{attempt} was launched on {} and again on {node}", before.node);
            self.trace.violation("launched-once", text);
        }
    }

    /// An attempt ends earlier than it would have.
    pub fn ended(&self, attempt: AttemptId, ends_ms: u64) {
        if let Some(ran) = self.ran.lock().get_mut(&attempt) {
            ran.ends_ms = ran.ends_ms.min(ends_ms);
        }
    }

    /// The machine of an attempt lost its power before its end was acknowledged.
    pub fn struck(&self, attempt: AttemptId, at_ms: u64) {
        self.ended(attempt, at_ms);
        if let Some(ran) = self.ran.lock().get_mut(&attempt) {
            ran.struck = true;
        }
    }

    /// What ran, by attempt.
    #[must_use]
    pub fn all(&self) -> Vec<Ran> {
        self.ran.lock().values().cloned().collect()
    }
}
