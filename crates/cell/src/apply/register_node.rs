//! RegisterNode: a node joins, comes back, or says something new about itself.
//!
//! Who may hold a name is decided here by facts: the instance in the agent's data folder and the boot. Whether a
//! known instance with another boot has to wait until the old one is silent is soft state of the hub, which
//! proposes this command only when it is settled.

use std::sync::Arc;

use paceline_rules::{Labels, Violation, validate_labels};
use paceline_types::plant::{Plant, is_planted};
use paceline_types::{AgentInstance, BootId, NodeEpoch, NodeId, NodeName, Reason, Resources, TaskState};

use super::{Outcome, Work};
use crate::event::Event;
use crate::node::{AssignedRuns, Node};
use crate::refusal::{Bound, Counter, Refusal};
use crate::reply::Reply;

/// Most capabilities of a node: each is a line about something it can or cannot enforce.
const CAPABILITIES_MAX: usize = 64;
/// Longest capability, in bytes.
const CAPABILITY_BYTES_MAX: usize = 256;
/// When a node that met a full cell should come again: somebody has to make room.
const RETRY_AFTER_MS: u64 = 60_000;

/// The fields of the command.
#[derive(Clone, Copy, Debug)]
pub(super) struct Registration<'a> {
    pub name: &'a NodeName,
    pub instance: AgentInstance,
    pub boot: BootId,
    pub capacity: Resources,
    pub labels: &'a Labels,
    pub capabilities: &'a [String],
}

impl Work<'_> {
    pub(super) fn register_node(&mut self, registration: &Registration<'_>) -> Outcome {
        self.check_registration(registration)?;
        match self.cell.node_by_name(registration.name).map(|node| node.id) {
            None => self.join_node(registration),
            Some(id) => self.refresh_node(id, registration),
        }
    }

    fn check_registration(&self, registration: &Registration<'_>) -> Result<(), Refusal> {
        let mut faults = validate_labels("labels", registration.labels, &self.cell.config.limits)
            .err()
            .unwrap_or_default();
        let long = registration.capabilities.iter().any(|line| line.len() > CAPABILITY_BYTES_MAX);
        if registration.capabilities.len() > CAPABILITIES_MAX || long {
            faults.push(Violation {
                field: "capabilities".to_owned(),
                value: format!("{} lines", registration.capabilities.len()),
                expected: format!("at most {CAPABILITIES_MAX} lines of {CAPABILITY_BYTES_MAX} bytes"),
            });
        }
        if faults.is_empty() { Ok(()) } else { Err(Refusal::InvalidArgument(Refusal::violations(faults))) }
    }

    fn join_node(&mut self, registration: &Registration<'_>) -> Outcome {
        let limit = self.cell.config.nodes_per_cell;
        if self.cell.nodes.len() >= limit as usize {
            let limit = u64::from(limit);
            return Err(Refusal::Overloaded { bound: Bound::Nodes, limit, retry_after_ms: RETRY_AFTER_MS });
        }
        let next = self.cell.last_node.0.checked_add(1);
        let id = NodeId(next.ok_or(Refusal::Exhausted { counter: Counter::NodeId })?);
        let labels = Arc::new(registration.labels.clone());
        let node = Node {
            id,
            name: registration.name.clone(),
            epoch: NodeEpoch(1),
            instance: registration.instance,
            boot: registration.boot,
            replaceable: false,
            capacity: registration.capacity,
            used: Resources::ZERO,
            ceiling: registration.capacity,
            draining: false,
            lost: false,
            capabilities: registration.capabilities.into(),
            registered: self.revision,
            agent_labels: Arc::clone(&labels),
            operator_labels: Arc::default(),
            labels,
            taints: Arc::default(),
            assigned: AssignedRuns::default(),
        };
        self.cell.last_node = id;
        self.cell.indexes.node_names.insert(node.name.clone(), id);
        self.cell.nodes.insert(id, Arc::new(node));
        self.events.push(Event::NodeRegistered { node: id, epoch: NodeEpoch(1) });
        Ok(Reply::NodeRegistered { node: id, epoch: NodeEpoch(1) })
    }

    fn refresh_node(&mut self, id: NodeId, registration: &Registration<'_>) -> Outcome {
        let node = self.known_node(id)?;
        if node.instance != registration.instance && !node.replaceable {
            return Err(Refusal::InstanceMismatch { node: id, known: node.instance });
        }
        // The agent that was there before the node was given up changes nothing by coming back: the place stays free.
        let same = node.instance == registration.instance && node.boot == registration.boot;
        let taken_over = node.replaceable && !same;
        let other_boot = node.boot != registration.boot || is_planted(Plant::EpochRaisedOnReconnect);
        let rebooted = other_boot && !node.replaceable;
        let returns = rebooted || taken_over || node.lost;
        let mut epoch = node.epoch;
        // Whoever takes a node over finds it at a new epoch and empty; should anything be on it all the same, it ends.
        if rebooted || (taken_over && !node.is_idle()) {
            epoch = next_epoch(epoch)?;
            self.end_attempts_on(id, Reason::NodeRebooted, TaskState::Killed);
        }
        let Some(node) = self.cell.nodes.get_mut(&id) else {
            return Err(Refusal::not_found(crate::refusal::Subject::Node, &id));
        };
        let changed = node.capacity != registration.capacity
            || *node.agent_labels != *registration.labels
            || *node.capabilities != *registration.capabilities;
        if returns || changed {
            let node = Arc::make_mut(node);
            node.epoch = epoch;
            node.instance = registration.instance;
            node.boot = registration.boot;
            node.replaceable = node.replaceable && !(rebooted || taken_over);
            node.lost = false;
            node.set_capacity(registration.capacity);
            node.set_agent_labels(registration.labels.clone());
            node.capabilities = registration.capabilities.into();
            self.events.push(if returns {
                Event::NodeRegistered { node: id, epoch }
            } else {
                Event::NodeChanged { node: id, epoch }
            });
        }
        Ok(Reply::NodeRegistered { node: id, epoch })
    }

    fn known_node(&self, id: NodeId) -> Result<&Node, Refusal> {
        self.cell.node(id).ok_or_else(|| Refusal::not_found(crate::refusal::Subject::Node, &id))
    }
}

