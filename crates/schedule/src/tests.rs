//! The pass against a real cell: what it proposes is applied, and must never be refused.

use std::sync::Arc;

use paceline_cell::{Applied, Cell, Command, CommandBody, Entry, Event, Reply, ReportedRun, ReportedState};
use paceline_rules::{
    Constraint, JobSpec, Labels, NodeTerms, Operator, Override, SIMULATED, Simulate, Taint, feasible,
};
use paceline_types::{
    AgentInstance, BootId, ExitStatus, JobUid, LEASE_WAIT_MS, NodeEpoch, NodeId, NodeName, Reason, Resources,
    Revision, TaskIndex, TaskState,
};
use proptest::prelude::*;

use crate::{Change, Holds, Obstacle, PassLimits, Proposal, Scheduler, Waiting, explain_job};

/// A cell and the revision it has come to.
struct World {
    cell: Cell,
}

impl World {
    fn new() -> Self {
        Self { cell: Cell::genesis("test") }
    }

    fn apply(&mut self, bodies: Vec<CommandBody>) -> Vec<Reply> {
        self.applied(bodies).replies
    }

    fn events(&mut self, bodies: Vec<CommandBody>) -> Vec<Event> {
        self.applied(bodies).events
    }

    fn applied(&mut self, bodies: Vec<CommandBody>) -> Applied {
        let commands = bodies.into_iter().map(Command::from).collect();
        let revision = self.cell.revision().next();
        let applied = self.cell.apply(revision, &Entry { unix_ms: 0, commands });
        assert_eq!(self.cell.check(), Vec::<String>::new());
        applied
    }

    fn node(&mut self, number: u8, capacity: Resources, labels: &[(&str, &str)]) -> NodeId {
        self.node_with(number, capacity, labels, Vec::new())
    }

    fn virtual_node(&mut self, number: u8, capacity: Resources) -> NodeId {
        self.node_with(number, capacity, &[], vec![SIMULATED.to_owned()])
    }

    fn node_with(
        &mut self,
        number: u8,
        capacity: Resources,
        labels: &[(&str, &str)],
        capabilities: Vec<String>,
    ) -> NodeId {
        let name: NodeName = format!("n{number}").parse().expect("a name");
        let labels: Labels =
            labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let body = CommandBody::RegisterNode {
            name,
            instance: AgentInstance([number; 16]),
            boot: BootId([number; 16]),
            capacity,
            labels,
            capabilities,
        };
        match self.apply(vec![body]).remove(0) {
            Reply::NodeRegistered { node, .. } => node,
            other => panic!("{other:?}"),
        }
    }

    fn submit(&mut self, spec: JobSpec) -> JobUid {
        match self
            .apply(vec![CommandBody::SubmitJob { spec: Arc::new(spec), submitted_unix_ms: 0 }])
            .remove(0)
        {
            Reply::JobSubmitted { uid, .. } => uid,
            other => panic!("{other:?}"),
        }
    }

    /// Applies proposals one entry each; none may be refused.
    fn commit(&mut self, scheduler: &mut Scheduler, proposals: Vec<Proposal>) {
        for proposal in proposals {
            let reply = self.apply(vec![proposal.command.clone()]).remove(0);
            assert!(!matches!(reply, Reply::Refused(_)), "{reply:?} to {:?}", proposal.command);
            scheduler.committed(proposal.id, self.cell.revision());
        }
    }

    fn why(&self, job: JobUid) -> Option<Waiting> {
        explain_job(&self.cell, self.cell.job(job).expect("the job"), |_| true)
    }

    fn place(&mut self, scheduler: &mut Scheduler) -> usize {
        let proposals = scheduler.pass(&self.cell, &PassLimits::default(), |_| true);
        let count = proposals.len();
        self.commit(scheduler, proposals);
        count
    }

