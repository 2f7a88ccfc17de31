//! Whatever order connects, losses, leader changes and reports come in: in the end every terminal report is in the
//! cell and acknowledged, and every node has its full set. On the way no acknowledgement exceeds what was applied
//! (asserted where an agent hears one) and no stale session is listened to (asserted where the hub proposes).

use proptest::prelude::*;

use super::world::{Fault, World};

const AGENTS: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    Connect { agent: usize, shard: usize, clean: bool },
    Disconnect { agent: usize, clean: bool },
    Link { shard: usize },
    Unlink { shard: usize },
    CrashShard { shard: usize },
    ChangeLeader { committed: usize },
    Assign { agent: usize },
    Unassign { task: usize, politely: bool },
    Finish { agent: usize },
    Deliver { queue: usize },
    Apply,
    Pass { ms: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let agent = 0..AGENTS;
    let shard = 0..2_usize;
    prop_oneof![
        3 => (agent.clone(), shard.clone(), any::<bool>())
            .prop_map(|(agent, shard, clean)| Step::Connect { agent, shard, clean }),
        1 => (agent.clone(), any::<bool>()).prop_map(|(agent, clean)| Step::Disconnect { agent, clean }),
        2 => shard.clone().prop_map(|shard| Step::Link { shard }),
        1 => shard.clone().prop_map(|shard| Step::Unlink { shard }),
        1 => shard.prop_map(|shard| Step::CrashShard { shard }),
        1 => (0..4_usize).prop_map(|committed| Step::ChangeLeader { committed }),
        5 => agent.clone().prop_map(|agent| Step::Assign { agent }),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(task, politely)| Step::Unassign { task, politely }),
        5 => agent.prop_map(|agent| Step::Finish { agent }),
        40 => any::<usize>().prop_map(|queue| Step::Deliver { queue }),
        12 => Just(Step::Apply),
        10 => (1..20_u64).prop_map(|ms| Step::Pass { ms }),
        1 => (1_000..12_000_u64).prop_map(|ms| Step::Pass { ms }),
    ]
}

fn take(world: &mut World, step: &Step) {
    match *step {
        Step::Connect { agent, shard, clean } => world.connect(agent, shard, clean),
        Step::Disconnect { agent, clean } => world.disconnect(agent, clean),
        Step::Link { shard } => world.link(shard),
        Step::Unlink { shard } => world.unlink(shard),
        Step::CrashShard { shard } => world.crash_shard(shard),
        Step::ChangeLeader { committed } => world.change_leader(committed),
        Step::Assign { agent } => world.assign(agent),
        Step::Unassign { task, politely } => world.unassign(task, politely),
        Step::Finish { agent } => world.finish_one(agent),
        Step::Deliver { queue } => world.deliver(queue),
        Step::Apply => world.apply_one(true),
        Step::Pass { ms } => world.pass_time(ms),
    }
}

/// Everyone connected and registered, so that steps have something to break.
fn started() -> World {
    let mut world = World::new(AGENTS);
    world.heal();
    world
}

#[test]
fn a_quiet_cell_settles() {
    let mut world = started();
    for agent in 0..AGENTS {
        world.assign(agent);
    }
    world.heal();
}

/// A task runs and ends under a fault.
fn under(fault: Fault) {
    let mut world = started();
    world.assign(0);
    world.deliver_all();
    world.fault = Some(fault);
    world.finish_one(0);
    world.deliver_all();
    world.heal();
}

#[test]
#[should_panic(expected = "is not in the cell")]
fn an_early_acknowledgement_is_caught() {
    under(Fault::EarlyAcknowledgement);
}

#[test]
#[should_panic(expected = "not settled")]
fn a_lost_report_is_caught() {
    under(Fault::LostReports);
}

proptest! {
    #[test]
    fn every_terminal_report_is_acknowledged_in_the_end(steps in proptest::collection::vec(step(), 1..400)) {
        let mut world = started();
        for step in &steps {
            take(&mut world, step);
        }
        world.heal();
    }
}
