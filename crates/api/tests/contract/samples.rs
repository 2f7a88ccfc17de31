//! Arbitrary values of everything that travels on links, and one fixed value of each for the golden bytes.

pub mod fixed;

use std::collections::BTreeMap;

use paceline_link::message::{
    AgentMessage, AgentOrder, Desired, Hello, JobBody, Lease, LogRequest, MasterMessage, Observed, OrderRun,
    OrderSet, Orders, Report, ReportRun, ShardAddress, ShardList, ShardMessage,
};
use paceline_rules::{
    Constraint, Failures, JobKind, JobSpec, Kills, LaunchFaults, Operator, Override, RunsMs, Simulate,
    TaskSpec, Toleration,
};
use paceline_types::{
    AgentInstance, Attempt, AttemptId, BootId, ExitStatus, FenceToken, Generation, IndexRange, IndexSet,
    JobUid, LinkSession, NodeEpoch, NodeId, NodeName, OnStop, Reason, Resources, Revision, ShardId,
    ShardName, SpecVersion, TaskIndex, Term,
};
use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

/// Texts of any kind: names are checked by validation, not by the wire.
fn text() -> impl Strategy<Value = String> {
    vec(any::<char>(), 0..6).prop_map(String::from_iter)
}

fn texts() -> impl Strategy<Value = Vec<String>> {
    vec(text(), 0..4)
}

fn pairs() -> impl Strategy<Value = BTreeMap<String, String>> {
    btree_map(text(), text(), 0..4)
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..20)
}

fn node_name() -> impl Strategy<Value = NodeName> {
    (0_u32..100).prop_map(|n| format!("node-{n}").parse().expect("valid"))
}

fn shard_name() -> impl Strategy<Value = ShardName> {
    (0_u32..100).prop_map(|n| format!("s{n}").parse().expect("valid"))
}

fn resources() -> impl Strategy<Value = Resources> {
    any::<(u64, u64)>().prop_map(|(cpu, memory)| Resources::new(cpu, memory))
}

fn uid() -> impl Strategy<Value = JobUid> {
    any::<(u64, u32)>().prop_map(|(revision, ordinal)| JobUid { revision: Revision(revision), ordinal })
}

fn token() -> impl Strategy<Value = FenceToken> {
    any::<(u32, u64, u64)>().prop_map(|(generation, term, revision)| FenceToken {
        generation: Generation(generation),
        term: Term(term),
        revision: Revision(revision),
    })
}

fn indices() -> impl Strategy<Value = IndexSet> {
    let range = |(first, more): (u32, u32)| IndexRange::new(first, first.saturating_add(more));
    vec((any::<u32>(), 0_u32..9), 0..6).prop_map(move |all| all.into_iter().filter_map(range).collect())
}

fn status() -> impl Strategy<Value = ExitStatus> {
    prop_oneof![(0_i32..256).prop_map(ExitStatus::Code), (1_i32..65).prop_map(ExitStatus::Signal)]
}

fn constraint() -> impl Strategy<Value = Constraint> {
    (text(), select(&Operator::ALL[..]), texts()).prop_map(|(label, operator, values)| Constraint {
        label,
        operator,
        values,
    })
}

fn override_of() -> impl Strategy<Value = Override> {
    (indices(), of(texts()), pairs(), of(resources()), of(any::<u64>())).prop_map(
        |(tasks, run, env, resources, time_limit_ms)| Override { tasks, run, env, resources, time_limit_ms },
    )
}

fn template() -> impl Strategy<Value = TaskSpec> {
    (texts(), pairs(), of(text()), resources(), of(any::<u64>()), of(any::<u64>()), any::<u64>()).prop_map(
        |(run, env, user, resources, cpu_limit_milli, time_limit_ms, grace_ms)| TaskSpec {
            run,
            env,
            user,
            resources,
            cpu_limit_milli,
            time_limit_ms,
            grace_ms,
        },
    )
}