    fn on_node(&self, job: JobUid, node: NodeId) -> usize {
        let job = self.cell.job(job).expect("the job");
        (0..job.spec.tasks)
            .filter(|&at| job.task(TaskIndex(at)).is_some_and(|task| task.node == Some(node)))
            .count()
    }

    fn count(&self, job: JobUid, state: TaskState) -> u32 {
        self.cell.job(job).expect("the job").count(state)
    }
}

fn job(name: &str, tasks: u32, cpu: u64) -> JobSpec {
    JobSpec::batch(name, tasks, &["/bin/true"], Resources::new(cpu, 1))
}

#[test]
fn tasks_fill_the_fullest_node_that_has_room() {
    let mut world = World::new();
    let large = world.node(1, Resources::new(4_000, 100), &[]);
    let small = world.node(2, Resources::new(1_000, 100), &[]);
    let uid = world.submit(job("j", 3, 500));
    world.place(&mut Scheduler::new());
    assert_eq!((world.on_node(uid, small), world.on_node(uid, large)), (2, 1));
}

#[test]
fn what_was_proposed_is_not_proposed_again_before_it_is_in_the_view() {
    let mut world = World::new();
    world.node(1, Resources::new(1_000, 100), &[]);
    let uid = world.submit(job("j", 4, 500));
    let mut scheduler = Scheduler::new();
    let first = scheduler.pass(&world.cell, &PassLimits::default(), |_| true);
    assert_eq!(first.len(), 1);
    assert!(scheduler.pass(&world.cell, &PassLimits::default(), |_| true).is_empty());
    world.commit(&mut scheduler, first);
    assert_eq!(world.place(&mut scheduler), 0);
    assert_eq!(scheduler.open_proposals(), 0);
    assert_eq!((world.count(uid, TaskState::Assigned), world.count(uid, TaskState::Pending)), (2, 2));
}

#[test]
fn a_refused_proposal_gives_its_room_back() {
    let mut world = World::new();
    world.node(1, Resources::new(1_000, 100), &[]);
    world.submit(job("j", 2, 500));
    let mut scheduler = Scheduler::new();
    let lost = scheduler.pass(&world.cell, &PassLimits::default(), |_| true);
    scheduler.released(lost[0].id);
    assert_eq!(world.place(&mut scheduler), 1);
}

#[test]
fn max_running_counts_what_is_under_way() {
    let mut world = World::new();
    world.node(1, Resources::new(10_000, 100), &[]);
    let uid = world.submit(JobSpec { max_running: Some(3), ..job("j", 10, 100) });
    let mut scheduler = Scheduler::new();
    let first = scheduler.pass(&world.cell, &PassLimits { tasks: 2, ..PassLimits::default() }, |_| true);
    assert_eq!(scheduler.pass(&world.cell, &PassLimits::default(), |_| true).len(), 1);
    world.commit(&mut scheduler, first);
    let job = world.cell.job(uid).expect("the job");
    assert_eq!(job.count(TaskState::Assigned), 2);
    let none = world.submit(JobSpec { max_running: Some(0), ..job_named("none") });
    let why = world.why(none).expect("waits");
    assert_eq!((why.reason, why.change), (Reason::MaxRunning, Change::RaiseMaxRunning { limit: 0 }));
}

fn job_named(name: &str) -> JobSpec {
    job(name, 1, 100)
}

