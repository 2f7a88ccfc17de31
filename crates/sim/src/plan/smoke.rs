//! The smallest plan that shows something: a job is submitted, and the leader is killed while it runs.

use paceline_agent::Timings as AgentTimings;
use paceline_master::{LogBudget, Timings};

use super::{Fault, Plan, Target};
use crate::draw::Draw;
use crate::shape::Shape;
use crate::workload::{Call, Script, Wanted};

pub(super) fn plan(draw: &Draw) -> Plan {
    let mut draw = draw.part("smoke");
    let shape = Shape {
        masters: 3,
        shards: 2,
        agents: 5,
        clients: 1,
        timings: Timings::DEFAULT,
        log: LogBudget::default(),
        agent_timings: AgentTimings::default(),
        node_cpu_milli: 8_000,
        lying_disks: false,
        latency_min_ms: 0,
        latency_max_ms: draw.between(1, 10),
    };
    let submit_ms = draw.between(500, 3_000);
    let submit = Call::Submit(Wanted {
        name: "first".into(),
        tasks: u32::try_from(draw.between(1, 60)).expect("below sixty"),
        cpu_milli: 1_000,
        task_ms: draw.between(50, 3_000),
        more_ms: 0,
        exit: 0,
        stop_ms: Some(5),
        replace_after_ms: 60_000,
    });
    let calls = vec![(submit_ms, Call::Status), (submit_ms, submit), (submit_ms, Call::Status)];
    let kill = Fault::Kill { who: Target::Leader, back_ms: draw.between(100, 3_000) };
    let faults = vec![(submit_ms + draw.between(1, 1_500), kill)];
    Plan { shape, scripts: vec![Script { calls }], faults, safety_ms: submit_ms + 4_000 }
}
