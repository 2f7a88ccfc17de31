//! Random histories of a small cell, a leader that was paused, a link that breaks and an agent that is
//! killed; then everything heals, and nothing may be left over.

use std::collections::BTreeMap;

use paceline_link::message::{OrderRun, Orders, Report};
use paceline_types::{AttemptId, FenceToken, NodeEpoch};
use proptest::prelude::*;

use super::fake::{EXITED, Node, diff, ends, full, id, run, stop, token};
use crate::table::Action;

const TASKS: u32 = 4;

/// What the cell has of a task on this node.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Assigned {
    attempt: u32,
    revision: u64,
    stopping: bool,
}

/// The cell and its leader, as far as one node sees them.
#[derive(Clone, Debug, Default)]
struct Cell {
    term: u64,
    revision: u64,
    attempts: [u32; TASKS as usize],
    assigned: BTreeMap<u32, Assigned>,
}

impl Cell {
    fn token(&self) -> FenceToken {
        token(self.term, self.revision)
    }

    fn assign(&mut self, task: u32) {
        self.revision += 1;
        let attempt = &mut self.attempts[task as usize];
        *attempt += 1;
        let assigned = Assigned { attempt: *attempt, revision: self.revision, stopping: false };
        self.assigned.insert(task, assigned);
    }

    fn stop(&mut self, task: u32) {
        if let Some(assigned) = self.assigned.get_mut(&task) {
            self.revision += 1;
            assigned.stopping = true;
        }
    }

    fn apply(&mut self, report: &Report) {
        self.revision += 1;
        for (attempt, _) in ends(std::slice::from_ref(report)) {
            if self.wants(attempt).is_some() {
                self.assigned.remove(&attempt.task.0);
            }
        }
    }

    fn wants(&self, attempt: AttemptId) -> Option<Assigned> {
        let assigned = self.assigned.get(&attempt.task.0).copied();
        assigned.filter(|assigned| assigned.attempt == attempt.attempt.0)
    }

    fn runs(&self) -> Vec<OrderRun> {
        let one = |(&task, assigned): (&u32, &Assigned)| match assigned.stopping {
            true => stop(id(task, assigned.attempt)),
            false => run(id(task, assigned.attempt), assigned.revision),
        };
        self.assigned.iter().map(one).collect()
    }
}

struct World {
    cell: Cell,
    /// A leader that was paused and will resume with this view.
    paused: Option<Cell>,
    node: Node,
    down: Vec<Orders>,
    up: Vec<Report>,
}

impl World {
    fn new() -> Self {
        let cell = Cell { term: 1, ..Cell::default() };
        Self { cell, paused: None, node: Node::new(), down: Vec::new(), up: Vec::new() }
    }

    fn deliver(&mut self, orders: &Orders) {
        let decision = self.node.table.on_orders(orders);
        self.check(&decision.actions);
        self.node.carry_out(&decision);
        self.one_process_per_task();
    }

    /// Nothing starts that the cell does not have here, nothing stops that it wants to run.
    fn check(&self, actions: &[Action]) {
        for action in actions {
            match action {
                Action::Launch { attempt, .. } => {
                    assert!(attempt.attempt.0 <= self.cell.attempts[attempt.task.0 as usize]);
                }
                Action::Stop { attempt, .. } => {
                    let wanted = self.cell.wants(*attempt).filter(|assigned| !assigned.stopping);
                    assert_eq!(wanted, None, "{attempt} was stopped");
                }
                Action::Renew { .. } | Action::Forget { .. } | Action::Resync(_) => {}
            }
        }
    }

    fn one_process_per_task(&self) {
        let live = self.node.live();
        let pairs = live.windows(2).filter(|pair| pair[0].task == pair[1].task);
        assert_eq!(pairs.count(), 0, "two attempts of one task: {live:?}");
    }