#[test]
fn constraints_taints_and_drains_keep_tasks_away_and_are_explained() {
    let mut world = World::new();
    let east = world.node(1, Resources::new(1_000, 100), &[("zone", "east")]);
    let west = world.node(2, Resources::new(1_000, 100), &[("zone", "west")]);
    let zone = |value: &str| {
        vec![Constraint { label: "zone".into(), operator: Operator::In, values: vec![value.to_owned()] }]
    };
    let in_west = world.submit(JobSpec { constraints: zone("west"), ..job("west", 1, 100) });
    let nowhere = world.submit(JobSpec { constraints: zone("north"), ..job("north", 1, 100) });
    let huge = world.submit(job("huge", 1, 5_000));
    let mut scheduler = Scheduler::new();
    world.place(&mut scheduler);
    assert_eq!((world.on_node(in_west, west), world.on_node(in_west, east)), (1, 0));
    assert_eq!(world.why(nowhere).map(|why| why.reason), Some(Reason::NoNodeMatches));
    assert_eq!(world.why(huge).map(|why| why.reason), Some(Reason::NoNodeFits));
    assert_eq!(world.why(in_west), None);

    let taint = Taint { key: "gpu".into(), value: String::new() };
    let node = |number: u8| -> NodeName { format!("n{number}").parse().expect("a name") };
    world.apply(vec![CommandBody::TaintNode { node: node(1), set: vec![taint], unset: Vec::new() }]);
    world.apply(vec![CommandBody::DrainNode { node: node(2) }]);
    let stuck = world.submit(job("stuck", 1, 100));
    assert_eq!(world.place(&mut scheduler), 0);
    let why = world.why(stuck).expect("waits");
    assert_eq!(why.reason, Reason::NodeDraining);
    assert_eq!(why.nodes, [(Reason::NodeDraining, 1), (Reason::TaintNotTolerated, 1)].into());
    assert_eq!(why.change, Change::Nearest { node: node(2), obstacles: vec![Obstacle::Draining] });
}

#[test]
fn simulated_jobs_wait_for_nodes_that_simulate_and_real_ones_pass_them_by() {
    let mut world = World::new();
    let real_node = world.node(1, Resources::new(1_000, 100), &[]);
    let simulated = world.submit(JobSpec { simulate: Some(Simulate::lasting(5)), ..job("s", 2, 100) });
    let mut scheduler = Scheduler::new();
    assert_eq!(world.place(&mut scheduler), 0);
    let why = world.why(simulated).expect("waits");
    assert_eq!(why.reason, Reason::NoNodeMatches);
    assert_eq!(why.nodes, [(Reason::NodeIsReal, 1)].into());
    assert!(helps(&world, &job_of(&world, simulated), &why));
    let virtual_node = world.virtual_node(2, Resources::new(1_000, 100));
    let real = world.submit(job("r", 20, 100));
    world.place(&mut scheduler);
    assert_eq!((world.on_node(simulated, virtual_node), world.on_node(real, real_node)), (2, 10));
    let why = world.why(real).expect("waits");
    assert_eq!(why.reason, Reason::NoFreeCapacity);
    assert_eq!(why.nodes, [(Reason::CpuShort, 1), (Reason::NodeSimulates, 1)].into());
}

fn job_of(world: &World, uid: JobUid) -> JobSpec {
    (*world.cell.job(uid).expect("the job").spec).clone()
}

#[test]
fn the_change_that_is_named_is_the_smallest() {
    let mut world = World::new();
    let nobody = world.submit(job("nobody", 2, 100));
    let why = world.why(nobody).expect("waits");
    assert_eq!((why.reason, why.tasks, why.change), (Reason::NoNodeMatches, 2, Change::AddNode));

    world.node(1, Resources::new(1_000, 100), &[("zone", "east")]);
    world.node(2, Resources::new(4_000, 100), &[("zone", "west")]);
    let why = world.why(nobody).expect("waits for the next pass");
    assert_eq!((why.reason, why.ready, why.change), (Reason::None, 2, Change::None));
    let silent =
        explain_job(&world.cell, world.cell.job(nobody).expect("the job"), |_| false).expect("waits");
    assert_eq!((silent.ready, silent.silent, silent.change), (0, 2, Change::HearNodes));

    let mut scheduler = Scheduler::new();
    world.place(&mut scheduler);
    let full = world.submit(job("full", 1, 4_000));
    let obstacles = vec![Obstacle::TooSmall { capacity: Resources::new(1_000, 100) }];
    let n1: NodeName = "n1".parse().expect("a name");
    world.apply(vec![CommandBody::DrainNode { node: "n2".parse().expect("a name") }]);
    let why = world.why(full).expect("waits");
    assert_eq!(
        why.change,
        Change::Nearest { node: "n2".parse().expect("a name"), obstacles: vec![Obstacle::Draining] },
        "a node that is large enough and drains is closer than one that is too small"
    );
    world.apply(vec![CommandBody::RemoveNode { node: "n2".parse().expect("a name") }]);
    let why = world.why(full).expect("waits");
    assert_eq!((why.reason, why.change), (Reason::NoNodeFits, Change::Nearest { node: n1, obstacles }));
}

