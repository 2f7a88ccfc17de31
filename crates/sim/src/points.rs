//! The points that a sweep must reach in some of its seeds: where none was ever reached, the checks have looked at nothing
//! there, and the sweep counts for less than it seems.
//!
//! One table for each simulation, and nothing else: code that gets to a point says so with `Trace::sometimes`, in the
//! words of the table. Words that stand in no table are a violation of their own, so that a point cannot be reached under
//! one name and missed under another. `cargo xtask sim coverage` counts the seeds that reach each.

/// Which simulation a run belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Simulation {
    /// The whole cell.
    Cell,
    /// Consensus alone.
    Consensus,
    /// Consensus alone on every graph of links between five masters.
    Graphs,
}

impl Simulation {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Cell, Self::Consensus, Self::Graphs];

    /// Its word on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cell => "cell",
            Self::Consensus => "consensus",
            Self::Graphs => "graphs",
        }
    }

    /// Its points.
    #[must_use]
    pub const fn points(self) -> &'static [&'static str] {
        match self {
            Self::Cell => CELL,
            Self::Consensus => CONSENSUS,
            Self::Graphs => GRAPHS,
        }
    }
}

/// What must have happened in some whole cell of a sweep. Each is a sentence in the past tense.
pub const CELL: &[&str] = &[
    "a call ended with its outcome open",
    "a crash lost unsynced bytes",
    "a finished job retired",
    "a late retry was answered as before",
    "a late retry was refused",
    "a log was purged",
    "a master lost its power as a snapshot came",
    "a node was written off",
    "a recovery from a crash was cut short",
    "a task failed",
    "a task was stopped",
    "a task was tried again",
    "a wall clock jumped",
    "a watch was resumed",
    "a watch was told to list again",
    "all masters were down at once",
    "all shards were down at once",
    "an entry that no build can read was refused",
    "an operator ended the brake",
    "leadership was handed over",
    "the brake held write-offs back",
    "the leader was paused",
    "the leader was struck",
    "the power went at an operation of a disk",
];

/// What must have happened in some seed of consensus alone.
pub const CONSENSUS: &[&str] = &[
    "a crash lost unsynced bytes",
    "a crash took entries of the log",
    "a damaged disk was refused",
    "a deposed leader was struck as it came back",
    "a disk that went back in time was refused",
    "a follower crashed while it took a snapshot",
    "a follower was filled by a snapshot",
    "a full disk ended a master",
    "a leader that was to go handed over first",
    "a log was truncated",
    "a master joined",
    "a master left",
    "a master was struck as it took a snapshot",
    "a partition left a bridge",
    "a recovery was cut",
    "a sync or write failed",
    "all masters lost their power",
    "leadership was handed over",
    "leadership was handed over while the network was cut",
    "masters were cut off from one side only",
    "the leader crashed while a follower took a snapshot",
    "the leader was removed",
    "the masters changed while the network was cut",
];

/// What must have happened on some graph.
pub const GRAPHS: &[&str] = &[
    "a log was truncated",
    "another master took over",
    "leadership was handed over",
    "nobody could commit",
    "the leader stayed",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_sentences_in_the_order_of_the_alphabet_and_none_is_there_twice() {
        for simulation in Simulation::ALL {
            let points = simulation.points();
            assert!(points.is_sorted_by(|one, next| one < next), "{}: {points:?}", simulation.as_str());
            for point in points {
                let plain =
                    point.chars().all(|letter| letter.is_ascii_alphanumeric() || " '-".contains(letter));
                assert!(plain && point.contains(' ') && point.trim() == *point, "{point:?}");
            }
        }
    }
}
