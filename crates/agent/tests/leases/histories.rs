//! Histories of leases: random ones, those that people tell, and worlds with a bug, which must be caught.

use paceline_types::{LEASE_MS, LEASE_WAIT_MS};
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

use crate::node::TASKS;
use crate::world::{Bug, NODES, World};

/// Random histories where nobody asks for more; each has some dozens of cuts and pauses.
const CASES: u32 = 48;

#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    PauseAgent(usize, bool),
    Slow(usize, bool, bool),
    Cut(usize, bool),
    Restart(usize),
    Reboot(usize),
    PauseLeader(bool),
    ChangeLeader(usize),
    Turn(usize, bool),
    Quorum(bool),
    Remove(usize),
    Replace(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let node = || 0..NODES;
    let flag = any::<bool>;
    prop_oneof![
        12 => (250_u64..20_000).prop_map(Step::Pass),
        2 => (LEASE_MS / 2..2 * LEASE_MS).prop_map(Step::Pass),
        4 => (node(), flag()).prop_map(|(at, on)| Step::PauseAgent(at, on)),
        3 => (node(), flag(), flag()).prop_map(|(at, up, down)| Step::Slow(at, up, down)),
        4 => (node(), flag()).prop_map(|(at, on)| Step::Cut(at, on)),
        1 => node().prop_map(Step::Restart),
        1 => node().prop_map(Step::Reboot),
        3 => flag().prop_map(Step::PauseLeader),
        2 => (0_usize..6).prop_map(Step::ChangeLeader),
        3 => (0_usize..2, flag()).prop_map(|(at, on)| Step::Turn(at, on)),
        2 => flag().prop_map(Step::Quorum),
        2 => node().prop_map(Step::Remove),
        1 => node().prop_map(Step::Replace),
    ]
}

fn take(world: &mut World, step: &Step) {
    match *step {
        Step::Pass(ms) => world.pass(ms),
        Step::PauseAgent(at, paused) => world.nodes[at].paused = paused,
        Step::Slow(at, up, down) => (world.nodes[at].slow_up, world.nodes[at].slow_down) = (up, down),
        Step::Cut(at, cut) => world.cut(at, cut),
        Step::Restart(at) => world.restart(at),
        Step::Reboot(at) => world.reboot(at),
        Step::PauseLeader(paused) => world.pause_leader(paused),
        Step::ChangeLeader(committed) => world.change_leader(committed),
        Step::Turn(shard, newest) => world.turn(shard, newest),
        Step::Quorum(answers) => world.quorum = answers,
        Step::Remove(at) => world.remove(at),
        Step::Replace(at) => world.replace(at),
    }
}

fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(CASES)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn no_two_attempts_of_a_task_run_at_one_instant_and_after_healing_each_runs(
        steps in proptest::collection::vec(step(), 0..60),
    ) {
        let mut world = World::new(Bug::None);
        for step in &steps {
            take(&mut world, step);
        }
        world.heal();
    }
}

#[test]
fn leases_keep_tasks_running_for_as_long_as_nothing_happens() {
    let mut world = World::new(Bug::None);
    let running = world.running();
    assert_eq!(running.iter().sum::<usize>(), TASKS as usize);
    world.pass(10 * LEASE_MS);
    assert_eq!((world.running(), world.lived()), (running, TASKS as usize));
}

/// The first node that has a task.
fn busy(world: &World) -> usize {
    world.running().iter().position(|tasks| *tasks > 0).expect("tasks run")
}

#[test]
fn the_tasks_of_a_stopped_agent_are_gone_within_the_lease_and_run_elsewhere_afterwards() {
    let mut world = World::new(Bug::None);
    let at = busy(&world);
    let tasks = world.running()[at];
    world.nodes[at].paused = true;
    world.pass(LEASE_MS + LEASE_MS / 20);
    assert_eq!(world.running()[at], 0);
    world.pass(LEASE_WAIT_MS);
    assert_eq!(world.running().iter().sum::<usize>(), TASKS as usize, "{tasks} were replaced");
    assert_eq!(world.running()[at], 0);
    world.nodes[at].paused = false;
    world.pass(60_000);
    world.heal();
    assert_eq!(world.lived(), TASKS as usize + tasks);
}

#[test]
fn without_any_master_tasks_end_with_their_lease_and_without_waiting_for_a_write_off_run_again() {
    let mut world = World::new(Bug::None);
    world.pause_leader(true);
    world.pass(LEASE_MS / 2);
    assert_eq!(world.running().iter().sum::<usize>(), TASKS as usize, "a short outage is none");
    world.pass(LEASE_MS);
    assert_eq!(world.running(), [0; NODES]);
    world.change_leader(0);
    (0..2).for_each(|shard| world.turn(shard, true));
    world.pass(20_000);
    assert_eq!(world.running().iter().sum::<usize>(), TASKS as usize, "their ends were reported");
    world.heal();
}

#[test]
fn the_next_attempt_waits_for_a_lease_that_nobody_saw_end() {
    let mut world = World::new(Bug::None);
    let at = busy(&world);
    world.cut(at, true);
    world.remove(at);
    world.pass(LEASE_MS - 1_000);
    assert!(world.running().iter().sum::<usize>() <= TASKS as usize);
    assert_eq!(world.lived(), TASKS as usize, "nothing was started anew");
    world.pass(LEASE_WAIT_MS - LEASE_MS + 10_000);
    assert!(world.lived() > TASKS as usize);
    world.heal();
}

/// A leader that was deposed and goes on answering a node that the next one has given up.
fn deposed(bug: Bug) {
    let mut world = World::new(bug);
    let at = busy(&world);
    world.change_leader(0);
    let other = 1 - world.nodes[at].shard.expect("it has a session");
    world.turn(other, true);
    (0..NODES).filter(|node| *node != at).for_each(|node| world.come(node, other));
    world.pass(10_000);
    world.remove(at);
    world.pass(4 * LEASE_WAIT_MS);
    world.check();
}

#[test]
fn a_deposed_leader_grants_nothing() {
    deposed(Bug::None);
}

#[test]
#[should_panic(expected = "two at once")]
fn a_leader_that_asks_nobody_is_caught() {
    deposed(Bug::NobodyIsAsked);
}

/// A node is cut off and removed: its tasks run on for the rest of their lease.
fn removed(bug: Bug) {
    let mut world = World::new(bug);
    let at = busy(&world);
    world.pass(20_000);
    world.cut(at, true);
    world.remove(at);
    world.pass(2 * LEASE_WAIT_MS);
    world.check();
}

#[test]
#[should_panic(expected = "two at once")]
fn a_leader_that_holds_nothing_back_is_caught() {
    removed(Bug::NothingIsHeld);
}

#[test]
#[should_panic(expected = "two at once")]
fn a_clock_that_is_slower_than_the_bound_is_caught() {
    removed(Bug::SlowMachines);
}

/// Random histories without a script find these too.
fn found_at_random(bug: Bug) -> bool {
    let config = ProptestConfig {
        cases: 400,
        max_shrink_iters: 0,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let histories = proptest::collection::vec(step(), 20..60);
    let run = |steps: Vec<Step>| {
        let mut world = World::new(bug);
        steps.iter().for_each(|step| take(&mut world, step));
        world.check();
        Ok(())
    };
    TestRunner::new_with_rng(config, rng).run(&histories, run).is_err()
}

/// The others take a coincidence that a few hundred histories of this length do not bring about; the told ones have it.
#[test]
fn random_histories_find_a_leader_that_holds_nothing() {
    assert!(found_at_random(Bug::NothingIsHeld));
}