/// Whether a task would be let onto the nearest node if all obstacles there were removed.
fn helps(world: &World, job: &JobSpec, why: &Waiting) -> bool {
    let Change::Nearest { node, obstacles } = &why.change else { return false };
    let node = world.cell.node_by_name(node).expect("a node of the cell");
    let mut spec = job.clone();
    let mut taints = node.taints().to_vec();
    let mut free = node.capacity.saturating_sub(&node.used);
    let (mut draining, mut simulates) = (node.draining, node.simulates());
    for obstacle in obstacles {
        match obstacle {
            Obstacle::Full { .. } | Obstacle::TooSmall { .. } => free = why.need,
            Obstacle::Draining => draining = false,
            Obstacle::Taint(taint) => taints.retain(|known| known != taint),
            Obstacle::Constraint(term) => spec.constraints.retain(|known| known != term),
            Obstacle::Real | Obstacle::Simulates => simulates = job.simulate.is_some(),
        }
    }
    feasible(&spec, &why.need, &NodeTerms { free, draining, simulates, taints: &taints, ..node.terms() })
        .is_ok()
}

#[test]
fn a_node_that_is_lost_or_replaced_is_explained_by_what_brings_it_back() {
    let mut world = World::new();
    let node = world.node(1, Resources::new(1_000, 100 << 20), &[]);
    let uid = world.submit(job("a", 1, 100));
    let name = world.cell.node(node).expect("there").name.clone();
    world.apply(vec![CommandBody::WriteOffNode { node, epoch: NodeEpoch(1), silent_ms: 60_000 }]);
    let why = world.why(uid).expect("it waits");
    assert_eq!((why.silent, why.ready, why.change), (1, 0, Change::HearNodes));
    assert!(Scheduler::new().pass(&world.cell, &PassLimits::default(), |_| true).is_empty());
    world.apply(vec![CommandBody::ReplaceNode { node: name.clone() }]);
    let why = world.why(uid).expect("it waits");
    assert_eq!(why.change, Change::Nearest { node: name, obstacles: vec![Obstacle::Draining] });
}

#[test]
fn a_requeued_task_follows_its_last_attempt() {
    let mut world = World::new();
    let node = world.node(1, Resources::new(1_000, 100), &[]);
    let uid = world.submit(JobSpec { max_attempts: 2, ..job("j", 1, 100) });
    let mut scheduler = Scheduler::new();
    for attempt in 1..=2 {
        assert_eq!(world.place(&mut scheduler), 1);
        let task = world.cell.job(uid).and_then(|job| job.task(TaskIndex(0))).expect("the task");
        assert_eq!(task.attempt.0, attempt);
        let observed =
            ReportedState::Ended { status: Some(ExitStatus::Code(1)), reason: Reason::ExitedNonZero };
        let run =
            ReportedRun { job: uid, attempt: task.attempt, tasks: "0".parse().expect("valid"), observed };
        let epoch = world.cell.node(node).expect("the node").epoch;
        world.apply(vec![CommandBody::Report { node, epoch, runs: vec![run] }]);
    }
    assert_eq!(world.count(uid, TaskState::Failed), 1);
    assert_eq!(world.place(&mut scheduler), 0);
}

