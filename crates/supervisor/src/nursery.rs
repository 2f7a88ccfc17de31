//! What an agent and its nursery say to each other: orders one way, answers the other, each through a pipe.
//!
//! The nursery is the process that supervisors are forked from, one per agent. An order is its length in four
//! bytes and the record. The answer is a line, written by the supervisor itself once it has taken its attempt:
//! lines are shorter than what a pipe takes in one piece, so those of many supervisors never mix.

use std::io::{self, ErrorKind, Read};

use crate::folder::Record;
use crate::record::order::Order;
use crate::record::text::Fields;

/// The argument that makes the supervisor's program a nursery.
pub const NURSERY: &str = "nursery";

/// The longest order. The kernel executes nothing with more than 6 MiB of arguments and environment, and to
/// write them down as text at most doubles them.
pub const ORDER_BYTES_MAX: usize = 13 << 20;

/// What a pipe takes in one piece, by POSIX at least 512 and on Linux 4096.
const ANSWER_BYTES_MAX: usize = 4096;

/// What became of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Its supervisor has taken the attempt.
    Taken {
        /// The supervisor.
        pid: u32,
        /// Its start, in clock ticks since the boot.
        start_ticks: u64,
    },
    /// Somebody else had taken it.
    Theirs,
    /// Nobody took it, for this reason.
    Failed(String),
}

/// An order as it goes to the nursery; nothing when it is too long to be executed anywhere.
#[must_use]
pub fn frame(order: &Order) -> Option<Vec<u8>> {
    let record = order.encode();
    let length = u32::try_from(record.len()).ok().filter(|_| record.len() <= ORDER_BYTES_MAX)?;
    Some([&length.to_le_bytes()[..], &record].concat())
}

/// Takes the next order; nothing when the agent has gone, even in the middle of one.
///
/// # Errors
/// When the bytes are no order: agent and nursery do not fit each other.
pub fn read_order(orders: &mut impl Read) -> io::Result<Option<Order>> {
    let mut length = [0; 4];
    if !filled(orders, &mut length)? {
        return Ok(None);
    }
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > ORDER_BYTES_MAX {
        let message = format!("an order of {length} bytes; at most {ORDER_BYTES_MAX} are taken");
        return Err(io::Error::new(ErrorKind::InvalidData, message));
    }
    let mut record = vec![0; length];
    if !filled(orders, &mut record)? {
        return Ok(None);
    }
    let order = Fields::parse(Order::NAME, &record).and_then(|fields| Order::decode(&fields));
    order.map(Some).map_err(|damage| io::Error::new(ErrorKind::InvalidData, damage))
}

fn filled(orders: &mut impl Read, bytes: &mut [u8]) -> io::Result<bool> {
    match orders.read_exact(bytes) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(e) => Err(e),
    }
}

impl Answer {
    /// The line that says so of an attempt.
    #[must_use]
    pub fn line(&self, attempt: &str) -> String {
        let mut line = match self {
            Self::Taken { pid, start_ticks } => format!("{attempt} taken {pid} {start_ticks}"),
            Self::Theirs => format!("{attempt} theirs"),
            Self::Failed(message) => format!("{attempt} failed {}", message.replace('\n', " ")),
        };
        line.truncate(line.floor_char_boundary(ANSWER_BYTES_MAX - 1));
        line.push('\n');
        line
    }

    /// The attempt and what became of it; nothing when it is no answer.
    #[must_use]
    pub fn parse(line: &str) -> Option<(&str, Self)> {
        let (attempt, rest) = line.strip_suffix('\n')?.split_once(' ')?;
        let (word, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let answer = match word {
            "taken" => {
                let (pid, start_ticks) = rest.split_once(' ')?;
                Self::Taken { pid: pid.parse().ok()?, start_ticks: start_ticks.parse().ok()? }
            }
            "theirs" => Self::Theirs,
            "failed" => Self::Failed(rest.to_owned()),
            _ => return None,
        };
        Some((attempt, answer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::order::testing::smallest;

    #[test]
    fn orders_read_back_one_after_the_other_and_the_last_may_be_cut_anywhere() {
        let frames = [frame(&smallest()).unwrap(), frame(&smallest()).unwrap()].concat();
        let mut whole = &frames[..];
        assert_eq!(read_order(&mut whole).unwrap(), Some(smallest()));
        assert_eq!(read_order(&mut whole).unwrap(), Some(smallest()));
        assert_eq!(read_order(&mut whole).unwrap(), None);
        for cut in 0..frames.len() / 2 {
            assert_eq!(read_order(&mut &frames[..cut]).unwrap(), None, "cut at {cut}");
        }
    }

    #[test]
    fn bytes_that_are_no_order_are_refused() {
        let mut bytes = frame(&smallest()).unwrap();
        bytes[30] ^= 1;
        assert_eq!(read_order(&mut &bytes[..]).unwrap_err().kind(), ErrorKind::InvalidData);
        let too_long = u32::try_from(ORDER_BYTES_MAX + 1).unwrap().to_le_bytes();
        assert_eq!(read_order(&mut &too_long[..]).unwrap_err().kind(), ErrorKind::InvalidData);
    }

    #[test]
    fn an_order_that_is_too_long_has_no_frame() {
        let run = vec!["/bin/true".to_owned(), "x".repeat(ORDER_BYTES_MAX)];
        assert_eq!(frame(&Order { run, ..smallest() }), None);
    }

    #[test]
    fn answers_read_back_and_fit_a_pipe() {
        for answer in
            [Answer::Taken { pid: 7, start_ticks: 99 }, Answer::Theirs, Answer::Failed("a b".into())]
        {
            assert_eq!(Answer::parse(&answer.line("42-0.7.1")), Some(("42-0.7.1", answer)));
        }
        let long = Answer::Failed("ä\n".repeat(5_000)).line("42-0.7.1");
        assert!(long.len() <= ANSWER_BYTES_MAX && long.matches('\n').count() == 1);
        assert!(matches!(Answer::parse(&long), Some(("42-0.7.1", Answer::Failed(_)))));
        for line in ["", "\n", "42-0.7.1\n", "42-0.7.1 taken 7\n", "42-0.7.1 theirs"] {
            assert_eq!(Answer::parse(line), None, "{line:?}");
        }
    }
}