fn simulate() -> impl Strategy<Value = Simulate> {
    let share = || of(any::<(u32, u32)>());
    let on_stop = prop_oneof![Just(OnStop::Ignores), any::<u64>().prop_map(OnStop::EndsAfter)];
    (any::<(u64, u64, u32, u64)>(), share(), share(), share(), on_stop).prop_map(
        |((from, to, out_of_memory_permille, output_bytes_per_second), failures, kills, faults, on_stop)| {
            Simulate {
                runs: RunsMs { from, to },
                failures: failures.map(|(permille, exit_code)| Failures { permille, exit_code }),
                kills: kills.map(|(permille, signal)| Kills { permille, signal }),
                out_of_memory_permille,
                on_stop,
                launch_faults: faults.map(|(permille, times)| LaunchFaults { permille, times }),
                output_bytes_per_second,
            }
        },
    )
}

/// Any specification, valid or not: the wire carries all of them.
pub fn spec() -> impl Strategy<Value = JobSpec> {
    let toleration = (text(), of(text())).prop_map(|(key, value)| Toleration { key, value });
    let words = (text(), text(), template());
    let numbers = any::<(u32, u32, Option<u32>, Option<u32>, Option<u64>)>();
    let lists = (vec(override_of(), 0..3), vec(constraint(), 0..3), vec(toleration, 0..3), pairs());
    let last = (of(simulate()), any::<bool>());
    (words, numbers, lists, last).prop_map(
        |((name, pool, template), numbers, lists, (simulate, at_most_one))| JobSpec {
            name,
            kind: JobKind::Batch,
            pool,
            tasks: numbers.0,
            template,
            overrides: lists.0,
            max_attempts: numbers.1,
            max_running: numbers.2,
            max_failed_tasks: numbers.3,
            replace_after_ms: numbers.4,
            constraints: lists.1,
            tolerations: lists.2,
            labels: lists.3,
            simulate,
            at_most_one,
        },
    )
}

fn hello() -> impl Strategy<Value = Hello> {
    let who = (node_name(), any::<([u8; 16], [u8; 16], u32, u64)>(), token());
    (who, resources(), pairs(), texts(), bytes(), bytes()).prop_map(
        |(
            (node, (instance, boot, epoch, session), fence),
            capacity,
            labels,
            capabilities,
            certificate,
            signature,
        )| {
            Hello {
                node,
                instance: AgentInstance(instance),
                boot: BootId(boot),
                epoch: NodeEpoch(epoch),
                session: LinkSession(session),
                fence,
                capacity,
                labels,
                capabilities,
                certificate_der: certificate,
                signature,
            }
        },
    )
}

fn observed() -> impl Strategy<Value = Observed> {
    let ended =
        (of(status()), select(Reason::ALL)).prop_map(|(status, reason)| Observed::Ended { status, reason });
    prop_oneof![Just(Observed::Running), ended]
}

fn report_run() -> impl Strategy<Value = ReportRun> {
    (uid(), any::<u32>(), indices(), observed(), any::<bool>()).prop_map(
        |(job, attempt, tasks, observed, known)| {
            let pids = if known { (0..tasks.count()).map(|n| n as u32 + 7).collect() } else { Vec::new() };
            ReportRun { job, attempt: Attempt(attempt), tasks, observed, pids }
        },
    )
}

fn report() -> impl Strategy<Value = Report> {
    (any::<u64>(), vec(report_run(), 0..4), any::<bool>())
        .prop_map(|(sequence, runs, table_complete)| Report { sequence, runs, table_complete })
}

/// Everything an agent says.
pub fn agent_message() -> impl Strategy<Value = AgentMessage> {
    prop_oneof![
        hello().prop_map(|hello| AgentMessage::Hello(Box::new(hello))),
        report().prop_map(AgentMessage::Report),
        Just(AgentMessage::Alive),
        any::<u64>().prop_map(|number| AgentMessage::LeaseRequest { number }),
    ]
}

fn order_run() -> impl Strategy<Value = OrderRun> {
    let desired = prop_oneof![
        any::<u64>().prop_map(|assigned| Desired::Run { assigned: Revision(assigned) }),
        any::<u64>().prop_map(|grace_ms| Desired::Stop { grace_ms }),
    ];
    (uid(), any::<u32>(), indices(), desired).prop_map(|(job, attempt, tasks, desired)| OrderRun {
        job,
        attempt: Attempt(attempt),
        tasks,
        desired,
    })
}

