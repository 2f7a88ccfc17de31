//! Nothing depends on how often somebody looks: the same orders at the same times have the same outcome.

use paceline_supervisor::Lease;
use paceline_types::{AttemptId, ExitStatus, OnStop, Script, ScriptEnd};
use proptest::prelude::*;

use super::{id, launch, reading};
use crate::runtime::{Launch, Observed, Runtime};
use crate::simulated::{Lived, Lives, SimulatedNode};

/// Something that an agent, or the world, does.
#[derive(Clone, Debug)]
enum Order {
    Launch { task: u32, script: Script, time_limit_ms: Option<u64>, at_most_one: bool },
    Stop { task: u32, grace_ms: u64 },
    Renew { task: u32, asked_ago_ms: u64, duration_ms: u64 },
    Forget { task: u32 },
    Reboot,
}

fn order() -> impl Strategy<Value = Order> {
    let on_stop = prop_oneof![Just(OnStop::Ignores), (0_u64..300).prop_map(OnStop::EndsAfter)];
    let end = prop_oneof![
        Just(ScriptEnd::Exit(ExitStatus::Code(0))),
        Just(ScriptEnd::Exit(ExitStatus::Signal(11))),
        Just(ScriptEnd::OutOfMemory),
    ];
    let script = (0_u64..2_000, end, on_stop, 0_u32..2).prop_map(|(runs_ms, end, on_stop, launch_faults)| {
        Script { runs_ms, end, on_stop, launch_faults, output_bytes_per_second: 30 }
    });
    let limit = proptest::option::weighted(0.3, 1_u64..1_500);
    prop_oneof![
        8 => (0_u32..6, script, limit, proptest::bool::weighted(0.4)).prop_map(
            |(task, script, time_limit_ms, at_most_one)| Order::Launch { task, script, time_limit_ms, at_most_one }),
        3 => (0_u32..6, 0_u64..400).prop_map(|(task, grace_ms)| Order::Stop { task, grace_ms }),
        8 => (0_u32..6, 0_u64..300, 0_u64..1_200).prop_map(
            |(task, asked_ago_ms, duration_ms)| Order::Renew { task, asked_ago_ms, duration_ms }),
        2 => (0_u32..6).prop_map(|task| Order::Forget { task }),
        1 => Just(Order::Reboot),
    ]
}

/// Everything that can be known afterwards.
type Outcome = (Vec<String>, Vec<(AttemptId, Observed)>, Lives);

/// Plays orders, each so many milliseconds after the one before, and looks `looks` times in between.
fn play(orders: &[(u64, Order)], looks: u64) -> Outcome {
    let node = SimulatedNode::new();
    let mut now_ms = 0;
    let mut answers = Vec::new();
    for (pause_ms, order) in orders {
        for look in 1..=looks {
            node.advance(reading(now_ms + pause_ms * look / (looks + 1)));
        }
        now_ms += pause_ms;
        let at_ms = now_ms;
        let runtime = node.runtime(move || reading(at_ms));
        let answer = match order.clone() {
            Order::Launch { task, script, time_limit_ms, at_most_one } => {
                let launch = Launch { time_limit_ms, at_most_one, ..launch(task, Some(script)) };
                format!("{:?}", runtime.launch(&launch))
            }
            Order::Stop { task, grace_ms } => format!("{:?}", runtime.stop(&id(task), grace_ms)),
            Order::Renew { task, asked_ago_ms, duration_ms } => {
                let lease = Lease { asked_boot_ms: now_ms.saturating_sub(asked_ago_ms), duration_ms };
                format!("{:?}", runtime.renew_lease(&id(task), lease))
            }
            Order::Forget { task } => format!("{:?}", runtime.forget(&id(task))),
            Order::Reboot => {
                node.reboot(reading(now_ms));
                now_ms = 0;
                String::new()
            }
        };
        answers.push(answer);
    }
    let runtime = node.runtime(move || reading(now_ms + 100_000));
    (answers, runtime.attempts().unwrap(), node.take_lives())
}

fn leased(orders: &[(u64, Order)]) -> bool {
    orders.iter().any(|(_, order)| matches!(order, Order::Launch { at_most_one: true, .. }))
}

proptest! {
    #[test]
    fn it_makes_no_difference_how_often_somebody_looks(
        orders in proptest::collection::vec((0_u64..700, order()), 1..40), looks in 1_u64..9,
    ) {
        prop_assert_eq!(play(&orders, 0), play(&orders, looks));
    }

    #[test]
    fn every_life_ends_and_lies_within_its_boot(
        orders in proptest::collection::vec((0_u64..700, order()), 1..40),
    ) {
        let (_, attempts, lives) = play(&orders, 0);
        prop_assert!(lives.alive.is_empty(), "{:?}", lives.alive);
        for Lived { attempt, started_boot_ms, ended_boot_ms, .. } in &lives.ended {
            let ended = ended_boot_ms.expect("it is among those that ended");
            prop_assert!(*started_boot_ms <= ended, "{}", attempt);
        }
        let waits = attempts.iter().any(|(_, seen)| !matches!(seen, Observed::Exited(_)));
        prop_assert!(!waits || leased(&orders), "only what has no lease goes on");
    }
}
