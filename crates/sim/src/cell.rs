//! One seed of the whole cell: the safety phase with its faults, then healing, then the audit.

use anyhow::Result;
use bytes::Bytes;
use paceline_identity::Role;
use paceline_verify::history::ClientNumber;

use crate::audit::Auditor;
use crate::clock;
use crate::draw::Draw;
use crate::ledger::Ledger;
use crate::observer::Observer;
use crate::plan::{Fault, Plan, Side, Target};
use crate::trace::Trace;
use crate::watcher::Watcher;
use crate::workload::{ClientSeat, Script};
use crate::world::World;

/// Clients that are still busy this long after the safety phase was to end are stuck: a call takes 20 seconds at most.
const CLIENTS_OVERDUE_MS: u64 = 600_000;
/// An entry of the version in use that needs the second feature level: fields 1 and 4 of its message.
static ABOVE_THE_LEVEL: [u8; 4] = [0x08, 0x01, 0x20, 0x02];
/// A field that ends before its length says.
static NO_ENTRY: [u8; 3] = [0x1a, 0x7f, 0x00];
/// The audit gives up by itself before this.
const AUDIT_OVERDUE_MS: u64 = 1_200_000;

/// Runs a plan from beginning to end. What is wrong stands in the trace.
///
/// # Errors
/// The simulation itself failed.
pub fn run(seed: u64, plan: &Plan, trace: &Trace) -> Result<()> {
    let mut run = Run::new(seed, plan, trace)?;
    run.safety()?;
    run.world.heal(&plan.shape);
    run.audit()
}

struct Run<'p> {
    plan: &'p Plan,
    trace: Trace,
    world: World,
    ledger: Ledger,
    draw: Draw,
    clients: u32,
}

impl<'p> Run<'p> {
    fn new(seed: u64, plan: &'p Plan, trace: &Trace) -> Result<Self> {
        let world = World::new(seed, &plan.shape, trace)?;
        let draw = Draw::new(seed).part("clients");
        let mut run = Self { plan, trace: trace.clone(), world, ledger: Ledger::default(), draw, clients: 0 };
        for (name, script) in plan.shape.client_names().into_iter().zip(&plan.scripts) {
            let seat = run.client(&name, script.clone());
            run.world.add_client(&name, move || seat.clone().live());
        }
        let watcher = Watcher { seat: run.client("follow", Script::default()) };
        run.world.add_client("follow", move || watcher.clone().live());
        let observer = Observer { seat: run.client("watch", Script::default()) };
        run.world.add_client("watch", move || observer.clone().live());
        Ok(run)
    }

    fn next_number(&mut self) -> ClientNumber {
        self.clients += 1;
        ClientNumber(self.clients)
    }

    fn client(&mut self, name: &str, script: Script) -> ClientSeat {
        ClientSeat {
            name: name.to_owned(),
            identity: self.world.keys().injected(Role::Operator, name),
            number: self.next_number(),
            id: self.draw.bytes(),
            judge: self.world.judge().clone(),
            masters: self.plan.shape.master_names(),
            script,
            ledger: self.ledger.clone(),
            trace: self.trace.clone(),
        }
    }

    /// Faults strike while clients work.
    fn safety(&mut self) -> Result<()> {
        let mut faults = self.plan.faults.clone();
        faults.sort_by_key(|(at_ms, _)| *at_ms);
        let mut faults = faults.into_iter().peekable();
        loop {
            let now = clock::now_ms();
            while let Some((_, fault)) = faults.next_if(|(at_ms, _)| *at_ms <= now) {
                self.strike(&fault);
            }
            if now >= self.plan.safety_ms && self.ledger.clients_done() == self.plan.scripts.len() {
                return Ok(());
            }
            if now >= self.plan.safety_ms + CLIENTS_OVERDUE_MS {
                self.trace.violation("calls-end", "a client waits for an answer past every deadline");
                return Ok(());
            }
            self.world.step()?;
        }
    }

