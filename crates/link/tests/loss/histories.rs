//! Histories of the world of node loss: random ones, and those that people tell.

use std::collections::BTreeSet;

use paceline_link::HubConfig;
use proptest::prelude::*;

use super::world::{DETECTION_MS, World};

#[derive(Clone, Debug)]
enum Step {
    Cut(usize),
    CutMany(usize, usize),
    Come(usize, usize),
    LoseShard(usize),
    BringShard(usize),
    ChangeLeader(usize),
    Pass(u64),
    Pause(u64),
    Commit(usize),
    GiveUp,
    HearMasters(bool),
    Place,
    Finish(usize),
    Release,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any::<usize>().prop_map(Step::Cut),
        1 => (any::<usize>(), 2_usize..8).prop_map(|(first, count)| Step::CutMany(first, count)),
        6 => (any::<usize>(), 0_usize..2).prop_map(|(at, shard)| Step::Come(at, shard)),
        1 => (0_usize..2).prop_map(Step::LoseShard),
        2 => (0_usize..2).prop_map(Step::BringShard),
        1 => (0_usize..4).prop_map(Step::ChangeLeader),
        8 => (500_u64..40_000).prop_map(Step::Pass),
        1 => (500_u64..90_000).prop_map(Step::Pause),
        6 => (1_usize..8).prop_map(Step::Commit),
        2 => Just(Step::GiveUp),
        1 => any::<bool>().prop_map(Step::HearMasters),
        3 => Just(Step::Place),
        2 => any::<usize>().prop_map(Step::Finish),
        1 => Just(Step::Release),
    ]
}

