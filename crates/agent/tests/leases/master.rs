//! A leadership: hub, scheduler and holds over the view that this master has.

use std::collections::{BTreeSet, VecDeque};

use paceline_cell::{Cell, CommandBody, Event, Reply, ReportedRun, ReportedState};
use paceline_link::message::{Hello, MasterMessage, Observed, ShardMessage};
use paceline_link::{Hub, HubAction, HubConfig, HubEvent, LinkId, Liveness, ReportProposal, WriteOff};
use paceline_schedule::{Holds, PassLimits, ProposalId, Scheduler};
use paceline_types::{NodeId, Revision, Term};

use crate::node::Clock;
use crate::view::View;

/// Something that may be committed while it leads.
pub enum Proposal {
    Shard { link: LinkId, body: CommandBody },
    Register(Box<Hello>),
    Report(ReportProposal),
    WriteOff(WriteOff),
    Assign(ProposalId, CommandBody),
}

pub struct Master {
    pub term: u64,
    pub view: Cell,
    pub paused: bool,
    hub: Hub,
    scheduler: Scheduler,
    holds: Holds,
    /// Nothing is held: a bug for the harness to find.
    careless: bool,
    clock: Clock,
    timer_ms: u64,
    /// A round that waits for a majority, and one that has its answer.
    pub asked: Option<u64>,
    pub answered: Option<(u64, bool)>,
    pub proposals: VecDeque<Proposal>,
    pub inbox: VecDeque<(LinkId, Vec<ShardMessage>)>,
    pub outbox: VecDeque<(LinkId, Vec<MasterMessage>)>,
}

impl Master {
    pub fn new(term: u64, view: Cell, clock: Clock, world_ms: u64, careless: bool) -> Self {
        let holds = Holds::at_office(&view, clock.read(world_ms));
        let mut master = Self {
            term,
            view,
            paused: false,
            hub: Hub::new(HubConfig::default()),
            scheduler: Scheduler::new(),
            holds,
            careless,
            clock,
            timer_ms: 0,
            asked: None,
            answered: None,
            proposals: VecDeque::new(),
            inbox: VecDeque::new(),
            outbox: VecDeque::new(),
        };
        master.hold_back();
        master
    }

    fn hold_back(&mut self) {
        self.scheduler.hold_back(if self.careless { Default::default() } else { self.holds.tasks() });
    }

    pub fn tell(&mut self, event: HubEvent, world_ms: u64) {
        let view = View(&self.view, Term(self.term));
        for action in self.hub.handle(event, &view, self.clock.read(world_ms)) {
            match action {
                HubAction::RegisterShard { link, name, address } => {
                    let body = CommandBody::RegisterShard { name, address };
                    self.proposals.push_back(Proposal::Shard { link, body });
                }
                HubAction::Register { hello } => self.proposals.push_back(Proposal::Register(hello)),
                HubAction::ProposeReport(report) => self.proposals.push_back(Proposal::Report(report)),
                HubAction::WriteOff(off) => self.proposals.push_back(Proposal::WriteOff(off)),
                HubAction::Send { link, messages } => self.outbox.push_back((link, messages)),
                HubAction::ConfirmLeadership { round } => self.asked = Some(round),
                _ => {}
            }
        }
    }

    /// Does what is to be done now.
    pub fn act(&mut self, world_ms: u64) {
        if self.paused {
            return;
        }
        if let Some((round, confirmed)) = self.answered.take() {
            self.tell(HubEvent::LeadershipConfirmed { round, confirmed }, world_ms);
        }
        while let Some((link, messages)) = self.inbox.pop_front() {
            self.tell(HubEvent::ShardMessages { link, messages }, world_ms);
        }
        let now_ms = self.clock.read(world_ms);
        if now_ms >= self.timer_ms {
            self.timer_ms = now_ms + 500;
            self.tell(HubEvent::Timer, world_ms);
        }
        if self.holds.free(now_ms) {
            self.hold_back();
        }
        let hub = &self.hub;
        let usable = |node: &paceline_cell::Node| {
            matches!(hub.presence(&node.name, node.lost, now_ms), Liveness::Up | Liveness::Unheard)
        };
        for proposal in self.scheduler.pass(&self.view, &PassLimits::default(), usable) {
            self.proposals.push_back(Proposal::Assign(proposal.id, proposal.command));
        }
    }

