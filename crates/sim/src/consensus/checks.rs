//! What must hold after every tick, whatever fails.

use std::collections::BTreeMap;

use paceline_replica::{ReplicaStatus, ServerRole};

use super::host::{Seat, Stage};
use crate::trace::Trace;

/// What is remembered of a host between two ticks.
#[derive(Debug, Clone, Default)]
struct Memory {
    life: u64,
    /// Over all lives.
    term: u64,
    /// Over all lives: a snapshot that was current is durable.
    snapshot: Option<u64>,
    /// Of this life.
    committed: Option<u64>,
    /// Of this life.
    applied: Option<u64>,
    /// Of this life.
    last_log: Option<u64>,
    /// Of the life before.
    last_log_before: Option<u64>,
    /// A change of the disk failed in this life.
    failed: bool,
}

/// The checks, and what they remember.
pub struct Checks {
    trace: Trace,
    leaders: BTreeMap<u64, String>,
    memories: BTreeMap<String, Memory>,
}

/// What the driver knows about a host that the host does not.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    /// How often it was started.
    pub life: u64,
    /// Its disk was damaged at rest.
    pub damaged: bool,
    /// Changes of its disk that had failed before this life.
    pub errors_before: u64,
}

/// What happens to a log, as its owner tells.
fn note_points(trace: &Trace, memory: &Memory, status: &ReplicaStatus) {
    let first_look = memory.last_log.is_none();
    if first_look && status.last_log.is_some() && status.last_log < memory.last_log_before {
        trace.sometimes("a crash took entries of the log");
    }
    // One that was built here covers nothing that was not applied before, and nothing is purged as it becomes current.
    let filled = status.snapshot > memory.snapshot.max(memory.applied) && status.purged >= status.snapshot;
    if filled && memory.life > 0 && status.snapshot.is_some() {
        trace.sometimes("a follower was filled by a snapshot");
    }
}

impl Checks {
    /// Nothing seen yet.
    pub fn new(trace: Trace) -> Self {
        Self { trace, leaders: BTreeMap::new(), memories: BTreeMap::new() }
    }

    /// Looks at one host that is up.
    pub fn look(&mut self, seat: &Seat, known: Known) {
        let life = seat.life.lock();
        let memory = self.memories.entry(seat.name.clone()).or_default();
        if memory.life != known.life {
            let Memory { term, snapshot, last_log, .. } = *memory;
            *memory =
                Memory { life: known.life, term, snapshot, last_log_before: last_log, ..Memory::default() };
        }
        if let Stage::Refused(reason) = &life.stage
            && !known.damaged
            && seat.disk.errors() == known.errors_before
            && !seat.disk.is_cut()
        {
            self.trace.violation("undamaged-disk-opens", format_args!("{}: {reason}", seat.name));
        }
        // A process that finds the error while it opens does not begin to serve.
        let failed = seat.disk.errors() > known.errors_before && !matches!(life.stage, Stage::Refused(_));
        if failed && !memory.failed && life.power.is_on() {
            let what = format_args!("{} goes on after a failed write or sync", seat.name);
            self.trace.violation("disk-error-ends-the-process", what);
        }
        memory.failed = failed;
        let Some(status) = &life.status else { return };
        let status = status.borrow();
        if status.term < memory.term {
            let what = format_args!("{} went from term {} to {}", seat.name, memory.term, status.term);
            self.trace.violation("terms-rise", what);
        }
        memory.term = memory.term.max(status.term);
        if status.snapshot < memory.snapshot {
            let what = format_args!("{} from {:?} to {:?}", seat.name, memory.snapshot, status.snapshot);
            self.trace.violation("snapshots-stay", what);
        }
        note_points(&self.trace, memory, &status);
        memory.snapshot = memory.snapshot.max(status.snapshot);
        if status.committed < memory.committed || status.applied < memory.applied {
            let what = format_args!("{} went back from {memory:?} to {status:?}", seat.name);
            self.trace.violation("commits-stay", what);
        }
        (memory.committed, memory.applied) = (status.committed, status.applied);
        memory.last_log = status.last_log;
        if status.role == ServerRole::Leader && life.power.is_on() {
            let leader = self.leaders.entry(status.term).or_insert_with(|| seat.name.clone());
            if *leader != seat.name {
                let what = format_args!("{leader} and {} lead in term {}", seat.name, status.term);
                self.trace.violation("one-leader-per-term", what);
            }
        }
    }

    /// How many terms had a leader.
    pub fn terms_led(&self) -> usize {
        self.leaders.len()
    }
}
