//! The closed sets of label values. Closed, so that no metric can grow without bound.

use paceline_types::TaskState;

/// One of a closed set of values of one label.
pub trait LabelValue: Copy + 'static {
    /// The label's name.
    const KEY: &'static str;
    /// All values.
    const ALL: &'static [Self];

    /// The value as it is exposed.
    fn text(self) -> &'static str;
    /// Its position in [`LabelValue::ALL`].
    fn index(self) -> usize;
}

/// Declares a label: its values, their texts, and their positions in one list.
macro_rules! label {
    ($(#[$doc:meta])* $name:ident, $key:literal, { $($(#[$value_doc:meta])* $value:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$value_doc])* $value,)*
        }

        impl LabelValue for $name {
            const KEY: &'static str = $key;
            const ALL: &'static [Self] = &[$(Self::$value,)*];

            fn text(self) -> &'static str {
                match self {
                    $(Self::$value => $text,)*
                }
            }

            fn index(self) -> usize {
                self as usize
            }
        }
    };
}

label!(
    /// How a proposal to the log ended.
    ProposalOutcome, "outcome", {
        /// Durable and applied.
        Ok = "ok",
        /// Refused by the cell: the reply says why.
        Refused = "refused",
        /// We do not lead.
        NotLeader = "not_leader",
        /// It may or may not have happened.
        Unknown = "unknown",
        /// Above the entry limit.
        TooLarge = "too_large",
        /// Turned away before the log.
        Overloaded = "overloaded",
        /// The process was ending.
        Shutdown = "shutdown",
    }
);

/// What a task turned into.
impl LabelValue for TaskState {
    const KEY: &'static str = "to";
    const ALL: &'static [Self] = TaskState::ALL;

    fn text(self) -> &'static str {
        self.as_str()
    }

    fn index(self) -> usize {
        self as usize
    }
}

label!(
    /// What an attempt is doing on a node.
    AttemptState, "state", {
        /// Ordered, its process not yet running.
        Starting = "starting",
        /// Its process runs.
        Running = "running",
        /// Told to end, still running.
        Stopping = "stopping",
        /// Ended, the report not yet acknowledged.
        Ended = "ended",
    }
);

label!(
    /// Which way a message went, seen from the process that counts it.
    Direction, "direction", {
        /// Towards us.
        Received = "received",
        /// From us.
        Sent = "sent",
    }
);

label!(
    /// How a call of the API ended.
    CallOutcome, "outcome", {
        /// Answered.
        Ok = "ok",
        /// Refused with a reason that the caller can act on.
        Refused = "refused",
        /// To be tried again: another leader, an overload, a deadline.
        Retry = "retry",
        /// Our own fault.
        Failed = "failed",
    }
);

#[cfg(test)]
mod tests {
    use super::*;

    fn positions_fit<L: LabelValue + std::fmt::Debug>() {
        for (position, value) in L::ALL.iter().enumerate() {
            assert_eq!(value.index(), position, "{value:?}");
        }
    }

    #[test]
    fn every_value_stands_at_its_own_position() {
        positions_fit::<ProposalOutcome>();
        positions_fit::<TaskState>();
        positions_fit::<AttemptState>();
        positions_fit::<Direction>();
        positions_fit::<CallOutcome>();
    }
}
