//! What a session was told, what it should have, and the difference, cut into messages.
//!
//! Level-triggered: a full set once the agent's table is known, then differences. An agent that ended an attempt
//! knows so itself; only what vanished otherwise is named in a stop.

use std::collections::{BTreeMap, BTreeSet};

use paceline_types::{Attempt, AttemptId, FenceToken, IndexSet, JobUid, NodeId, NodeName};

use super::Hub;
use super::assigned::{Assigned, NodeRecord};
use crate::message::{AgentOrder, Desired, JobBody, OrderRun, OrderSet, Orders};
use crate::ranges::{both, minus, union};
use crate::weight::{BATCH_BYTES_MAX, body_bytes, cut, cut_indices, order_run_bytes, orders_bytes};

/// A job and the number of an attempt.
type Key = (JobUid, Attempt);

/// What one session was told.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The agent's table is known, so its full set may be said.
    table: bool,
    /// The full set was sent.
    full: bool,
    sent: BTreeMap<Key, Wanted>,
    /// Reported as ended and not yet so in the view.
    ended: BTreeMap<Key, IndexSet>,
    /// Jobs whose bodies the session has. Bounded by what was sent.
    bodies: BTreeSet<JobUid>,
}

/// The tasks of one key by what they should be.
#[derive(Clone, Debug, Default)]
struct Wanted {
    run: IndexSet,
    stop: IndexSet,
}

impl Wanted {
    fn all(&self) -> IndexSet {
        union(&self.run, &self.stop)
    }

    fn of(&mut self, desired: Desired) -> &mut IndexSet {
        match desired {
            Desired::Run { .. } => &mut self.run,
            Desired::Stop { .. } => &mut self.stop,
        }
    }
}

/// What must be said, and which tasks are no longer wanted at all.
struct Difference {
    runs: Vec<OrderRun>,
    vanished: Vec<(Key, IndexSet)>,
}

impl Told {
    /// Whether the agent's table is in the cell.
    pub(super) fn knows_table(&self) -> bool {
        self.table
    }

    /// Whether everything was said once, so that differences tell the rest.
    pub(super) fn knows_full_set(&self) -> bool {
        self.full
    }

    /// The agent reported that these ended.
    pub(super) fn ended(&mut self, key: Key, tasks: &IndexSet) {
        if !tasks.is_empty() {
            let ended = self.ended.entry(key).or_default();
            *ended = union(ended, tasks);
        }
    }

    /// Takes what the node should have and gives what it was not told yet.
    fn difference(&mut self, desired: Vec<OrderRun>, unwanted_grace_ms: u64) -> Difference {
        let mut now: BTreeMap<Key, Wanted> = BTreeMap::new();
        let mut still_ended = BTreeMap::new();
        let mut runs = Vec::new();
        for mut run in desired {
            let key = (run.job, run.attempt);
            if let Some(ended) = self.ended.get(&key) {
                let unseen = both(ended, &run.tasks);
                run.tasks = minus(&run.tasks, ended);
                if !unseen.is_empty() {
                    let all = still_ended.entry(key).or_insert_with(IndexSet::default);
                    *all = union(all, &unseen);
                }
            }
            let wanted = now.entry(key).or_default().of(run.desired);
            *wanted = union(wanted, &run.tasks);
            if let Some(sent) = self.sent.get_mut(&key) {
                run.tasks = minus(&run.tasks, sent.of(run.desired));
            }
            if !run.tasks.is_empty() {
                runs.push(run);
            }
        }
        let vanished = self.vanished(&now);
        for (key, tasks) in &vanished {
            let told_to_run = self.sent.get(key).map(|sent| both(&sent.run, tasks)).unwrap_or_default();
            let unknown = self.ended.get(key).map(|ended| minus(&told_to_run, ended)).unwrap_or(told_to_run);
            if !unknown.is_empty() {
                let desired = Desired::Stop { grace_ms: unwanted_grace_ms };
                runs.push(OrderRun { job: key.0, attempt: key.1, tasks: unknown, desired });
            }
        }
        now.retain(|_, wanted| !wanted.run.is_empty() || !wanted.stop.is_empty());
        let jobs: BTreeSet<JobUid> = now.keys().map(|(job, _)| *job).collect();
        self.bodies.retain(|job| jobs.contains(job));
        self.sent = now;
        self.ended = still_ended;
        Difference { runs, vanished }
    }

    fn vanished(&self, now: &BTreeMap<Key, Wanted>) -> Vec<(Key, IndexSet)> {
        let gone = |(key, sent): (&Key, &Wanted)| {
            let all = now.get(key).map_or_else(|| sent.all(), |wanted| minus(&sent.all(), &wanted.all()));
            (*key, all)
        };
        self.sent.iter().map(gone).filter(|(_, tasks)| !tasks.is_empty()).collect()
    }

    /// Puts the bodies before the orders that name their jobs. A run whose body the view does not have is left out
    /// and counts as never sent, so that the next change of the node says it again.
    fn items(&mut self, runs: Vec<OrderRun>, view: &dyn Assigned) -> Vec<Item> {
        let mut items = Vec::new();
        for run in runs {
            if matches!(run.desired, Desired::Run { .. }) && !self.bodies.contains(&run.job) {
                let Some(body) = view.body(run.job) else {
                    self.sent.remove(&(run.job, run.attempt));
                    continue;
                };
                self.bodies.insert(run.job);
                items.push(Item::Body(body));
            }
            for tasks in cut_indices(&run.tasks, BATCH_BYTES_MAX) {
                items.push(Item::Run(OrderRun { tasks, ..run.clone() }));
            }
        }
        items
    }
}

/// What orders are made of.
enum Item {
    Body(JobBody),
    Run(OrderRun),
}

