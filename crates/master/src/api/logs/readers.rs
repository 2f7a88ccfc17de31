//! How many may read output at once: in all, by caller, by node. A reader holds its seat until its stream ends.

use paceline_identity::{Full, PerCaller, Share};
use paceline_types::NodeName;
use tonic::Status;

use crate::refuse;

/// Streams of one master. A reader holds three pieces of 256 KiB at most, on their way in, between, and on their way
/// out: all of them together less than 100 MiB.
const READERS_MAX: usize = 128;
/// Streams of one caller, so that several others have room beside it.
const READERS_PER_CALLER_MAX: usize = 16;
/// Streams from one node: its agent reads one piece after the other, and its tasks need its disk more.
const READERS_PER_NODE_MAX: usize = 8;
/// When to come again. Streams end when people end them; sooner than this nothing has changed.
const RETRY_MS: u64 = 2_000;

/// The seats of a master.
#[derive(Clone, Debug)]
pub(crate) struct Readers {
    callers: PerCaller<String>,
    nodes: PerCaller<NodeName>,
}

/// One reader's seat; free again when it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    _caller: Share<String>,
    nodes: PerCaller<NodeName>,
    node: Option<(NodeName, Share<NodeName>)>,
}

impl Default for Readers {
    fn default() -> Self {
        Self {
            callers: PerCaller::new(READERS_PER_CALLER_MAX, READERS_MAX),
            // Each reader is at one node, so all of them are bounded by their number.
            nodes: PerCaller::new(READERS_PER_NODE_MAX, usize::MAX),
        }
    }
}

impl Readers {
    /// A seat for a caller, not at a node yet.
    pub(super) fn admit(&self, caller: &str) -> Result<Seat, Status> {
        let taken = self.callers.take(caller.to_owned(), 1).map_err(|full| {
            let message = match full {
                Full::Own { has, most } => format!(
                    "{caller} has {has} streams of output open at this master, and {most} are allowed: end one of them"
                ),
                Full::All { most } => format!(
                    "{most} streams of output are open at this master, which is its limit: ask again later, or \
                     another master with --from"
                ),
            };
            refuse::overloaded(message, RETRY_MS)
        })?;
        Ok(Seat { _caller: taken, nodes: self.nodes.clone(), node: None })
    }
}

impl Seat {
    /// Moves the seat to a node.
    pub(super) fn at(&mut self, node: &NodeName) -> Result<(), Status> {
        if self.node.as_ref().is_some_and(|(present, _)| present == node) {
            return Ok(());
        }
        let full = |_| {
            let message = format!(
                "{READERS_PER_NODE_MAX} streams of output are open from node {node} at this master, and no more are \
                 allowed: ask again when one has ended, or another master with --from"
            );
            refuse::overloaded(message, RETRY_MS)
        };
        self.node = Some((node.clone(), self.nodes.take(node.clone(), 1).map_err(full)?));
        Ok(())
    }
}

#[cfg(test)]
impl Readers {
    pub(super) fn seats(&self) -> usize {
        self.callers.taken()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: usize) -> NodeName {
        format!("n{number}").parse().expect("a name")
    }

    #[test]
    fn one_caller_leaves_room_for_others_and_a_seat_is_free_when_its_stream_ends() {
        let readers = Readers::default();
        let seats: Vec<Seat> =
            (0..READERS_PER_CALLER_MAX).map(|_| readers.admit("user/a").expect("room")).collect();
        let refused = readers.admit("user/a").expect_err("its bound");
        assert!(refused.message().contains("user/a has 16 streams"), "{}", refused.message());
        readers.admit("user/b").expect("room for others");
        drop(seats);
        readers.admit("user/a").expect("room again");
        assert_eq!(readers.seats(), 0, "nobody is remembered");
    }

    #[test]
    fn a_node_is_read_by_so_many_and_no_more() {
        let readers = Readers::default();
        let mut seats: Vec<Seat> = (0..=READERS_PER_NODE_MAX)
            .map(|at| readers.admit(&format!("user/{at}")).expect("room"))
            .collect();
        let mut last = seats.pop().expect("a seat");
        for seat in &mut seats {
            seat.at(&node(1)).expect("room");
            seat.at(&node(1)).expect("the same seat");
        }
        assert!(last.at(&node(1)).expect_err("its bound").message().contains("node n1"));
        last.at(&node(2)).expect("room elsewhere");
        seats[0].at(&node(2)).expect("moved");
        last.at(&node(1)).expect("room again");
    }

    #[test]
    fn the_master_has_a_bound_of_its_own() {
        let readers = Readers::default();
        let seats: Vec<Seat> = (0..READERS_MAX)
            .map(|at| readers.admit(&format!("user/{}", at / READERS_PER_CALLER_MAX)).expect("room"))
            .collect();
        assert!(readers.admit("user/z").expect_err("its bound").message().contains("128 streams"));
        drop(seats);
        assert_eq!(readers.seats(), 0);
    }
}
