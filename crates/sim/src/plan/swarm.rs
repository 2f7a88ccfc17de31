//! Swarm plans: each seed samples its own sizes, clocks, workload and mix of faults (Groce et al., "Swarm testing", 2012).
//! A mix that leaves most kinds of faults out reaches states that a mix of everything drowns.

mod disks;
mod machines;

use paceline_agent::Timings as AgentTimings;
use paceline_master::{LogBudget, Timings};

use super::calls::script;
use super::{Fault, Plan, Side, Target};
use crate::draw::Draw;
use crate::links::Way;
use crate::shape::Shape;

/// The cell is given this long to come up before the first fault.
const CALM_MS: u64 = 1_500;

pub(super) fn plan(draw: &Draw) -> Plan {
    let shape = shape(&mut draw.part("shape"));
    let mix = Mix::of(&mut draw.part("mix"));
    // Nodes are written off after tens of seconds.
    let least_ms = if mix.kinds.iter().any(|kind| kind.loses_nodes()) { 30_000 } else { 8_000 };
    let safety_ms = draw.part("safety").between(least_ms, 40_000);
    let scripts =
        shape.client_names().iter().map(|name| script(&draw.part(name), name, &shape, safety_ms)).collect();
    let faults = mix.faults(&mut draw.part("faults"), &shape, safety_ms);
    Plan { shape, scripts, faults, safety_ms }
}

fn shape(draw: &mut Draw) -> Shape {
    let timings = draw.one_of(&[Timings::DEFAULT, Timings::DEFAULT, Timings::FAST, Timings::SLOW_DISK]);
    let small_log = LogBudget {
        snapshot_after_bytes: draw.between(2 << 10, 64 << 10),
        tail_bytes: draw.one_of(&[0, 1 << 10, 16 << 10]),
    };
    let log = if draw.chance(600) { small_log } else { LogBudget::default() };
    Shape {
        masters: draw.one_of(&[3, 3, 3, 3, 5, 5, 7]),
        shards: draw.one_of(&[1, 2, 2, 3, 4]),
        agents: draw.one_of(&[5, 5, 6, 8, 10, 16, 24]),
        clients: draw.one_of(&[1, 2, 2, 3, 4]),
        timings,
        log,
        agent_timings: AgentTimings {
            sweep_ms: draw.between(500, 5_000),
            backoff_max_ms: draw.between(500, 10_000),
            ..AgentTimings::default()
        },
        node_cpu_milli: draw.one_of(&[2_000, 8_000, 32_000]),
        lying_disks: false,
        latency_min_ms: 0,
        // Far below the shortest election timeout: a healthy cell must be able to elect somebody.
        latency_max_ms: draw.between(1, timings.election_min_ms / 12),
    }
}

/// Kinds of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    KillLeader,
    KillMaster,
    KillAllMasters,
    KillShard,
    KillAllShards,
    KillAgent,
    PowerMaster,
    PowerAllMasters,
    PowerAgent,
    PowerAtOperation,
    PowerInRecovery,
    PowerInInstall,
    DiskError,
    DiskFull,
    SlowDisk,
    CutLeader,
    CutSides,
    CutOneWay,
    Bridge,
    CutShardFromMasters,
    FlapAgent,
    Lose,
    Slow,
    PauseLeader,
    PauseHost,
    WallJump,
    Drift,
    LoseAgent,
    LoseAgents,
    Handover,
    BadEntry,
}

impl Kind {
    /// It lasts until nodes are written off.
    const fn loses_nodes(self) -> bool {
        matches!(self, Self::LoseAgent | Self::LoseAgents)
    }
}

