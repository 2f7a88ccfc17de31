//! Everything the columns hold of one task, as one value.

use paceline_types::{Attempt, ExitStatus, NodeId, Reason, Revision, TaskState};

/// One task, as readers see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskView {
    /// Where it is.
    pub state: TaskState,
    /// The current or last attempt; zero when there was none.
    pub attempt: Attempt,
    /// Where that attempt is or ended; nothing while the task waits.
    pub node: Option<NodeId>,
    /// The revision of the assignment of that attempt; zero when there was none.
    pub assigned: Revision,
    /// How the last attempt's process ended; kept while the task waits for its next.
    pub status: Option<ExitStatus>,
    /// Why the task is where it is; while it waits, why its last attempt ended.
    pub reason: Reason,
    /// How many attempts counted against `max_attempts`.
    pub failures: u16,
}

/// One task as it is stored: 22 bytes over the columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub state: TaskState,
    pub reason: Reason,
    pub failures: u16,
    pub attempt: u32,
    /// Zero is no node: numbers begin at 1.
    pub node: u32,
    pub assigned: u64,
    pub status: StoredStatus,
}

impl Row {
    /// A task of a new job.
    pub(crate) const NEW: Self = Self {
        state: TaskState::Pending,
        reason: Reason::None,
        failures: 0,
        attempt: 0,
        node: 0,
        assigned: 0,
        status: StoredStatus::NONE,
    };

    pub(crate) fn view(self) -> TaskView {
        TaskView {
            state: self.state,
            attempt: Attempt(self.attempt),
            node: if self.node == 0 { None } else { Some(NodeId(self.node)) },
            assigned: Revision(self.assigned),
            status: self.status.read(),
            reason: self.reason,
            failures: self.failures,
        }
    }
}

/// An exit status in 16 bits: 0 none, 1 + exit code, 32,768 + signal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StoredStatus(u16);

const SIGNAL: u16 = 0x8000;

impl StoredStatus {
    pub(crate) const NONE: Self = Self(0);

    /// Keeps what the kernel can say: 8 bits of exit code, 7 bits of signal. More cannot come from a process.
    pub(crate) fn new(status: Option<ExitStatus>) -> Self {
        let low = |value: i32, bits: i32| u16::try_from(value & bits).unwrap_or_default();
        match status {
            None => Self::NONE,
            Some(ExitStatus::Code(code)) => Self(1 + low(code, 0xff)),
            Some(ExitStatus::Signal(signal)) => Self(SIGNAL | low(signal, 0x7f)),
        }
    }

    pub(crate) fn read(self) -> Option<ExitStatus> {
        match self.0 {
            0 => None,
            code if code < SIGNAL => Some(ExitStatus::Code(i32::from(code) - 1)),
            signal => Some(ExitStatus::Signal(i32::from(signal & !SIGNAL))),
        }
    }

    pub(crate) const fn code(self) -> u16 {
        self.0
    }

    /// The status of a stored code that [`StoredStatus::new`] can give.
    pub(crate) fn from_code(code: u64) -> Option<Self> {
        let status = Self(u16::try_from(code).ok()?);
        if Self::new(status.read()) == status { Some(status) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_of_a_process_reads_back() {
        let codes = (0..=255).map(ExitStatus::Code);
        let signals = (1..=127).map(ExitStatus::Signal);
        for status in codes.chain(signals).map(Some).chain([None]) {
            let stored = StoredStatus::new(status);
            assert_eq!(stored.read(), status);
            assert_eq!(StoredStatus::from_code(u64::from(stored.code())), Some(stored));
        }
    }

    #[test]
    fn a_status_that_no_process_has_is_cut_and_a_code_that_none_has_is_refused() {
        assert_eq!(StoredStatus::new(Some(ExitStatus::Code(-1))).read(), Some(ExitStatus::Code(255)));
        assert_eq!(StoredStatus::new(Some(ExitStatus::Signal(i32::MIN))).read(), Some(ExitStatus::Signal(0)));
        assert_eq!(StoredStatus::from_code(257), None);
        assert_eq!(StoredStatus::from_code(0x8000 + 128), None);
        assert_eq!(StoredStatus::from_code(1 << 16), None);
    }
}
