//! The machine under an agent: a [`SimulatedNode`], its clocks, and what it was told by whom.
//!
//! It outlives its agents and loses what runs with its power. The world moves it; `judge` reads its journal.

use std::sync::Arc;

use paceline_runtime::{ClockReading, Lives, SimulatedNode, SimulatedRuntime};
use paceline_types::FenceToken;
use parking_lot::Mutex;

use crate::clock;

#[derive(Debug, Default)]
struct Past {
    /// When each boot began, in virtual time.
    boots_ms: Vec<u64>,
    /// Which orders its agent had seen, and since when; the last boot's and the one before.
    fences: Vec<(u64, FenceToken)>,
}

/// A machine. Clones are the same one.
#[derive(Clone)]
pub struct Machine {
    name: Arc<str>,
    node: SimulatedNode,
    past: Arc<Mutex<Past>>,
}

impl Machine {
    /// A machine that is booted now.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let past = Past { boots_ms: vec![clock::now_ms()], fences: Vec::new() };
        Self { name: name.into(), node: SimulatedNode::new(), past: Arc::new(Mutex::new(past)) }
    }

    /// The name of its node.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn clocks(&self) -> ClockReading {
        let now_ms = clock::now_ms();
        let booted_ms = self.past.lock().boots_ms.last().copied().unwrap_or_default();
        let unix_ms = clock::WALL_START_UNIX_S * 1_000 + now_ms;
        ClockReading { boot_ms: now_ms.saturating_sub(booted_ms), unix_ms }
    }

    /// What an agent holds of it.
    #[must_use]
    pub fn runtime(&self) -> SimulatedRuntime {
        let machine = self.clone();
        self.node.runtime(move || machine.clocks())
    }

    /// Lets happen what is due by now.
    pub fn advance(&self) {
        let now = self.clocks();
        if self.node.next_due_ms().is_some_and(|due| due <= now.boot_ms) {
            self.node.advance(now);
        }
    }

    /// Loses its power and is booted anew.
    pub fn power_cut(&self) {
        self.node.reboot(self.clocks());
        let mut past = self.past.lock();
        past.boots_ms.push(clock::now_ms());
    }

    /// Its agent has seen an order with this token.
    pub fn heard(&self, fence: FenceToken) {
        let mut past = self.past.lock();
        if past.fences.last().is_none_or(|(_, last)| *last != fence) {
            past.fences.push((clock::now_ms(), fence));
        }
    }

    /// The highest token that its agent had seen at a moment.
    #[must_use]
    pub fn fence_at(&self, at_ms: u64) -> FenceToken {
        let past = self.past.lock();
        let seen = past.fences.iter().rev().find(|(since, _)| *since <= at_ms);
        seen.map(|(_, fence)| *fence).unwrap_or_default()
    }

    /// What ran since the last look, and what runs.
    #[must_use]
    pub fn take_lives(&self) -> Lives {
        self.node.take_lives()
    }

    /// When a boot clock of a boot showed so much, in virtual time.
    #[must_use]
    pub fn at_ms(&self, boot: u32, boot_ms: u64) -> u64 {
        let past = self.past.lock();
        past.boots_ms.get(boot as usize).copied().unwrap_or_default() + boot_ms
    }
}
