//! Reports of one session, in order: waiting, then in flight to the cell, then acknowledged.
//!
//! The watermark moves over reports whose proposals were all applied, and over reports that the applied view
//! already agrees with; both rest on committed entries only.

use std::collections::VecDeque;

use paceline_types::plant::{Plant, is_planted};
use paceline_types::{AttemptId, IndexSet, LinkSession, NodeId, NodeName, TaskIndex};

use super::Hub;
use super::assigned::{Assigned, Known};
use super::event::{HubAction, LinkId, ReportProposal};
use super::node::Node;
use crate::message::{AgentOrder, Observed, Report, ReportRun};
use crate::weight::{BATCH_BYTES_MAX, cut, cut_indices, report_bytes, report_run_bytes};

/// Tasks that one report may speak of. Agents report far fewer; a range costs its sender nothing, so it must be bounded.
const REPORT_TASKS_MAX: u64 = 262_144;

/// The reports of one session.
#[derive(Debug, Default)]
pub(super) struct Reports {
    waiting: VecDeque<Report>,
    waiting_bytes: usize,
    flight: VecDeque<Flight>,
    /// The highest sequence heard on the present stream.
    received: u64,
    acknowledged: u64,
}

/// A report on its way to the cell.
#[derive(Debug)]
struct Flight {
    sequence: u64,
    /// Proposals that were not applied yet.
    outstanding: usize,
    /// It ended the agent's table.
    completes: bool,
}

impl Flight {
    fn is_over(&mut self) -> bool {
        self.outstanding == 0 || is_planted(Plant::ReportAcknowledgedEarly)
    }
}

/// What moved when the front of the flight was applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Settled {
    acknowledged: Option<u64>,
    complete: bool,
}

impl Reports {
    /// The session's stream changed: the shard says everything again that was not acknowledged.
    pub(super) fn restart(&mut self) {
        self.waiting.clear();
        self.waiting_bytes = 0;
        self.received = 0;
        for flight in &mut self.flight {
            flight.completes = false;
        }
    }

    /// Takes a report unless it is a double; says whether it is worth looking on.
    fn receive(&mut self, report: Report) -> bool {
        if report.sequence <= self.received {
            return false;
        }
        self.received = report.sequence;
        self.waiting_bytes += report_bytes(&report);
        self.waiting.push_back(report);
        true
    }

    fn next(&mut self, in_flight_max: usize) -> Option<Report> {
        if self.flight.len() >= in_flight_max {
            return None;
        }
        let report = self.waiting.pop_front()?;
        self.waiting_bytes = self.waiting_bytes.saturating_sub(report_bytes(&report));
        Some(report)
    }

    /// One proposal of this sequence was applied: the first that is outstanding, as they are applied in order.
    fn applied(&mut self, sequence: u64) {
        let mut flight = self.flight.iter_mut();
        if let Some(flight) = flight.find(|flight| flight.sequence == sequence && flight.outstanding > 0) {
            flight.outstanding -= 1;
        }
    }

    fn settle(&mut self) -> Settled {
        let mut settled = Settled::default();
        while let Some(front) = self.flight.pop_front_if(Flight::is_over) {
            self.acknowledged = self.acknowledged.max(front.sequence);
            settled.acknowledged = Some(self.acknowledged);
            settled.complete |= front.completes;
        }
        settled
    }
}

impl Hub {
    pub(super) fn node_report(
        &mut self,
        link: LinkId,
        name: &NodeName,
        number: LinkSession,
        report: Report,
        view: &dyn Assigned,
        now_ms: u64,
    ) {
        let waiting_bytes_max = self.config.waiting_bytes_max;
        let Some(session) = self.session_mut(name, number).filter(|s| s.link == Some(link)) else { return };
        let bytes = report_bytes(&report);
        let tasks = report.runs.iter().map(|run| run.tasks.count()).fold(0, u64::saturating_add);
        if tasks > REPORT_TASKS_MAX {
            let message = format!("a report of {tasks} tasks; at most {REPORT_TASKS_MAX} are taken");
            return self.refuse_session(name, number, message, self.config.refused_retry_ms, now_ms);
        }
        if !session.reports.receive(report) {
            return;
        }
        if session.reports.waiting_bytes > waiting_bytes_max {
            let message =
                format!("more than {waiting_bytes_max} bytes of reports wait; come again with the table");
            return self.refuse_session(name, number, message, self.config.refused_retry_ms, now_ms);
        }
        self.waiting_bytes = self.waiting_bytes.saturating_add(bytes);
        self.pump(name, view);
        self.bound_all(name, number, now_ms);
    }

