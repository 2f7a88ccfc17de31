//! ReplaceNode: another agent instance may take the name. What the old one ran ends here at once, at a new epoch,
//! so that nothing it still says counts.

use paceline_types::{NodeName, Reason, TaskState};

use super::register_node::next_epoch;
use super::{Outcome, Work};
use crate::refusal::{Refusal, Subject};
use crate::reply::Reply;

impl Work<'_> {
    pub(super) fn replace_node(&mut self, name: &NodeName) -> Outcome {
        let id = self.node_named(name)?;
        let node = self.cell.node(id).ok_or_else(|| Refusal::not_found(Subject::Node, name))?;
        let epoch = next_epoch(node.epoch)?;
        self.end_attempts_on(id, Reason::NodeReplaced, TaskState::Lost);
        self.change_node(id, |node| {
            node.epoch = epoch;
            node.replaceable = true;
        });
        Ok(Reply::NodeRegistered { node: id, epoch })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::testing::{Bench, batch};
    use crate::command::CommandBody;
    use paceline_types::NodeEpoch;

    #[test]
    fn nothing_the_old_instance_says_counts_any_more() {
        let mut bench = Bench::new();
        let node = bench.node("n");
        let job = bench.submit(batch("j", 1));
        bench.assign(job, 0, node, "0");
        let reply = bench.one(CommandBody::ReplaceNode { node: "n".parse().expect("a name") });
        assert_eq!(reply, Reply::NodeRegistered { node, epoch: NodeEpoch(2) });
        assert_eq!(bench.states(job), "pending 0");
        let late = bench.report_at(job, 1, node, 1, "0", crate::command::ReportedState::Running);
        assert_eq!(late, Reply::Reported { applied: 0, doubles: 0, stale: 1 });
    }
}
