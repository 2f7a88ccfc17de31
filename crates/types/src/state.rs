//! States of tasks and jobs, and how a task ended.

use std::fmt;

macro_rules! coded {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $code:literal $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum $name { $($(#[$vdoc])* $variant = $code,)+ }

        impl $name {
            /// Every value, in the order of the codes.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The stored code.
            #[must_use]
            pub const fn code(self) -> u8 {
                self as u8
            }

            /// The value of a stored code.
            #[must_use]
            pub const fn from_code(code: u8) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)+ _ => None }
            }

            /// The word in the API, the CLI and metrics.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = crate::ids::ParseIdError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|value| value.as_str() == text).ok_or_else(|| {
                    crate::ids::ParseIdError {
                        what: stringify!($name),
                        value: text.to_owned(),
                        expected: concat!($("`", $text, "` "),+),
                    }
                })
            }
        }
    };
}
pub(crate) use coded;

coded!(
    /// Where a task is. Reports move an attempt forward along this order only:
    /// assigned, running, stopping, then one of the ends.
    TaskState {
        /// Waits for a node.
        Pending = 0 "pending",
        /// Bound to a node by a committed assignment.
        Assigned = 1 "assigned",
        /// Its agent said that it runs.
        Running = 2 "running",
        /// Its node was told to stop it.
        Stopping = 3 "stopping",
        /// Ended with exit code 0.
        Succeeded = 4 "succeeded",
        /// Ended otherwise and has no attempt left.
        Failed = 5 "failed",
        /// Ended because someone asked for it.
        Killed = 6 "killed",
        /// Its node went away while it was being stopped: how it ended is not known.
        Lost = 7 "lost",
    }
);

impl TaskState {
    /// How many states there are.
    pub const COUNT: usize = Self::ALL.len();

    /// Whether the task will never run again.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Killed | Self::Lost)
    }

    /// Whether the task holds resources on a node.
    #[must_use]
    pub const fn is_on_node(self) -> bool {
        matches!(self, Self::Assigned | Self::Running | Self::Stopping)
    }
}

coded!(
    /// Where a job is.
    JobState {
        /// Has tasks that have not ended.
        Active = 0 "active",
        /// Someone asked to stop it, or too many of its tasks failed; some tasks have not ended yet.
        Stopping = 1 "stopping",
        /// Every task succeeded.
        Succeeded = 2 "succeeded",
        /// Every task ended, at least one failed or was lost.
        Failed = 3 "failed",
        /// Every task ended after a stop, none failed.
        Killed = 4 "killed",
    }
);

impl JobState {
    /// Whether the job has ended.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Killed)
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ExitStatus {
    /// It called exit: 0 to 255.
    Code(i32),
    /// A signal ended it.
    Signal(i32),
}

impl ExitStatus {
    /// Exit code 0.
    #[must_use]
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Code(0))
    }

    /// The code as a shell shows it: a signal counts as 128 + its number.
    #[must_use]
    pub const fn shell_code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_words_read_back() {
        for &state in TaskState::ALL {
            assert_eq!(TaskState::from_code(state.code()), Some(state));
            assert_eq!(state.as_str().parse(), Ok(state));
        }
        assert_eq!(TaskState::from_code(8), None);
        assert!("ended".parse::<TaskState>().is_err());
    }
}
