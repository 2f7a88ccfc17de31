//! Bytes of frames that wait for the owner. The queue of events bounds their number; a frame may be a thousand times as
//! large as another, so what waits takes room here too, of its own stream first and then of all together. At the bound
//! the stream is read no further.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Kilobytes of one agent's frames: the largest that there is, twice.
const AGENT_KILOBYTES: usize = 2 * 1024;
/// Kilobytes of all agents' frames: some batches to the leader, which is where they go.
const AGENTS_KILOBYTES: usize = 64 * 1024;
/// Kilobytes of the leader's frames.
const LEADER_KILOBYTES: usize = 32 * 1024;

/// A frame's share of the bytes, given back when the owner has handled it.
#[derive(Debug)]
pub(crate) struct Held {
    _permits: Vec<OwnedSemaphorePermit>,
}

/// Where the frames of one stream take their room.
#[derive(Clone, Debug)]
pub(crate) struct Intake {
    /// Its own first, so that whoever waits for its own room holds none of the others.
    stages: Vec<Stage>,
}

#[derive(Clone, Debug)]
struct Stage {
    kilobytes: usize,
    free: Arc<Semaphore>,
}

impl Stage {
    fn new(kilobytes: usize) -> Self {
        Self { kilobytes, free: Arc::new(Semaphore::new(kilobytes)) }
    }
}

impl Intake {
    /// What all agents share.
    pub(crate) fn of_agents() -> Self {
        Self { stages: vec![Stage::new(AGENTS_KILOBYTES)] }
    }

    /// One agent's, within what all share.
    pub(crate) fn of_agent(&self) -> Self {
        let own = Stage::new(AGENT_KILOBYTES);
        Self { stages: [own].into_iter().chain(self.stages.iter().cloned()).collect() }
    }

    /// The leader's.
    pub(crate) fn of_leader() -> Self {
        Self { stages: vec![Stage::new(LEADER_KILOBYTES)] }
    }

    /// Waits for room; what is larger than all the room there is takes all of it.
    pub(crate) async fn hold(&self, bytes: usize) -> Held {
        let mut permits = Vec::with_capacity(self.stages.len());
        for stage in &self.stages {
            let kilobytes = bytes.div_ceil(1024).min(stage.kilobytes);
            let kilobytes = u32::try_from(kilobytes).expect("at most a stage's constant, which fits");
            let permit = stage.free.clone().acquire_many_owned(kilobytes).await;
            permits.push(permit.expect("nobody closes these"));
        }
        Held { _permits: permits }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    const MEBIBYTE: usize = 1024 * 1024;

    #[test]
    fn one_agent_waits_for_its_own_bytes_and_the_others_do_not() {
        let agents = Intake::of_agents();
        let (flood, other) = (agents.of_agent(), agents.of_agent());
        let held: Vec<_> = std::iter::from_fn(|| flood.hold(MEBIBYTE).now_or_never()).collect();
        assert_eq!(held.len(), 2);
        assert!(other.hold(MEBIBYTE).now_or_never().is_some());
        drop(held);
        assert!(flood.hold(9 * MEBIBYTE).now_or_never().is_some(), "too large for any room takes all of it");
    }

    #[test]
    fn all_agents_together_are_bounded() {
        let agents = Intake::of_agents();
        let held: Vec<_> = std::iter::from_fn(|| agents.of_agent().hold(MEBIBYTE).now_or_never()).collect();
        assert_eq!(held.len(), AGENTS_KILOBYTES * 1024 / MEBIBYTE);
    }
}