    /// At the bound over all sessions the one that spoke last is refused: what it said is said again with its table.
    fn bound_all(&mut self, name: &NodeName, number: LinkSession, now_ms: u64) {
        let limit = self.config.all_waiting_bytes_max;
        if self.waiting_bytes <= limit {
            return;
        }
        self.waiting_bytes = self.waiting_sum();
        if self.waiting_bytes > limit {
            let message =
                format!("more than {limit} bytes of reports wait at the leader; come again with the table");
            self.refuse_session(name, number, message, self.config.refused_retry_ms, now_ms);
            self.waiting_bytes = self.waiting_sum();
        }
    }

    /// Exactly what waits.
    pub(super) fn waiting_sum(&self) -> usize {
        let sessions = self.nodes.values().filter_map(|node| node.session.as_ref());
        sessions.map(|session| session.reports.waiting_bytes).sum()
    }

    pub(super) fn report_applied(
        &mut self,
        name: &NodeName,
        number: LinkSession,
        sequence: u64,
        view: &dyn Assigned,
    ) {
        if let Some(session) = self.session_mut(name, number) {
            session.reports.applied(sequence);
            self.pump(name, view);
        }
    }

    /// Moves a session's reports on: waiting into flight, flight into acknowledgements, a complete table into orders.
    pub(super) fn pump(&mut self, name: &NodeName, view: &dyn Assigned) {
        let in_flight_max = self.config.reports_in_flight_max;
        loop {
            let settled = self.acknowledge(name);
            if settled.complete {
                self.table_complete(name, view);
            }
            let Some(node) = self.nodes.get_mut(name) else { return };
            let Some(session) = &mut node.session else { return };
            let (Some((id, epoch)), Some(_)) = (session.welcomed, session.link) else { return };
            let Some(report) = session.reports.next(in_flight_max) else { return };
            let (sequence, completes) = (report.sequence, report.table_complete);
            let number = session.number;
            let news = news(node, id, report, view);
            let batches = cut(news, BATCH_BYTES_MAX, report_run_bytes);
            let Some(session) = &mut node.session else { return };
            session.reports.flight.push_back(Flight { sequence, outstanding: batches.len(), completes });
            for runs in batches {
                let (name, node, session) = (name.clone(), id, number);
                let proposal = ReportProposal { name, node, epoch, session, sequence, runs };
                self.outbox.act(HubAction::ProposeReport(proposal));
            }
        }
    }

    fn acknowledge(&mut self, name: &NodeName) -> Settled {
        let Some(session) = self.nodes.get_mut(name).and_then(|node| node.session.as_mut()) else {
            return Settled::default();
        };
        let settled = session.reports.settle();
        if let (Some(sequence), Some(link)) = (settled.acknowledged, session.link) {
            let number = session.number;
            self.outbox.order(link, name, number, AgentOrder::Acknowledge { sequence });
        }
        settled
    }
}

/// What of a report would change the cell; process ids and ends are noted on the way.
fn news(node: &mut Node, id: NodeId, report: Report, view: &dyn Assigned) -> Vec<ReportRun> {
    let mut news = Vec::new();
    for run in report.runs {
        let tasks = news_of_run(node, id, &run, view);
        for tasks in cut_indices(&tasks, BATCH_BYTES_MAX) {
            news.push(ReportRun {
                job: run.job,
                attempt: run.attempt,
                tasks,
                observed: run.observed,
                pids: Vec::new(),
            });
        }
    }
    news
}

fn news_of_run(node: &mut Node, id: NodeId, run: &ReportRun, view: &dyn Assigned) -> IndexSet {
    let with_pids = u64::try_from(run.pids.len()).is_ok_and(|pids| pids == run.tasks.count());
    let mut pids = run.pids.iter().copied().filter(|_| with_pids);
    let mut changed: Vec<TaskIndex> = Vec::new();
    for task in run.tasks.iter() {
        let pid = pids.next();
        let known = view.known(id, run.job, run.attempt, task);
        if changes(known, run.observed) {
            changed.push(task);
        }
        let attempt = AttemptId { job: run.job, task, attempt: run.attempt };
        let live = matches!(known, Known::Assigned | Known::Running | Known::Stopping);
        match (run.observed, pid) {
            (Observed::Running, Some(pid)) if live => {
                node.pids.insert(attempt, pid);
            }
            (Observed::Running, _) => {}
            (Observed::Ended { .. }, _) => {
                node.pids.remove(&attempt);
            }
        }
    }
    let changed: IndexSet = changed.into_iter().collect();
    if matches!(run.observed, Observed::Ended { .. })
        && let Some(session) = &mut node.session
    {
        session.told.ended((run.job, run.attempt), &changed);
    }
    changed
}

/// Whether what an agent observed would move the attempt forward from what the cell knows.
fn changes(known: Known, observed: Observed) -> bool {
    match known {
        Known::Assigned | Known::Newer => true,
        Known::Running | Known::Stopping => matches!(observed, Observed::Ended { .. }),
        Known::Settled => is_planted(Plant::StaleAttemptAccepted) || is_planted(Plant::ReportAppliedTwice),
    }
}