    fn strike(&mut self, fault: &Fault) {
        match fault {
            Fault::Cut { from, to, way, for_ms } => {
                let (from, to) = (self.side(from), self.side(to));
                if let (Some(from), Some(to)) = (from, to) {
                    self.world.cut(&from, &to, *way, *for_ms);
                }
            }
            Fault::Lose { per_million } => self.world.lose(*per_million),
            Fault::Slow { latency_max_ms } => {
                self.world.slow(*latency_max_ms, self.plan.shape.latency_max_ms);
            }
            Fault::BadEntry { above_the_level } => {
                if let Some(name) = self.name_of(&Target::Leader) {
                    let payload: &[u8] = if *above_the_level { &ABOVE_THE_LEVEL } else { &NO_ENTRY };
                    self.world.propose(&name, Bytes::from_static(payload));
                }
            }
            Fault::Kill { who, .. }
            | Fault::Pause { who, .. }
            | Fault::WallJump { who, .. }
            | Fault::Drift { who, .. }
            | Fault::PowerCut { who, .. }
            | Fault::CutAtOperation { who, .. }
            | Fault::CutInstall { who, .. }
            | Fault::DiskError { who, .. }
            | Fault::DiskFull { who, .. }
            | Fault::SlowDisk { who, .. } => {
                if let Some(name) = self.name_of(who) {
                    self.strike_host(&name, fault);
                }
            }
        }
    }

    fn strike_host(&mut self, name: &str, fault: &Fault) {
        let world = &mut self.world;
        match *fault {
            Fault::Kill { back_ms, .. } => world.kill(name, back_ms),
            Fault::PowerCut { back_ms, .. } => world.cut_power(name, back_ms),
            Fault::CutAtOperation { operations, .. } => world.cut_at_operation(name, operations),
            Fault::CutInstall { within_ms, .. } => world.cut_next_install(name, within_ms),
            Fault::DiskError { operation, .. } => world.fail_disk(name, operation),
            Fault::DiskFull { nearly, for_ms, .. } => world.fill_disk(name, nearly, for_ms),
            Fault::SlowDisk { permille, longest_ms, for_ms, .. } => {
                world.slow_disk(name, permille, longest_ms, for_ms);
            }
            Fault::Pause { for_ms, ref who } => {
                if *who == Target::Leader {
                    self.trace.sometimes("the leader was paused");
                }
                world.pause(name, for_ms);
            }
            Fault::WallJump { off_by_ms, .. } => world.set_wall(name, off_by_ms),
            Fault::Drift { permille, for_ms, .. } => world.drift(name, permille, for_ms),
            Fault::Cut { .. } | Fault::Lose { .. } | Fault::Slow { .. } | Fault::BadEntry { .. } => {}
        }
    }

    /// Nobody, where the leader is meant and nobody has said yet who leads.
    fn side(&self, side: &Side) -> Option<Vec<String>> {
        match side {
            Side::Hosts(names) => Some(names.clone()),
            Side::Leader => self.name_of(&Target::Leader).map(|name| vec![name]),
            Side::Everybody => Some(self.world.hosts()),
        }
    }

    /// Nobody, where nobody has said yet who leads.
    fn name_of(&self, who: &Target) -> Option<String> {
        match who {
            Target::Host(name) => Some(name.clone()),
            Target::Leader => {
                let leader = self.ledger.leader()?;
                self.trace.sometimes("the leader was struck");
                Some(leader)
            }
        }
    }

    /// The liveness phase: the cell must serve, and everything due must end.
    fn audit(&mut self) -> Result<()> {
        let seat = self.client("audit", Script::default());
        let auditor = Auditor { seat };
        self.world.add_client("audit", move || auditor.clone().live());
        let begun = clock::now_ms();
        while !self.ledger.is_settled() {
            if clock::now_ms() > begun + AUDIT_OVERDUE_MS {
                self.trace.violation("serves-again", "the audit has no end");
                return Ok(());
            }
            self.world.step()?;
        }
        self.world.judge().judge();
        self.trace.count("virtual_ms", clock::now_ms());
        // A seed whose clients achieved nothing shows nothing: whoever sweeps must not count it.
        self.trace.count("void", u64::from(self.ledger.mutations_done() == 0));
        Ok(())
    }
}
