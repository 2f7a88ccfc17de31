//! A node in the state: who it is, what it offers, what operators said of it, and what is on it.
//!
//! Whether it is alive is soft state of the leader's hub and never stands here.

mod assigned;

use std::sync::Arc;

use paceline_rules::{Labels, NodeTerms, SIMULATED, Taint};
use paceline_types::{
    AgentInstance, Attempt, BootId, IndexSet, JobUid, NodeEpoch, NodeId, NodeName, ResourceKind, Resources,
    Revision,
};

pub(crate) use assigned::{AssignedRun, AssignedRuns};

/// A machine that runs tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its number, never used again.
    pub id: NodeId,
    /// Its name.
    pub name: NodeName,
    /// Raised when what ran there cannot run any more.
    pub epoch: NodeEpoch,
    /// The agent instance that holds the name.
    pub instance: AgentInstance,
    /// The boot it was last registered with.
    pub boot: BootId,
    /// Another instance may take the name.
    pub replaceable: bool,
    /// What it offers.
    pub capacity: Resources,
    /// What tasks on it need in sum.
    pub used: Resources,
    /// What `used` may be: the capacity, or what was used already when the node came back smaller.
    pub ceiling: Resources,
    /// Takes no new work.
    pub draining: bool,
    /// Was written off after silence and has not registered since.
    pub lost: bool,
    /// What it can enforce, in words.
    pub capabilities: Arc<[String]>,
    /// The revision at which it joined.
    pub registered: Revision,
    pub(crate) agent_labels: Arc<Labels>,
    pub(crate) operator_labels: Arc<Labels>,
    pub(crate) labels: Arc<Labels>,
    pub(crate) taints: Arc<[Taint]>,
    pub(crate) assigned: AssignedRuns,
}

impl Node {
    /// Its labels: an operator's stand over the agent's.
    #[must_use]
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// The labels that operators set.
    #[must_use]
    pub fn operator_labels(&self) -> &Labels {
        &self.operator_labels
    }

    /// The labels that its agent gave.
    #[must_use]
    pub fn agent_labels(&self) -> &Labels {
        &self.agent_labels
    }

    /// Its taints, by key.
    #[must_use]
    pub fn taints(&self) -> &[Taint] {
        &self.taints
    }

    /// What is not reserved by tasks.
    #[must_use]
    pub fn free(&self) -> Resources {
        self.capacity.saturating_sub(&self.used)
    }

    /// Whether it only pretends to run tasks, as its agent says.
    #[must_use]
    pub fn simulates(&self) -> bool {
        self.capabilities.iter().any(|word| word == SIMULATED)
    }

    /// What the placement rules look at. A node that was given up takes no work until another agent has its place,
    /// and a lost one none until its agent registers again.
    #[must_use]
    pub fn terms(&self) -> NodeTerms<'_> {
        NodeTerms {
            labels: &self.labels,
            taints: &self.taints,
            draining: self.draining || self.replaceable || self.lost,
            simulates: self.simulates(),
            free: self.free(),
        }
    }

    /// Its attempts, by job and attempt.
    pub fn assignments(&self) -> impl Iterator<Item = (JobUid, Attempt, IndexSet)> + '_ {
        self.assigned.grouped()
    }

    /// Whether nothing is on it.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.assigned.runs().is_empty()
    }

    /// Sets the agent's labels and what follows from them.
    pub(crate) fn set_agent_labels(&mut self, labels: Labels) {
        self.agent_labels = Arc::new(labels);
        self.labels = merged(&self.agent_labels, &self.operator_labels);
    }

    /// Sets the operators' labels and what follows from them.
    pub(crate) fn set_operator_labels(&mut self, labels: Labels) {
        self.operator_labels = Arc::new(labels);
        self.labels = merged(&self.agent_labels, &self.operator_labels);
    }

    /// Sets the capacity; what runs stays, also where it is more than fits now.
    pub(crate) fn set_capacity(&mut self, capacity: Resources) {
        let most = |kind| capacity.of(kind).max(self.used.of(kind));
        self.ceiling = Resources::new(most(ResourceKind::Cpu), most(ResourceKind::Memory));
        self.capacity = capacity;
    }
}

fn merged(agent: &Arc<Labels>, operator: &Labels) -> Arc<Labels> {
    if operator.is_empty() {
        return Arc::clone(agent);
    }
    let mut labels = (**agent).clone();
    labels.extend(operator.iter().map(|(name, value)| (name.clone(), value.clone())));
    Arc::new(labels)
}