#[test]
fn a_pass_stays_within_its_limits_and_goes_on_in_the_next() {
    let mut world = World::new();
    world.node(1, Resources::new(1_000_000, 1_000_000), &[]);
    let uid = world.submit(job("j", 100, 1));
    let mut scheduler = Scheduler::new();
    let limits = PassLimits { tasks: 40, ..PassLimits::default() };
    for placed in [40, 80, 100, 100] {
        let proposals = scheduler.pass(&world.cell, &limits, |_| true);
        world.commit(&mut scheduler, proposals);
        assert_eq!(world.count(uid, TaskState::Assigned), placed);
    }
    assert!(scheduler.pass(&world.cell, &PassLimits { open_proposals: 0, ..limits }, |_| true).is_empty());
}

#[test]
fn tasks_that_fit_nowhere_do_not_hold_up_those_that_do() {
    let mut world = World::new();
    world.node(1, Resources::new(1_000, 100), &[]);
    let huge = Override {
        tasks: "0-1".parse().expect("valid"),
        resources: Some(Resources::new(9_000, 1)),
        ..Override::default()
    };
    let uid = world.submit(JobSpec { max_running: Some(2), overrides: vec![huge], ..job("j", 5, 100) });
    world.place(&mut Scheduler::new());
    assert_eq!(world.count(uid, TaskState::Assigned), 2);
}

#[test]
fn nothing_is_placed_on_a_node_that_is_not_usable() {
    let mut world = World::new();
    let dark = world.node(1, Resources::new(1_000, 100), &[]);
    world.submit(job("j", 1, 100));
    let mut scheduler = Scheduler::new();
    assert!(scheduler.pass(&world.cell, &PassLimits::default(), |node| node.id != dark).is_empty());
    assert_eq!(world.place(&mut scheduler), 1);
}

#[test]
fn a_pass_that_has_looked_enough_goes_on_where_it_stopped() {
    let mut world = World::new();
    world.node(1, Resources::new(1_000, 100), &[]);
    for at in 0..3 {
        world.submit(job(&format!("huge{at}"), 1, 9_000));
    }
    let fits = world.submit(job("fits", 1, 100));
    let mut scheduler = Scheduler::new();
    let limits = PassLimits { visits: 1, ..PassLimits::default() };
    let placed: Vec<usize> = (0..4).map(|_| scheduler.pass(&world.cell, &limits, |_| true).len()).collect();
    assert_eq!(placed, [0, 0, 0, 1]);
    assert_eq!(world.count(fits, TaskState::Pending), 1);
}