fn take(world: &mut World, agents: usize, step: &Step) {
    match *step {
        Step::Cut(at) => world.cut(at % agents),
        Step::CutMany(first, count) => {
            (0..count).for_each(|next| world.cut(first.wrapping_add(next) % agents))
        }
        Step::Come(at, shard) => world.come(at % agents, shard),
        Step::LoseShard(shard) => world.lose_shard(shard),
        Step::BringShard(shard) => world.bring_shard(shard),
        Step::ChangeLeader(committed) => world.change_leader(committed),
        Step::Pass(ms) => world.pass(ms),
        Step::Pause(ms) => world.pause(ms),
        Step::Commit(count) => (0..count).for_each(|_| world.commit(true)),
        Step::GiveUp => world.give_up(),
        Step::HearMasters(answers) => world.hear_masters(answers),
        Step::Place => world.place(),
        Step::Finish(at) => world.finish(at % agents),
        Step::Release => world.release(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// The world holds every proposal and every entry to what it knows; at the end every task is where it should be.
    #[test]
    fn no_history_writes_off_too_early_too_fast_or_too_little(
        agents in 3_usize..16,
        steps in proptest::collection::vec(step(), 0..80),
        gone in proptest::collection::btree_set(0_usize..16, 0..5),
    ) {
        let gone: BTreeSet<usize> = gone.into_iter().filter(|at| *at < agents && agents - at > 1).collect();
        let mut world = World::new(agents);
        for step in &steps {
            take(&mut world, agents, step);
        }
        world.heal(&gone);
    }
}

/// So many of so many nodes are cut at once; the write-offs within so long, and whether the brake went on.
fn cut_for(cut: usize, of: usize, ms: u64) -> (u64, bool) {
    let mut world = World::new(of);
    world.pass(3 * DETECTION_MS);
    (0..cut).for_each(|at| world.cut(at));
    for _ in 0..ms / 500 {
        world.pass(500);
        world.settle();
    }
    (world.write_offs, world.braked)
}

#[test]
fn one_dead_node_of_four_is_replaced_and_two_are() {
    // Each node has tasks of 2 s, 30 s and 60 s of patience, and one that waits for ever.
    assert_eq!(cut_for(1, 4, DETECTION_MS - 500), (0, false), "a mass loss could not be seen yet");
    assert_eq!(cut_for(1, 4, DETECTION_MS), (1, false));
    assert_eq!(cut_for(1, 4, 30_000), (2, false));
    assert_eq!(cut_for(1, 4, 600_000), (3, false), "those that wait for ever are still there");
    assert_eq!(cut_for(2, 4, 60_000), (6, false));
}

#[test]
fn three_dead_nodes_of_four_wait_for_a_minute_each() {
    assert_eq!(cut_for(3, 4, DETECTION_MS + 59_500), (0, true));
    assert_eq!(cut_for(3, 4, DETECTION_MS + 60_000), (1, true));
    assert_eq!(cut_for(3, 4, DETECTION_MS + 119_500), (1, true));
    assert_eq!(cut_for(3, 4, DETECTION_MS + 120_000), (2, true));
}

/// A rack of four in a cell of so many is cut for half a minute, and its nodes come back one by one.
fn rack_comes_back(of: usize, every_ms: u64) -> u64 {
    let mut world = World::new(of);
    world.pass(3 * DETECTION_MS);
    (0..4).for_each(|at| world.cut(at));
    for _ in 0..(DETECTION_MS + 25_000) / 500 {
        world.pass(500);
        world.settle();
    }
    assert!(world.braked, "a whole rack");
    for at in 0..4 {
        world.come(at, at % 2);
        for _ in 0..every_ms / 500 {
            world.settle();
            world.pass(500);
        }
    }
    world.settle();
    world.write_offs
}

#[test]
fn a_rack_that_comes_back_node_by_node_keeps_its_tasks() {
    // By then every task that can move has been waiting for longer than it wants to.
    assert_eq!(rack_comes_back(44, 500), 0);
    assert_eq!(rack_comes_back(44, 7_000), 0);
    assert_eq!(rack_comes_back(30, 7_000), 0, "a large share of the cell");
}

#[test]
fn the_rest_of_a_rack_that_never_comes_back_is_written_off_in_the_end() {
    let mut world = World::new(44);
    world.pass(3 * DETECTION_MS);
    (0..4).for_each(|at| world.cut(at));
    world.pass(DETECTION_MS + 25_000);
    world.come(0, 0);
    world.settle();
    world.pass(3 * DETECTION_MS - 500);
    assert_eq!(world.write_offs, 0);
    world.pass(1_000);
    assert_eq!(world.write_offs, 3);
}

#[test]
fn an_operator_who_knows_better_releases_the_brake() {
    let mut world = World::new(4);
    (0..3).for_each(|at| world.cut(at));
    world.pass(65_000);
    assert_eq!((world.write_offs, world.braked), (0, true));
    world.release();
    world.pass(500);
    assert_eq!(world.write_offs, 3);
}

#[test]
fn a_brake_is_not_released_while_nobody_can_be_heard() {
    let mut world = World::new(8);
    (0..3).for_each(|at| world.cut(at));
    world.pass(30_000);
    assert!(world.braked);
    (0..2).for_each(|shard| world.lose_shard(shard));
    world.pass(500);
    world.release();
    (0..2).for_each(|shard| world.bring_shard(shard));
    world.pass(500);
    world.release();
    world.pass(2 * DETECTION_MS);
    assert_eq!(world.write_offs, 0, "those behind the shards, alive or not, are a mass loss");
}

#[test]
fn a_new_leader_counts_from_its_own_start() {
    let mut world = World::new(4);
    world.pass(3 * DETECTION_MS);
    world.cut(0);
    world.pass(9_500);
    world.change_leader(0);
    (1..4).for_each(|at| world.come(at, 0));
    world.settle();
    world.pass(2 * DETECTION_MS - 500);
    assert_eq!(world.write_offs, 0, "in its report round");
    world.pass(500);
    assert_eq!(world.write_offs, 1);
}

#[test]
fn nodes_behind_a_lost_shard_are_not_held_silent_while_it_may_come_back() {
    let mut world = World::new(4);
    world.pass(3 * DETECTION_MS);
    world.lose_shard(0);
    world.pass(500_000);
    assert_eq!(world.write_offs, 0, "two nodes were never heard elsewhere");
    world.bring_shard(0);
    world.pass(2 * DETECTION_MS - 500);
    assert_eq!(world.write_offs, 0, "what it has to say may be under way");
    world.pass(500);
    assert_eq!(world.write_offs, 2, "it knows nothing of them");
}

#[test]
fn a_node_that_left_its_shard_for_one_that_is_away_has_time_to_try_another() {
    let mut world = World::new(4);
    world.pass(3 * DETECTION_MS);
    world.lose_shard(1);
    [1, 3].into_iter().for_each(|at| world.come(at, 0));
    world.settle();
    world.cut(0);
    world.pass(59_500);
    assert_eq!(world.write_offs, 0, "its agent waits for a welcome there");
    world.pass(500);
    assert_eq!(world.write_offs, 1);
}

#[test]
fn without_any_shard_nobody_is_written_off() {
    let mut world = World::new(4);
    world.pass(3 * DETECTION_MS);
    world.cut(0);
    world.lose_shard(0);
    world.lose_shard(1);
    world.pass(500_000);
    assert_eq!(world.write_offs, 0);
}

#[test]
fn a_node_that_is_back_before_its_write_off_is_decided_is_registered_behind_it() {
    let mut world = World::new(4);
    world.pass(3 * DETECTION_MS);
    world.cut(0);
    world.pass(60_000);
    world.give_up();
    world.come(0, 0);
    world.settle();
    world.heal(&BTreeSet::new());
}

#[test]
fn without_a_majority_nobody_is_written_off() {
    let mut world = World::new(4);
    world.pass(3 * DETECTION_MS);
    world.cut(0);
    world.hear_masters(false);
    world.pass(500_000);
    assert_eq!(world.write_offs, 0, "nothing is proposed that cannot be decided");
    world.hear_masters(true);
    world.pass(2 * DETECTION_MS);
    assert_eq!(world.write_offs, 0, "in its report round");
    world.pass(500);
    assert_eq!(world.write_offs, 1);
}

/// Some of four nodes are cut while the hub goes by this configuration and the checks by the default one.
fn canary(cut: usize, config: HubConfig) {
    let mut world = World::with(4, config);
    world.pass(3 * DETECTION_MS);
    (0..cut).for_each(|at| world.cut(at));
    world.pass(200_000);
}

#[test]
#[should_panic(expected = "the brake should be on")]
fn a_brake_that_does_not_go_on_is_caught() {
    canary(3, HubConfig { brake_nodes: 4, ..HubConfig::default() });
}

#[test]
#[should_panic(expected = "more than one a minute")]
fn a_brake_that_slips_is_caught() {
    canary(3, HubConfig { write_off_permille_per_minute: 1_000, ..HubConfig::default() });
}

#[test]
#[should_panic(expected = "a mass loss could not have been seen")]
fn impatience_is_caught() {
    canary(1, HubConfig { silence_ms: 5_000, ..HubConfig::default() });
}