const KINDS: [Kind; 31] = [
    Kind::KillLeader,
    Kind::KillMaster,
    Kind::KillAllMasters,
    Kind::KillShard,
    Kind::KillAllShards,
    Kind::KillAgent,
    Kind::PowerMaster,
    Kind::PowerAllMasters,
    Kind::PowerAgent,
    Kind::PowerAtOperation,
    Kind::PowerInRecovery,
    Kind::PowerInInstall,
    Kind::DiskError,
    Kind::DiskFull,
    Kind::SlowDisk,
    Kind::CutLeader,
    Kind::CutSides,
    Kind::CutOneWay,
    Kind::Bridge,
    Kind::CutShardFromMasters,
    Kind::FlapAgent,
    Kind::Lose,
    Kind::Slow,
    Kind::PauseLeader,
    Kind::PauseHost,
    Kind::WallJump,
    Kind::Drift,
    Kind::LoseAgent,
    Kind::LoseAgents,
    Kind::Handover,
    Kind::BadEntry,
];

/// Which kinds a seed uses, how often they strike, and how long they last.
struct Mix {
    kinds: Vec<Kind>,
    pause_max_ms: u64,
    lasts_max_ms: u64,
}

impl Mix {
    fn of(draw: &mut Draw) -> Self {
        let share = draw.one_of(&[100, 200, 350, 700]);
        let mut kinds: Vec<Kind> = KINDS.into_iter().filter(|_| draw.chance(share)).collect();
        if kinds.is_empty() {
            kinds.push(draw.one_of(&KINDS));
        }
        Self {
            kinds,
            pause_max_ms: draw.one_of(&[1_000, 3_000, 8_000]),
            lasts_max_ms: draw.one_of(&[500, 2_000, 6_000, 15_000]),
        }
    }

    fn faults(&self, draw: &mut Draw, shape: &Shape, until_ms: u64) -> Vec<(u64, Fault)> {
        let mut faults = Vec::new();
        let mut at_ms = CALM_MS;
        loop {
            at_ms += draw.between(1, self.pause_max_ms);
            if at_ms >= until_ms {
                return faults;
            }
            let kind = draw.one_of(&self.kinds);
            faults.extend(
                self.strike(kind, draw, shape).into_iter().map(|(after_ms, fault)| (at_ms + after_ms, fault)),
            );
        }
    }