pub(super) fn next_epoch(epoch: NodeEpoch) -> Result<NodeEpoch, Refusal> {
    let next = epoch.0.checked_add(1);
    next.map(NodeEpoch).ok_or(Refusal::Exhausted { counter: Counter::NodeEpoch })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::testing::{Bench, batch};
    use crate::command::{CommandBody, JobSelector};
    use paceline_types::{Attempt, IndexSet, TaskIndex};

    #[test]
    fn the_same_boot_of_the_same_instance_keeps_number_and_epoch() {
        let mut bench = Bench::new();
        let node = bench.node("n");
        bench.events.clear();
        let again = bench.register("n", 1, 1);
        assert_eq!(again, Reply::NodeRegistered { node, epoch: NodeEpoch(1) });
        assert!(bench.events.is_empty(), "nothing new was said");
    }

    #[test]
    fn another_instance_is_refused_until_the_node_is_replaced() {
        let mut bench = Bench::new();
        let node = bench.node("n");
        let known = AgentInstance([1; 16]);
        let refused = Reply::Refused(Refusal::InstanceMismatch { node, known });
        assert_eq!(bench.register("n", 2, 1), refused);
        bench.one(CommandBody::ReplaceNode { node: "n".parse().expect("a name") });
        assert_eq!(bench.register("n", 2, 1), Reply::NodeRegistered { node, epoch: NodeEpoch(2) });
        let known = AgentInstance([2; 16]);
        assert_eq!(bench.register("n", 1, 1), Reply::Refused(Refusal::InstanceMismatch { node, known }));
    }

    #[test]
    fn the_old_agent_of_a_replaced_node_gets_no_work_and_keeps_nobody_out() {
        let mut bench = Bench::new();
        let node = bench.node("n");
        let job = bench.submit(batch("j", 1));
        bench.one(CommandBody::ReplaceNode { node: "n".parse().expect("a name") });
        let epoch = NodeEpoch(2);
        assert_eq!(bench.register("n", 1, 1), Reply::NodeRegistered { node, epoch });
        let assign = CommandBody::Assign {
            job,
            follows: Attempt(0),
            node,
            epoch,
            tasks: IndexSet::from_iter([TaskIndex(0)]),
        };
        assert_eq!(bench.one(assign), Reply::Refused(Refusal::Infeasible(Reason::NodeDraining)));
        assert_eq!(bench.register("n", 2, 1), Reply::NodeRegistered { node, epoch });
        assert!(!bench.cell.node(node).expect("there").replaceable);
    }

    #[test]
    fn a_new_boot_raises_the_epoch_and_ends_what_ran() {
        let mut bench = Bench::new();
        let node = bench.node("n");
        let (going, stopping) = (bench.submit(batch("a", 2)), bench.submit(batch("b", 1)));
        bench.assign(going, 0, node, "0-1");
        bench.running(going, 1, node, "0");
        bench.assign(stopping, 0, node, "0");
        bench.one(CommandBody::StopJob { job: JobSelector::Uid(stopping) });
        assert_eq!(bench.register("n", 1, 2), Reply::NodeRegistered { node, epoch: NodeEpoch(2) });
        assert_eq!(bench.states(going), "pending 0-1");
        assert_eq!(bench.states(stopping), "killed 0", "asked to stop, and surely not running");
        let task = bench.cell.job(going).and_then(|job| job.task(paceline_types::TaskIndex(0)));
        assert_eq!(task.expect("there").reason, Reason::NodeRebooted);
        assert!(bench.cell.node(node).expect("there").is_idle());
    }

    #[test]
    fn a_node_that_comes_back_smaller_keeps_what_runs() {
        let mut bench = Bench::new();
        let node = bench.node("n");
        let job = bench.submit(batch("j", 10));
        bench.assign(job, 0, node, "0-7");
        bench.register_with("n", 1, 1, Resources::new(100, 100 << 20));
        assert_eq!(bench.states(job), "assigned 0-7, pending 8-9");
        let kept = bench.cell.node(node).expect("there");
        assert_eq!((kept.free(), kept.ceiling.cpu_milli()), (Resources::new(0, 20 << 20), 800));
        let refused = bench.assign(job, 0, node, "8");
        assert_eq!(refused, Reply::Refused(Refusal::Infeasible(Reason::CpuShort)));
    }

    #[test]
    fn too_many_capabilities_are_refused() {
        let mut bench = Bench::new();
        let reply = bench.one(CommandBody::RegisterNode {
            name: "n".parse().expect("a name"),
            instance: AgentInstance([1; 16]),
            boot: BootId([1; 16]),
            capacity: Resources::ZERO,
            labels: Labels::new(),
            capabilities: vec![String::new(); 65],
        });
        assert!(matches!(reply, Reply::Refused(Refusal::InvalidArgument(_))), "{reply:?}");
    }
}