#[test]
fn one_job_of_many_needs_is_looked_at_in_many_passes_and_then_they_rest() {
    let mut world = World::new();
    world.node(1, Resources::new(1_000, 1_000), &[]);
    let spec = |name: &str, cpu_milli: u64| {
        let over = |at: u32| Override {
            tasks: at.to_string().parse().expect("valid"),
            resources: Some(Resources::new(cpu_milli + u64::from(at), 1)),
            ..Override::default()
        };
        JobSpec { overrides: (0..10).map(over).collect(), ..job(name, 10, cpu_milli) }
    };
    world.submit(spec("huge", 5_000));
    world.submit(spec("also", 6_000));
    world.submit(job("fits", 1, 100));
    let mut scheduler = Scheduler::new();
    let limits = PassLimits { visits: 4, ..PassLimits::default() };
    let mut passes = 0;
    let mut placed = 0;
    loop {
        placed += scheduler.pass(&world.cell, &limits, |_| true).len();
        passes += 1;
        if !scheduler.is_unfinished() {
            break;
        }
        assert!(passes < 10, "passes over one view come to rest");
    }
    assert_eq!((placed, passes), (1, 6), "21 classes, 4 a pass");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever nodes and jobs there are, every prefix of what a pass proposes is accepted by the cell, and when the
    /// passes come to rest no pending task could still be placed.
    #[test]
    fn every_prefix_of_a_pass_is_feasible_and_nothing_placeable_is_left(
        nodes in proptest::collection::vec((100_u64..2_000, 10_u64..50, 0_u8..3), 1..6),
        jobs in proptest::collection::vec((1_u32..20, 50_u64..900, 0_u8..4, proptest::option::of(0_u32..5)), 1..6),
    ) {
        let mut world = World::new();
        for (number, (cpu, memory, zone)) in (1_u8..).zip(&nodes) {
            world.node(number, Resources::new(*cpu, *memory), &[("zone", &zone.to_string())]);
        }
        for (at, (tasks, cpu, zone, max_running)) in jobs.iter().enumerate() {
            let mut spec = job(&format!("j{at}"), *tasks, *cpu);
            spec.max_running = *max_running;
            if *zone < 3 {
                spec.constraints =
                    vec![Constraint { label: "zone".into(), operator: Operator::In, values: vec![zone.to_string()] }];
            }
            let half = Override {
                tasks: "0".parse().expect("valid"),
                resources: Some(Resources::new(cpu / 2 + 1, 3)),
                ..Override::default()
            };
            spec.overrides = vec![half];
            world.submit(spec);
        }
        let mut scheduler = Scheduler::new();
        while world.place(&mut scheduler) > 0 {}
        for job in world.cell.jobs() {
            let waiting = job.pending_runs().next().is_some();
            let why = world.why(job.uid);
            prop_assert_eq!(why.is_some(), waiting, "job {}", job.name);
            let Some(why) = why else { continue };
            prop_assert_eq!((why.ready, why.tasks), (0, job.count(TaskState::Pending)));
            if why.reason != Reason::MaxRunning {
                prop_assert_eq!(why.nodes.values().map(|&count| count as usize).sum::<usize>(), nodes.len());
                prop_assert!(helps(&world, &job.spec, &why), "{why:?}");
            }
        }
        prop_assert!(world.cell.revision() > Revision(0));
    }
}

#[test]
fn a_task_whose_lease_may_be_out_is_held_back_and_placed_when_it_is_over() {
    let mut world = World::new();
    let mut leased = job("leased", 2, 100);
    leased.at_most_one = true;
    let (leased, other) = (world.submit(leased), world.submit(job("other", 1, 100)));
    let (gone, _) =
        (world.node(1, Resources::new(300, 100), &[]), world.node(2, Resources::new(400, 100), &[]));
    let mut scheduler = Scheduler::new();
    assert_eq!(world.place(&mut scheduler), 2);
    assert_eq!((world.on_node(leased, gone), world.on_node(other, gone)), (2, 1));
    let name = world.cell.node(gone).expect("there").name.clone();
    let mut holds = Holds::default();
    let events = world.events(vec![CommandBody::RemoveNode { node: name }]);
    let held: Vec<bool> = events.iter().map(|event| holds.note(event, &world.cell, 1_000)).collect();
    assert_eq!(held.iter().filter(|held| **held).count(), 1, "{events:?}");
    scheduler.hold_back(holds.tasks());
    assert_eq!(world.place(&mut scheduler), 1, "the other job needs no lease");
    let why = world.why(leased).expect("it waits");
    assert_eq!(why.change, Change::OutwaitLease);
    assert!(why.explanation().contains("its lease is over after 42 s at most"), "{}", why.explanation());
    assert_eq!(holds.due_ms(), Some(1_000 + LEASE_WAIT_MS));
    assert!(!holds.free(999 + LEASE_WAIT_MS));
    let next = Holds::at_office(&world.cell, 5_000);
    assert_eq!((next.due_ms(), next.tasks()), (Some(5_000 + LEASE_WAIT_MS), holds.tasks()));
    assert!(holds.free(1_000 + LEASE_WAIT_MS));
    scheduler.hold_back(holds.tasks());
    assert_eq!(world.place(&mut scheduler), 1);
    assert_eq!(world.count(leased, TaskState::Assigned), 2);
    assert!(Holds::at_office(&world.cell, 0).tasks().is_empty(), "nothing waits");
}