    /// What one strike of a kind consists of, with delays after its beginning.
    fn strike(&self, kind: Kind, draw: &mut Draw, shape: &Shape) -> Vec<(u64, Fault)> {
        let lasts_ms = draw.between(1, self.lasts_max_ms);
        let (masters, shards, agents) = (shape.master_names(), shape.shard_names(), shape.agent_names());
        let kill = |name: String| Fault::Kill { who: Target::Host(name), back_ms: lasts_ms };
        let power = |name: String| Fault::PowerCut { who: Target::Host(name), back_ms: lasts_ms };
        let cut = |from: Vec<String>, to: Vec<String>, way| Fault::Cut {
            from: Side::Hosts(from),
            to: Side::Hosts(to),
            way,
            for_ms: lasts_ms,
        };
        let way = draw.one_of(&[Way::Drop, Way::Hold]);
        let at_once = |faults: Vec<Fault>| faults.into_iter().map(|fault| (0, fault)).collect();
        match kind {
            Kind::KillLeader => vec![(0, Fault::Kill { who: Target::Leader, back_ms: lasts_ms })],
            Kind::KillMaster => vec![(0, kill(draw.one_of(&masters)))],
            Kind::KillAllMasters => at_once(masters.into_iter().map(kill).collect()),
            Kind::KillShard => vec![(0, kill(draw.one_of(&shards)))],
            Kind::KillAllShards => at_once(shards.into_iter().map(kill).collect()),
            Kind::KillAgent => vec![(0, kill(draw.one_of(&agents)))],
            Kind::PowerMaster => vec![(0, power(draw.one_of(&masters)))],
            Kind::PowerAllMasters => at_once(masters.into_iter().map(power).collect()),
            Kind::PowerAgent => vec![(0, power(draw.one_of(&agents)))],
            Kind::PowerAtOperation
            | Kind::PowerInRecovery
            | Kind::PowerInInstall
            | Kind::DiskError
            | Kind::DiskFull
            | Kind::SlowDisk => disks::strike(kind, draw, masters, lasts_ms),
            Kind::PauseLeader
            | Kind::PauseHost
            | Kind::WallJump
            | Kind::Drift
            | Kind::LoseAgent
            | Kind::LoseAgents
            | Kind::Handover
            | Kind::BadEntry => machines::strike(kind, draw, shape, lasts_ms),
            Kind::CutLeader => {
                let (from, to) = (Side::Leader, Side::Everybody);
                vec![(0, Fault::Cut { from, to, way, for_ms: lasts_ms })]
            }
            Kind::CutSides => {
                let everybody = [masters, shards, agents, shape.client_names()].concat();
                let (one, other) = sides(draw, &everybody);
                vec![(0, cut(one, other, way))]
            }
            Kind::CutOneWay => {
                let from = draw.one_of(&masters);
                let others: Vec<String> = masters.into_iter().filter(|name| *name != from).collect();
                let mut to: Vec<String> = others.iter().filter(|_| draw.chance(600)).cloned().collect();
                if to.is_empty() {
                    to.push(draw.one_of(&others));
                }
                vec![(0, cut(vec![from], to, Way::DropForth))]
            }
            Kind::Bridge => {
                let bridge = draw.one_of(&masters);
                let others: Vec<String> = masters.into_iter().filter(|name| *name != bridge).collect();
                let (one, other) = sides(draw, &others);
                vec![(0, cut(one, other, way))]
            }
            Kind::CutShardFromMasters => vec![(0, cut(vec![draw.one_of(&shards)], masters, way))],
            Kind::FlapAgent => {
                let agent = draw.one_of(&agents);
                let short_ms = 1 + lasts_ms / 8;
                let flap = |at: u64| {
                    let (from, to) = (Side::Hosts(vec![agent.clone()]), Side::Hosts(shards.clone()));
                    (at * short_ms * 2, Fault::Cut { from, to, way, for_ms: short_ms })
                };
                (0..draw.between(1, 6)).map(flap).collect()
            }
            Kind::Lose => {
                let per_million = u32::try_from(draw.between(100, 20_000)).expect("below a million");
                vec![(0, Fault::Lose { per_million }), (lasts_ms, Fault::Lose { per_million: 0 })]
            }
            Kind::Slow => {
                let latency_max_ms = draw.between(shape.latency_max_ms, 600);
                let before = Fault::Slow { latency_max_ms: shape.latency_max_ms };
                vec![(0, Fault::Slow { latency_max_ms }), (lasts_ms, before)]
            }
        }
    }
}

/// Two sides, each with somebody on it.
fn sides(draw: &mut Draw, names: &[String]) -> (Vec<String>, Vec<String>) {
    let alone = draw.position(names.len());
    let other = (alone + 1) % names.len();
    let mut sides = (Vec::new(), Vec::new());
    for (at, name) in names.iter().enumerate() {
        let first = at == alone || (at != other && draw.chance(500));
        if first { &mut sides.0 } else { &mut sides.1 }.push(name.clone());
    }
    sides
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_follows_from_its_seed_alone_and_seeds_differ() {
        let shown = |seed| format!("{:?}", plan(&Draw::new(seed)));
        assert_eq!(shown(5), shown(5));
        assert_ne!(shown(5), shown(6));
    }

    #[test]
    fn every_kind_of_fault_is_in_some_plan_and_no_plan_is_without() {
        let mut kinds = Vec::new();
        for seed in 0..200 {
            let mix = Mix::of(&mut Draw::new(seed).part("mix"));
            assert!(!mix.kinds.is_empty());
            kinds.extend(mix.kinds);
        }
        assert!(KINDS.iter().all(|kind| kinds.contains(kind)));
    }

    #[test]
    fn both_sides_of_a_cut_have_somebody() {
        let names: Vec<String> = ["a", "b", "c"].map(str::to_owned).into();
        for seed in 0..50 {
            let (one, other) = sides(&mut Draw::new(seed), &names);
            assert!(!one.is_empty() && !other.is_empty() && one.len() + other.len() == 3);
        }
    }
}
