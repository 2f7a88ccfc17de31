//! How many may read output at once: in all, by caller, by node. A reader holds its seat until its stream ends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use paceline_api::status_from;
use paceline_api::v1::{ErrorCode, ErrorDetail};
use paceline_types::NodeName;
use tonic::Status;

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
#[derive(Clone, Debug, Default)]
pub(crate) struct Readers(Arc<Mutex<Taken>>);

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    callers: BTreeMap<String, usize>,
    nodes: BTreeMap<NodeName, usize>,
}

/// One reader's seat; free again when it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    readers: Readers,
    caller: String,
    node: Option<NodeName>,
}

impl Readers {
    /// A seat for a caller, not at a node yet.
    pub(super) fn admit(&self, caller: &str) -> Result<Seat, Status> {
        let mut taken = self.taken();
        if taken.all >= READERS_MAX {
            let message = format!(
                "{READERS_MAX} streams of output are open at this master, which is its limit: ask again later, or \
                 another master with --from"
            );
            return Err(overloaded(message));
        }
        let own = taken.callers.get(caller).copied().unwrap_or_default();
        if own >= READERS_PER_CALLER_MAX {
            return Err(overloaded(format!(
                "{caller} has {own} streams of output open at this master, and {READERS_PER_CALLER_MAX} are allowed: \
                 end one of them"
            )));
        }
        taken.all += 1;
        taken.callers.insert(caller.to_owned(), own + 1);
        Ok(Seat { readers: self.clone(), caller: caller.to_owned(), node: None })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Moves the seat to a node.
    pub(super) fn at(&mut self, node: &NodeName) -> Result<(), Status> {
        if self.node.as_ref() == Some(node) {
            return Ok(());
        }
        let mut taken = self.readers.taken();
        let there = taken.nodes.get(node).copied().unwrap_or_default();
        if there >= READERS_PER_NODE_MAX {
            return Err(overloaded(format!(
                "{there} streams of output are open from node {node} at this master, and {READERS_PER_NODE_MAX} are \
                 allowed: ask again when one has ended, or another master with --from"
            )));
        }
        taken.nodes.insert(node.clone(), there + 1);
        if let Some(left) = self.node.replace(node.clone()) {
            less(&mut taken.nodes, &left);
        }
        Ok(())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.readers.taken();
        taken.all -= 1;
        less(&mut taken.callers, &self.caller);
        if let Some(node) = &self.node {
            less(&mut taken.nodes, node);
        }
    }
}

/// One less; nobody left is not remembered.
fn less<K: Ord>(counts: &mut BTreeMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

fn overloaded(message: String) -> Status {
    status_from(ErrorDetail {
        code: ErrorCode::Overloaded.into(),
        message,
        retry_after_ms: RETRY_MS,
        ..ErrorDetail::default()
    })
}

#[cfg(test)]
impl Readers {
    pub(super) fn seats(&self) -> usize {
        self.taken().all
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
        assert!(readers.taken().callers.is_empty(), "nobody is remembered");
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
        assert_eq!(readers.taken().all, 0);
    }
}