    /// The view moved on.
    pub fn publish(&mut self, view: &Cell, events: &[Event], world_ms: u64) {
        self.view = view.clone();
        let now_ms = self.clock.read(world_ms);
        let mut held = false;
        for event in events {
            held |= self.holds.note(event, view, now_ms);
        }
        if held {
            self.hold_back();
        }
        let nodes: BTreeSet<NodeId> = events.iter().filter_map(node_of).collect();
        self.tell(HubEvent::NodesChanged { nodes: nodes.into_iter().collect() }, world_ms);
        if events.iter().any(|event| matches!(event, Event::ShardsChanged { .. })) {
            self.tell(HubEvent::ShardsChanged, world_ms);
        }
    }

    /// A proposal was applied.
    pub fn settled(&mut self, proposal: Proposal, reply: Reply, revision: Revision, world_ms: u64) {
        let event = match proposal {
            Proposal::Shard { .. } => HubEvent::ShardsChanged,
            Proposal::Register(hello) => match reply {
                Reply::NodeRegistered { .. } => {
                    HubEvent::NodeRegistered { node: hello.node, session: hello.session }
                }
                other => HubEvent::RegistrationRefused {
                    node: hello.node,
                    session: hello.session,
                    message: format!("{other:?}"),
                },
            },
            Proposal::Report(report) => HubEvent::ReportApplied {
                node: report.name,
                session: report.session,
                sequence: report.sequence,
            },
            Proposal::WriteOff(off) => HubEvent::WriteOffSettled { node: off.name, applied: true },
            Proposal::Assign(id, _) => {
                return match reply {
                    Reply::Refused(_) => self.scheduler.released(id),
                    _ => self.scheduler.committed(id, revision),
                };
            }
        };
        self.tell(event, world_ms);
    }
}

/// What a proposal puts into the log.
pub fn command(proposal: &Proposal) -> CommandBody {
    match proposal {
        Proposal::Shard { body, .. } | Proposal::Assign(_, body) => body.clone(),
        Proposal::Register(hello) => CommandBody::RegisterNode {
            name: hello.node.clone(),
            instance: hello.instance,
            boot: hello.boot,
            capacity: hello.capacity,
            labels: hello.labels.clone(),
            capabilities: hello.capabilities.clone(),
        },
        Proposal::WriteOff(off) => {
            CommandBody::WriteOffNode { node: off.id, epoch: off.epoch, silent_ms: off.silent_ms }
        }
        Proposal::Report(report) => CommandBody::Report {
            node: report.node,
            epoch: report.epoch,
            runs: report
                .runs
                .iter()
                .map(|run| ReportedRun {
                    job: run.job,
                    attempt: run.attempt,
                    tasks: run.tasks.clone(),
                    observed: match run.observed {
                        Observed::Running => ReportedState::Running,
                        Observed::Ended { status, reason } => ReportedState::Ended { status, reason },
                    },
                })
                .collect(),
        },
    }
}

fn node_of(event: &Event) -> Option<NodeId> {
    match event {
        Event::TasksAssigned { node, .. }
        | Event::TasksStopping { node, .. }
        | Event::TasksRequeued { node, .. }
        | Event::NodeRegistered { node, .. }
        | Event::NodeChanged { node, .. }
        | Event::NodeLost { node, .. }
        | Event::NodeRemoved { node, .. } => Some(*node),
        Event::TasksEnded { node, .. } => *node,
        _ => None,
    }
}
