//! A virtual node: an agent on the simulated runtime, by tokio's clock.

use std::collections::BTreeMap;
use std::sync::Arc;

use paceline_agent::{VirtualClock, drive};
use paceline_api::encode_spec;
use paceline_link::message::{AgentOrder, Desired, Observed, OrderRun, Orders};
use paceline_rules::{Failures, JobSpec, RunsMs, SIMULATED, Simulate};
use paceline_runtime::SimulatedNode;
use paceline_types::{ExitStatus, IndexRange, Reason, Resources, ScriptEnd};

use crate::fake_runtime::FakeRuntime;
use crate::rig::{Rig, eventually, id, job, observed, runs};

const TASKS: u32 = 200;

/// Orders for tasks that pretend to run for some milliseconds; what each will do is known beforehand.
fn orders(block: Simulate) -> Orders {
    let spec = JobSpec {
        simulate: Some(block),
        ..JobSpec::batch("pretend", TASKS, &["/bin/true"], Resources::new(1, 1 << 20))
    };
    let mut orders = runs(IndexRange::new(0, TASKS - 1).unwrap());
    orders.jobs[0].spec = encode_spec(&spec);
    orders
}

fn virtual_node() -> (Rig, SimulatedNode, VirtualClock) {
    let (node, clock) = (SimulatedNode::new(), VirtualClock::boot(1_700_000_000_000));
    tokio::spawn(drive(node.clone(), move || clock.read()));
    let mut rig = Rig::with_runtime(FakeRuntime::new(false));
    rig.instead = Some(Arc::new(node.runtime(move || clock.read())));
    (rig, node, clock)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripted_tasks_end_as_everybody_could_have_said() {
    let (rig, node, _) = virtual_node();
    let (_shard, agent, mut session) = rig.joined().await;
    assert_eq!(session.hello.capabilities, [SIMULATED]);
    let block = Simulate {
        runs: RunsMs { from: 0, to: 40 },
        failures: Some(Failures { permille: 300, exit_code: 7 }),
        out_of_memory_permille: 100,
        ..Simulate::lasting(0)
    };
    session.send(AgentOrder::Orders(orders(block))).await;
    let mut ends = BTreeMap::new();
    while ends.len() < TASKS as usize {
        let report = session.report().await;
        for task in 0..TASKS {
            if let Some(end @ Observed::Ended { .. }) = observed(&report, task) {
                ends.insert(task, end);
            }
        }
        session.acknowledge(&report).await;
    }
    for (task, end) in ends {
        let (status, reason) = match block.script(id(task)).end {
            ScriptEnd::OutOfMemory => (ExitStatus::Signal(9), Reason::OutOfMemory),
            ScriptEnd::Exit(status) if status.is_success() => (status, Reason::ExitedZero),
            ScriptEnd::Exit(status) => (status, Reason::ExitedNonZero),
        };
        assert_eq!(end, Observed::Ended { status: Some(status), reason }, "task {task}");
    }
    let lives = node.take_lives();
    assert_eq!((lives.ended.len(), lives.alive.len()), (TASKS as usize, 0), "each lived once");
    agent.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pretended_tasks_outlive_their_agent_and_are_stopped_by_the_next() {
    let (mut rig, node, clock) = virtual_node();
    let (mut shard, agent, session) = rig.joined().await;
    let block = Simulate::lasting(3_600_000);
    session.send(AgentOrder::Orders(orders(block))).await;
    eventually("all live", || node.take_lives().alive.len() == TASKS as usize).await;
    drop(session);
    agent.kill().await;
    rig.instead = Some(Arc::new(node.runtime(move || clock.read())));
    let agent = rig.start(&[&shard.address]).await;
    let mut session = shard.session().await;
    session.welcome().await;
    let table = session.report().await;
    assert_eq!(observed(&table, 0), Some(Observed::Running));
    let tasks = [IndexRange::new(0, TASKS - 1).unwrap()].into_iter().collect();
    let desired = Desired::Stop { grace_ms: 1_000 };
    let stop = OrderRun { job: job(), attempt: id(0).attempt, tasks, desired };
    session.send(AgentOrder::Orders(Orders { runs: vec![stop], ..orders(block) })).await;
    eventually("none lives", || node.take_lives().alive.is_empty()).await;
    agent.leave().await;
}
