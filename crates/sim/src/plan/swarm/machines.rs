//! Strikes at clocks, at processes that stand still, and at nodes that stay away until the cell writes them off.

use super::{Fault, Kind, Target};
use crate::draw::Draw;
use crate::links::Way;
use crate::plan::Side;
use crate::shape::Shape;

/// The longest wall clock is off by this: certificates are valid from an hour before the beginning.
const WALL_OFF_MS_MAX: u64 = 30 * 60 * 1_000;
/// Far worse than any quartz, and still below what a decision may be early by.
const DRIFT_PERMILLE_MAX: u64 = 50;
/// Nodes that are lost stay away this long: from just above a detection period to long after their tasks were replaced.
const LOST_MS: (u64, u64) = (12_000, 70_000);

/// What one strike consists of, with delays after its beginning.
pub(super) fn strike(kind: Kind, draw: &mut Draw, shape: &Shape, lasts_ms: u64) -> Vec<(u64, Fault)> {
    let (masters, shards, agents) = (shape.master_names(), shape.shard_names(), shape.agent_names());
    let host = draw.one_of(&[masters, shards.clone(), agents.clone()].concat());
    let who = || Target::Host(host.clone());
    match kind {
        Kind::PauseLeader => vec![(0, Fault::Pause { who: Target::Leader, for_ms: lasts_ms })],
        Kind::PauseHost => vec![(0, Fault::Pause { who: who(), for_ms: lasts_ms })],
        Kind::WallJump => {
            let off = i64::try_from(draw.between(0, 2 * WALL_OFF_MS_MAX)).expect("an hour");
            let middle = i64::try_from(WALL_OFF_MS_MAX).expect("half an hour");
            vec![(0, Fault::WallJump { who: who(), off_by_ms: off - middle })]
        }
        Kind::Drift => {
            vec![(0, Fault::Drift { who: who(), permille: DRIFT_PERMILLE_MAX, for_ms: lasts_ms })]
        }
        Kind::LoseAgent => lose(draw, vec![draw.clone().one_of(&agents)]),
        Kind::LoseAgents => {
            let at_least = draw.position(agents.len());
            let lost = agents.iter().enumerate().filter(|(at, _)| *at == at_least || draw.chance(500));
            let lost = lost.map(|(_, name)| name.clone()).collect();
            lose(draw, lost)
        }
        Kind::Handover => hand_over(draw, &shards, agents, lasts_ms),
        _ => vec![(0, Fault::BadEntry { above_the_level: draw.chance(500) })],
    }
}

/// Machines without power, or with agents that do not come back for long while their tasks run on.
fn lose(draw: &mut Draw, agents: Vec<String>) -> Vec<(u64, Fault)> {
    let (dark, back_ms) = (draw.chance(500), draw.between(LOST_MS.0, LOST_MS.1));
    let one = |name| {
        let who = Target::Host(name);
        if dark { Fault::PowerCut { who, back_ms } } else { Fault::Kill { who, back_ms } }
    };
    agents.into_iter().map(|name| (0, one(name))).collect()
}

/// A shard dies and returns; while its agents move back, they are cut from it and another shard dies.
fn hand_over(draw: &mut Draw, shards: &[String], agents: Vec<String>, lasts_ms: u64) -> Vec<(u64, Fault)> {
    let (one, other) = (draw.one_of(shards), draw.one_of(shards));
    let kill = |name| Fault::Kill { who: Target::Host(name), back_ms: lasts_ms };
    let some: Vec<String> = agents.iter().filter(|_| draw.chance(500)).cloned().collect();
    let some = if some.is_empty() { agents } else { some };
    let cut = Fault::Cut {
        from: Side::Hosts(vec![one.clone()]),
        to: Side::Hosts(some),
        way: draw.one_of(&[Way::Drop, Way::Hold]),
        for_ms: lasts_ms,
    };
    let after_ms = lasts_ms + draw.between(1, 2_000);
    vec![(0, kill(one)), (after_ms, cut), (after_ms + draw.between(0, 500), kill(other))]
}