    fn reconnect(&mut self) {
        self.down.clear();
        self.up.clear();
        self.node.connect();
        self.down.push(full(self.cell.token(), self.cell.runs()));
    }

    fn step(&mut self, kind: u8, pick: u32) {
        let task = pick % TASKS;
        match kind {
            // The cell moves a task only when it holds none, or writes an attempt off.
            0 => self.cell.assign(task),
            1 => self.cell.stop(task),
            2 => self.down.push(diff(self.cell.token(), self.cell.runs())),
            3 => self.down.push(full(self.cell.token(), self.cell.runs())),
            4 | 5 => {
                if !self.down.is_empty() {
                    let orders = self.down.remove(0);
                    self.deliver(&orders);
                }
            }
            6 => {
                if !self.node.in_flight.is_empty() {
                    let at = pick as usize % self.node.in_flight.len();
                    let attempt = self.node.in_flight.remove(at);
                    self.node.launched(attempt);
                    self.node.runs(attempt);
                }
            }
            7 => {
                let live = self.node.live();
                if !live.is_empty() {
                    self.node.exits(live[pick as usize % live.len()], EXITED);
                }
            }
            8 => self.up.extend(self.node.table.next_report()),
            9 => {
                if !self.up.is_empty() {
                    let report = self.up.remove(0);
                    self.cell.apply(&report);
                    self.node.acknowledge(report.sequence);
                }
            }
            10 => {
                self.node.restart();
                self.reconnect();
            }
            11 => self.reconnect(),
            // A leader is paused; its successor takes over and welcomes the session again.
            12 => {
                self.paused = Some(self.cell.clone());
                self.cell.term += 1;
                self.cell.revision += 1;
                let decision = self.node.table.on_welcome(NodeEpoch(1));
                self.node.carry_out(&decision);
                self.down.clear();
                self.down.push(full(self.cell.token(), self.cell.runs()));
            }
            // The paused leader resumes: its orders are as old as its view.
            _ => {
                if let Some(paused) = &self.paused
                    && self.node.table.fence() >= self.cell.token()
                {
                    let orders = full(paused.token(), paused.runs());
                    assert!(self.node.order(&orders).stale_below.is_some());
                }
            }
        }
        self.one_process_per_task();
    }

    /// Everything works from here on, and every process comes to its end.
    fn heal(&mut self) {
        self.reconnect();
        for _ in 0..20 {
            for orders in std::mem::take(&mut self.down) {
                self.deliver(&orders);
            }
            self.node.launch_all();
            for attempt in self.node.live() {
                self.node.exits(attempt, EXITED);
            }
            for report in self.node.reports() {
                self.cell.apply(&report);
                self.node.acknowledge(report.sequence);
            }
            self.down.push(full(self.cell.token(), self.cell.runs()));
        }
        assert_eq!(self.cell.assigned, BTreeMap::new(), "the cell heard of every end");
        assert_eq!(self.node.table.counts(), crate::table::Counts::default());
        assert!(self.node.processes.is_empty() && self.node.stored.attempts.is_empty());
        assert_eq!(self.node.resyncs, [], "nothing was ordered without its specification");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn whatever_happens_nothing_starts_twice_nothing_wanted_stops_and_all_ends_arrive(
        steps in proptest::collection::vec((0_u8..14, any::<u32>()), 0..160)
    ) {
        let mut world = World::new();
        for (kind, pick) in steps {
            world.step(kind, pick);
        }
        world.heal();
    }

    #[test]
    fn the_stored_changes_rebuild_the_table(steps in proptest::collection::vec((0_u8..10, any::<u32>()), 0..100)) {
        let mut world = World::new();
        for (kind, pick) in steps {
            world.step(kind, pick);
        }
        let fence = world.node.table.fence();
        let ended = world.node.table.counts().ended;
        world.node.restart();
        prop_assert_eq!(world.node.table.fence(), fence);
        prop_assert!(world.node.table.counts().ended >= ended, "no end is lost");
    }
}
