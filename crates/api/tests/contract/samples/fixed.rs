//! One value of everything, every field different from its default. The golden bytes are of these: never change
//! one, add another.

use std::collections::BTreeMap;

use paceline_api::v1;
use paceline_link::message::{
    AgentMessage, AgentOrder, Desired, Hello, JobBody, Lease, LogRequest, MasterMessage, Observed, OrderRun,
    OrderSet, Orders, Report, ReportRun, ShardAddress, ShardList, ShardMessage,
};
use paceline_rules::{
    Constraint, Failures, JobKind, JobSpec, Kills, LaunchFaults, Operator, Override, RunsMs, Simulate,
    TaskSpec, Toleration,
};
use paceline_types::{
    AgentInstance, Attempt, AttemptId, BootId, ExitStatus, FenceToken, Generation, IndexSet, JobUid,
    LinkSession, NodeEpoch, NodeId, NodeName, OnStop, Reason, Resources, Revision, ShardId, SpecVersion,
    TaskIndex, Term,
};

fn pairs(all: &[(&str, &str)]) -> BTreeMap<String, String> {
    all.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn words(all: &[&str]) -> Vec<String> {
    all.iter().map(|&word| word.to_owned()).collect()
}

fn indices(text: &str) -> IndexSet {
    text.parse().expect("valid")
}

fn node() -> NodeName {
    "node-7".parse().expect("valid")
}

fn uid() -> JobUid {
    JobUid { revision: Revision(300), ordinal: 2 }
}

/// A specification with every field set.
pub fn spec() -> JobSpec {
    let term = |label: &str, operator, values: &[&str]| Constraint {
        label: label.to_owned(),
        operator,
        values: words(values),
    };
    JobSpec {
        name: "hello".to_owned(),
        kind: JobKind::Batch,
        pool: "/".to_owned(),
        tasks: 20_000,
        template: TaskSpec {
            run: words(&["/bin/sh", "-c", "exit 0"]),
            env: pairs(&[("A", "1"), ("B", "")]),
            user: Some("nobody".to_owned()),
            resources: Resources::new(10, 8 << 20),
            cpu_limit_milli: Some(500),
            time_limit_ms: Some(60_000),
            grace_ms: 5_000,
        },
        overrides: vec![Override {
            tasks: indices("0-3,9"),
            run: Some(words(&["/bin/false"])),
            env: pairs(&[("A", "2")]),
            resources: Some(Resources::new(20, 16 << 20)),
            time_limit_ms: Some(30_000),
        }],
        max_attempts: 3,
        max_running: Some(0),
        max_failed_tasks: Some(7),
        replace_after_ms: None,
        constraints: vec![
            term("rack", Operator::In, &["r1", "r2"]),
            term("disk", Operator::NotIn, &["hdd"]),
            term("gpu", Operator::Absent, &[]),
            term("zone", Operator::Exists, &[]),
        ],
        tolerations: vec![
            Toleration { key: "batch".to_owned(), value: None },
            Toleration { key: "old".to_owned(), value: Some("yes".to_owned()) },
        ],
        labels: pairs(&[("team", "infra")]),
        simulate: None,
        at_most_one: false,
    }
}

/// A specification with every field of a job that only pretends to run.
pub fn simulated_spec() -> JobSpec {
    let block = Simulate {
        runs: RunsMs { from: 1_000, to: 90_000 },
        failures: Some(Failures { permille: 20, exit_code: 3 }),
        kills: Some(Kills { permille: 10, signal: 11 }),
        out_of_memory_permille: 5,
        on_stop: OnStop::EndsAfter(200),
        launch_faults: Some(LaunchFaults { permille: 7, times: 2 }),
        output_bytes_per_second: 64,
    };
    JobSpec {
        simulate: Some(block),
        ..JobSpec::batch("pretend", 3, &["/bin/true"], Resources::new(10, 8 << 20))
    }
}

/// A specification whose tasks need leases.
pub fn at_most_one_spec() -> JobSpec {
    JobSpec { at_most_one: true, ..JobSpec::batch("single", 2, &["/bin/true"], Resources::new(10, 8 << 20)) }
}

/// A lease as the agent asks for it, the shard passes that on, and the leader grants it.
pub fn lease_messages() -> (AgentMessage, ShardMessage, AgentOrder) {
    let number = 12;
    let token = FenceToken { generation: Generation(1), term: Term(2), revision: Revision(302) };
    (
        AgentMessage::LeaseRequest { number },
        ShardMessage::NodeLeaseRequest { node: node(), session: LinkSession(5), number },
        AgentOrder::Lease(Lease { number, token, duration_ms: 40_000 }),
    )
}

fn hello() -> Hello {
    Hello {
        node: node(),
        instance: AgentInstance([0xa1; 16]),
        boot: BootId([0xb2; 16]),
        epoch: NodeEpoch(4),
        session: LinkSession(5),
        fence: FenceToken { generation: Generation(1), term: Term(2), revision: Revision(299) },
        capacity: Resources::new(32_000, 64 << 30),
        labels: pairs(&[("rack", "r1")]),
        capabilities: words(&["memory_limit", "cpu_weight"]),
        certificate_der: vec![0x30, 0x82],
        signature: vec![0x51, 0x9e],
    }
}

fn report() -> Report {
    let run = |attempt, tasks, observed, pids| ReportRun {
        job: uid(),
        attempt: Attempt(attempt),
        tasks: indices(tasks),
        observed,
        pids,
    };
    let ended = |status, reason| Observed::Ended { status, reason };
    Report {
        sequence: 6,
        runs: vec![
            run(1, "0-1,5", Observed::Running, vec![700, 701, 99_000]),
            run(1, "2", ended(Some(ExitStatus::Code(0)), Reason::ExitedZero), Vec::new()),
            run(2, "3", ended(Some(ExitStatus::Signal(9)), Reason::OutOfMemory), Vec::new()),
            run(3, "4", ended(None, Reason::NotOnNode), Vec::new()),
        ],
        table_complete: true,
    }
}

fn orders() -> Orders {
    let run = |tasks, desired| OrderRun { job: uid(), attempt: Attempt(1), tasks: indices(tasks), desired };
    Orders {
        token: FenceToken { generation: Generation(1), term: Term(2), revision: Revision(301) },
        set: OrderSet::Full { first: true, last: true },
        jobs: vec![JobBody { job: uid(), version: SpecVersion(1), spec: vec![1, 2, 3] }],
        runs: vec![
            run("0-999", Desired::Run { assigned: Revision(301) }),
            run("1000", Desired::Stop { grace_ms: 10_000 }),
        ],
    }
}

fn shards() -> ShardList {
    let name = "s1".parse().expect("valid");
    let shard = ShardAddress { id: ShardId(1), name, address: "127.0.0.1:7001".to_owned() };
    ShardList { version: Revision(8), shards: vec![shard] }
}

/// Every kind of what an agent says.
pub fn agent_messages() -> Vec<AgentMessage> {
    vec![AgentMessage::Hello(Box::new(hello())), AgentMessage::Report(report()), AgentMessage::Alive]
}

/// Every kind of what an agent is told.
pub fn agent_orders() -> Vec<AgentOrder> {
    vec![
        AgentOrder::Welcome { node: NodeId(7), epoch: NodeEpoch(4), heartbeat_ms: 1_000 },
        AgentOrder::Orders(orders()),
        AgentOrder::Acknowledge { sequence: 6 },
        AgentOrder::Refused { message: "another instance is live".to_owned(), retry_after_ms: 5_000 },
        AgentOrder::Shards(shards()),
    ]
}

/// Every kind of what a shard says, as one batch.
pub fn shard_messages() -> Vec<ShardMessage> {
    vec![
        ShardMessage::Hello { name: "s1".parse().expect("valid"), address: "127.0.0.1:7001".to_owned() },
        ShardMessage::NodeHello(Box::new(hello())),
        ShardMessage::NodeReport { node: node(), session: LinkSession(5), report: report() },
        ShardMessage::NodeGone { node: node(), session: LinkSession(5) },
        ShardMessage::Alive,
    ]
}

/// Every kind of what a shard is told, as one batch.
pub fn master_messages() -> Vec<MasterMessage> {
    let attempt = AttemptId { job: uid(), task: TaskIndex(5), attempt: Attempt(1) };
    vec![
        MasterMessage::Welcome { shard: ShardId(1), heartbeat_ms: 1_000, silence_ms: 10_000 },
        MasterMessage::ToNode { node: node(), session: LinkSession(5), order: AgentOrder::Orders(orders()) },
        MasterMessage::Shards(shards()),
        MasterMessage::FetchLog(LogRequest {
            ticket: 9,
            node: node(),
            attempt,
            stderr: true,
            offset: 4_096,
            max_bytes: 65_536,
        }),
    ]
}

/// A frame that only names the masters.
pub fn masters_frame() -> v1::MasterFrame {
    let master = |name: &str, api_address: &str| v1::MasterAddress {
        name: name.to_owned(),
        api_address: api_address.to_owned(),
    };
    let masters = vec![master("m1", "127.0.0.1:6001"), master("m2", "127.0.0.1:6002")];
    v1::MasterFrame { messages: Vec::new(), masters: Some(v1::MasterList { masters }) }
}