fn orders() -> impl Strategy<Value = Orders> {
    let set = prop_oneof![
        Just(OrderSet::Diff),
        any::<(bool, bool)>().prop_map(|(first, last)| OrderSet::Full { first, last }),
    ];
    let body = (uid(), any::<u32>(), bytes()).prop_map(|(job, version, spec)| JobBody {
        job,
        version: SpecVersion(version),
        spec,
    });
    (token(), set, vec(body, 0..3), vec(order_run(), 0..4)).prop_map(|(token, set, jobs, runs)| Orders {
        token,
        set,
        jobs,
        runs,
    })
}

fn shard_list() -> impl Strategy<Value = ShardList> {
    let address = (any::<u32>(), shard_name(), text()).prop_map(|(id, name, address)| ShardAddress {
        id: ShardId(id),
        name,
        address,
    });
    (any::<u64>(), vec(address, 0..4))
        .prop_map(|(version, shards)| ShardList { version: Revision(version), shards })
}

/// Everything an agent is told.
pub fn agent_order() -> impl Strategy<Value = AgentOrder> {
    prop_oneof![
        any::<(u32, u32, u64)>().prop_map(|(node, epoch, heartbeat_ms)| AgentOrder::Welcome {
            node: NodeId(node),
            epoch: NodeEpoch(epoch),
            heartbeat_ms,
        }),
        orders().prop_map(AgentOrder::Orders),
        any::<u64>().prop_map(|sequence| AgentOrder::Acknowledge { sequence }),
        (text(), any::<u64>())
            .prop_map(|(message, retry_after_ms)| AgentOrder::Refused { message, retry_after_ms }),
        (token(), any::<(u64, u64)>()).prop_map(|(token, (number, duration_ms))| {
            AgentOrder::Lease(Lease { number, token, duration_ms })
        }),
        shard_list().prop_map(AgentOrder::Shards),
    ]
}

/// Everything a shard says.
pub fn shard_message() -> impl Strategy<Value = ShardMessage> {
    prop_oneof![
        (shard_name(), text()).prop_map(|(name, address)| ShardMessage::Hello { name, address }),
        hello().prop_map(|hello| ShardMessage::NodeHello(Box::new(hello))),
        (node_name(), any::<u64>(), report()).prop_map(|(node, session, report)| ShardMessage::NodeReport {
            node,
            session: LinkSession(session),
            report,
        }),
        (node_name(), any::<u64>())
            .prop_map(|(node, session)| ShardMessage::NodeGone { node, session: LinkSession(session) }),
        Just(ShardMessage::Alive),
        (node_name(), any::<(u64, u64)>()).prop_map(|(node, (session, number))| {
            ShardMessage::NodeLeaseRequest { node, session: LinkSession(session), number }
        }),
    ]
}

fn log_request() -> impl Strategy<Value = LogRequest> {
    let attempt = (uid(), any::<(u32, u32)>()).prop_map(|(job, (task, attempt))| AttemptId {
        job,
        task: TaskIndex(task),
        attempt: Attempt(attempt),
    });
    (any::<u64>(), node_name(), attempt, any::<(bool, u64, u64)>()).prop_map(
        |(ticket, node, attempt, (stderr, offset, max_bytes))| LogRequest {
            ticket,
            node,
            attempt,
            stderr,
            offset,
            max_bytes,
        },
    )
}

/// Everything a shard is told.
pub fn master_message() -> impl Strategy<Value = MasterMessage> {
    prop_oneof![
        any::<(u32, u64, u64)>().prop_map(|(shard, heartbeat_ms, silence_ms)| MasterMessage::Welcome {
            shard: ShardId(shard),
            heartbeat_ms,
            silence_ms,
        }),
        (node_name(), any::<u64>(), agent_order()).prop_map(|(node, session, order)| MasterMessage::ToNode {
            node,
            session: LinkSession(session),
            order,
        }),
        shard_list().prop_map(MasterMessage::Shards),
        log_request().prop_map(MasterMessage::FetchLog),
    ]
}
