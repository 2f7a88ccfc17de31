//! The calls that a client of a swarm plan makes.

use crate::draw::Draw;
use crate::shape::Shape;
use crate::workload::{Call, Script, Wanted};

/// Calls of one client at most: enough to keep it busy, few enough that a seed takes seconds.
const CALLS_MAX: u64 = 25;
/// Tasks of one job at most: several times what the smallest cell runs at once.
const TASKS_MAX: u64 = 80;
/// The longest task: longer than most faults.
const TASK_MS_MAX: u64 = 8_000;

/// What a client asks for and when; its jobs carry its name.
pub(super) fn script(draw: &Draw, client: &str, shape: &Shape, until_ms: u64) -> Script {
    let mut draw = draw.part("script");
    let count = draw.between(3, CALLS_MAX);
    let mut times: Vec<u64> = (0..count).map(|_| draw.between(0, until_ms)).collect();
    times.sort_unstable();
    let mut jobs = 0;
    // One client in a few keeps the cell small, so that what has ended retires to the history while others work.
    let bound = draw.chance(250).then(|| (0, Call::Bound { jobs: draw.between(8, 40) }));
    let calls = times.into_iter().map(|at_ms| (at_ms, call(&mut draw, client, shape, &mut jobs)));
    Script { calls: bound.into_iter().chain(calls).collect() }
}

fn call(draw: &mut Draw, client: &str, shape: &Shape, jobs: &mut u64) -> Call {
    let kind = draw.between(0, 99);
    if *jobs == 0 || kind < 45 {
        *jobs += 1;
        return submit(draw, format!("{client}-{jobs}"), shape);
    }
    let name = format!("{client}-{}", draw.between(1, *jobs));
    match kind {
        45..53 => Call::Again { name },
        53..56 => Call::RetryFirst,
        56..65 => Call::Stop { name },
        65..71 => Call::Delete { name },
        71..82 => Call::Get { name, stale: false },
        82..86 => Call::Get { name, stale: true },
        86..92 => Call::List { retired: draw.chance(500) },
        92..95 => Call::Status,
        95..97 => Call::ReleaseBrake,
        _ => Call::Transfer,
    }
}

fn submit(draw: &mut Draw, name: String, shape: &Shape) -> Call {
    let tasks = draw.between(1, TASKS_MAX);
    Call::Submit(Wanted {
        name,
        tasks: u32::try_from(tasks).expect("below a hundred"),
        // Every node can hold at least one.
        cpu_milli: draw.one_of(&[10, 500, 1_000, shape.node_cpu_milli]),
        // The whole job takes at most a minute on one node: the audit waits for three.
        task_ms: draw.between(10, TASK_MS_MAX.min(60_000 / tasks)),
        more_ms: draw.one_of(&[0, 20, 500]),
        exit: if draw.chance(120) { 3 } else { 0 },
        stop_ms: draw.one_of(&[Some(0), Some(5), Some(400), None]),
        // From just above the detection period on, so that seeds with long outages see nodes written off.
        replace_after_ms: draw.one_of(&[11_000, 20_000, 60_000]),
    })
}
