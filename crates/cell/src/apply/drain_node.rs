//! DrainNode and ResumeNode: whether a node takes new work. What runs there finishes either way. Resuming also takes
//! back a `node replace` that nobody followed: the old agent is good again.

use std::sync::Arc;

use paceline_types::{NodeId, NodeName};

use super::{Outcome, Work};
use crate::event::Event;
use crate::node::Node;
use crate::refusal::{Refusal, Subject};
use crate::reply::Reply;

impl Work<'_> {
    pub(super) fn drain_node(&mut self, name: &NodeName, draining: bool) -> Outcome {
        let id = self.node_named(name)?;
        let replaceable = |node: &Node| node.replaceable && draining;
        if self
            .cell
            .node(id)
            .is_some_and(|node| node.draining != draining || node.replaceable != replaceable(node))
        {
            self.change_node(id, |node| {
                node.draining = draining;
                node.replaceable = replaceable(node);
            });
        }
        Ok(Reply::Done)
    }

    /// The node of a name.
    pub(super) fn node_named(&self, name: &NodeName) -> Result<NodeId, Refusal> {
        let node = self.cell.node_by_name(name);
        node.map(|node| node.id).ok_or_else(|| Refusal::not_found(Subject::Node, name))
    }

    /// Changes a node and says so.
    pub(super) fn change_node(&mut self, id: NodeId, change: impl FnOnce(&mut Node)) {
        if let Some(node) = self.cell.nodes.get_mut(&id) {
            let node = Arc::make_mut(node);
            change(node);
            self.events.push(Event::NodeChanged { node: id, epoch: node.epoch });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::testing::{Bench, batch};
    use crate::command::CommandBody;
    use paceline_types::{Attempt, Reason};

    #[test]
    fn a_draining_node_keeps_its_tasks_and_takes_no_new_ones() {
        let mut bench = Bench::new();
        let node = bench.node("n");
        let job = bench.submit(batch("j", 3));
        bench.assign(job, 0, node, "0");
        let name: NodeName = "n".parse().expect("a name");
        assert_eq!(bench.one(CommandBody::DrainNode { node: name.clone() }), Reply::Done);
        let refused = Reply::Refused(Refusal::Infeasible(Reason::NodeDraining));
        assert_eq!(bench.assign(job, 0, node, "1"), refused);
        assert_eq!(bench.states(job), "assigned 0, pending 1-2");
        bench.one(CommandBody::ResumeNode { node: name });
        assert_eq!(bench.assign(job, 0, node, "1"), Reply::Assigned { attempt: Attempt(1) });
    }

    #[test]
    fn resuming_takes_a_replacement_back() {
        let mut bench = Bench::new();
        let node = bench.node("n");
        let name = || "n".parse().expect("a name");
        bench.one(CommandBody::ReplaceNode { node: name() });
        bench.one(CommandBody::DrainNode { node: name() });
        assert!(bench.cell.node(node).expect("there").replaceable, "draining keeps the place free");
        bench.one(CommandBody::ResumeNode { node: name() });
        assert!(!bench.cell.node(node).expect("there").terms().draining);
        assert!(matches!(bench.register("n", 2, 1), Reply::Refused(Refusal::InstanceMismatch { .. })));
    }

    #[test]
    fn draining_twice_says_nothing_new() {
        let mut bench = Bench::new();
        bench.node("n");
        let name: NodeName = "n".parse().expect("a name");
        bench.one(CommandBody::DrainNode { node: name.clone() });
        bench.events.clear();
        assert_eq!(bench.one(CommandBody::DrainNode { node: name }), Reply::Done);
        assert!(bench.events.is_empty());
    }

    #[test]
    fn an_unknown_node_is_not_found() {
        let mut bench = Bench::new();
        let name: NodeName = "nobody".parse().expect("a name");
        let refusal = Refusal::not_found(Subject::Node, &name);
        assert_eq!(bench.one(CommandBody::DrainNode { node: name }), Reply::Refused(refusal));
    }
}