/// Cuts items into orders; a full set has at least one part.
fn orders(token: FenceToken, full: bool, items: Vec<Item>) -> Vec<Orders> {
    let bytes = |item: &Item| match item {
        Item::Body(body) => body_bytes(body),
        Item::Run(run) => order_run_bytes(run),
    };
    let mut parts = cut(items, BATCH_BYTES_MAX, bytes);
    if full && parts.is_empty() {
        parts.push(Vec::new());
    }
    let count = parts.len();
    let part = |(at, items): (usize, Vec<Item>)| {
        let set =
            if full { OrderSet::Full { first: at == 0, last: at + 1 == count } } else { OrderSet::Diff };
        let mut orders = Orders { token, set, ..Orders::default() };
        for item in items {
            match item {
                Item::Body(body) => orders.jobs.push(body),
                Item::Run(run) => orders.runs.push(run),
            }
        }
        orders
    };
    parts.into_iter().enumerate().map(part).collect()
}

impl Hub {
    /// The agent's table is in the cell: now its absences mean something, and it may hear its full set.
    pub(super) fn table_complete(&mut self, name: &NodeName, view: &dyn Assigned) {
        if let Some(session) = self.nodes.get_mut(name).and_then(|node| node.session.as_mut()) {
            session.told.table = true;
        }
        self.has_returned(name);
        self.tell_owed(name, view);
    }

    pub(super) fn nodes_changed(&mut self, nodes: &[NodeId], view: &dyn Assigned, now_ms: u64) {
        for id in nodes {
            let Some(name) = self.names.get(id).cloned() else { continue };
            match view.node(&name) {
                Some(record) if record.id == *id => self.node_changed(&name, &record, view, now_ms),
                _ => {
                    self.names.remove(id);
                    self.node_removed(*id, &name, now_ms);
                }
            }
        }
    }

    fn node_changed(&mut self, name: &NodeName, record: &NodeRecord, view: &dyn Assigned, now_ms: u64) {
        let Some(session) = self.nodes.get_mut(name).and_then(|node| node.session.as_mut()) else { return };
        let (Some((id, epoch)), Some(link)) = (session.welcomed, session.link) else { return };
        if (record.instance, record.boot) != (session.instance, session.boot) {
            let message =
                format!("node {name} is now that of instance {}, boot {}", record.instance, record.boot);
            return self.refuse_current(name, message, now_ms);
        }
        if record.lost {
            // A lost node is only found again by registering, which its next session does.
            return self.refuse_current(name, format!("node {name} was written off while it spoke"), now_ms);
        }
        if (record.id, record.epoch) != (id, epoch) {
            session.welcomed = Some((record.id, record.epoch));
            session.told = Told { table: session.told.table, ..Told::default() };
            let (number, heartbeat_ms) = (session.number, self.config.heartbeat_ms);
            let order = AgentOrder::Welcome { node: record.id, epoch: record.epoch, heartbeat_ms };
            self.outbox.order(link, name, number, order);
            return self.tell_owed(name, view);
        }
        self.tell_owed(name, view);
    }

    /// The full set if it was not sent yet and may be, else what changed since.
    pub(super) fn tell_owed(&mut self, name: &NodeName, view: &dyn Assigned) {
        let session = self.nodes.get(name).and_then(|node| node.session.as_ref());
        let Some(Told { table, full, .. }) = session.map(|session| &session.told) else { return };
        if *table || *full {
            self.send_orders(name, !full, view);
        }
    }

    /// The number left the cell; a session under another number of the same name has nothing to do with it.
    fn node_removed(&mut self, id: NodeId, name: &NodeName, now_ms: u64) {
        let session = self.nodes.get(name).and_then(|node| node.session.as_ref());
        if session.and_then(|session| session.welcomed).is_some_and(|(welcomed, _)| welcomed == id) {
            self.refuse_current(name, format!("node {name} was removed from the cell"), now_ms);
        }
    }

    fn refuse_current(&mut self, name: &NodeName, message: String, now_ms: u64) {
        let session = self.nodes.get(name).and_then(|node| node.session.as_ref());
        if let Some(number) = session.map(|session| session.number) {
            self.refuse_session(name, number, message, self.config.refused_retry_ms, now_ms);
        }
    }

    fn send_orders(&mut self, name: &NodeName, full: bool, view: &dyn Assigned) {
        let Some((link, _)) = self.route(name) else { return };
        if !self.has_room(link, name) {
            return;
        }
        let Some(node) = self.nodes.get_mut(name) else { return };
        let Some(session) = &mut node.session else { return };
        let Some((id, _)) = session.welcomed else { return };
        session.told.full |= full;
        let difference = session.told.difference(view.orders(id), self.config.unwanted_grace_ms);
        if full {
            let sent = &session.told.sent;
            node.pids.retain(|attempt, _| wants(sent, attempt));
        } else {
            let vanished = difference.vanished.iter();
            for attempt in vanished.flat_map(|(key, tasks)| tasks.iter().map(|task| attempt_of(*key, task))) {
                node.pids.remove(&attempt);
            }
        }
        let items = session.told.items(difference.runs, view);
        let number = session.number;
        for orders in orders(view.fence(), full, items) {
            self.took_room(link, orders_bytes(&orders));
            self.outbox.order(link, name, number, AgentOrder::Orders(orders));
        }
    }
}

fn wants(sent: &BTreeMap<Key, Wanted>, attempt: &AttemptId) -> bool {
    let wanted = sent.get(&(attempt.job, attempt.attempt));
    wanted.is_some_and(|wanted| wanted.run.contains(attempt.task) || wanted.stop.contains(attempt.task))
}

fn attempt_of((job, attempt): Key, task: paceline_types::TaskIndex) -> AttemptId {
    AttemptId { job, task, attempt }
}
