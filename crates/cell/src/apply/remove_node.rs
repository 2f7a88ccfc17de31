//! RemoveNode: a node leaves for good. Its attempts end; its number is never used again.

use paceline_types::{NodeName, Reason, TaskState};

use super::{Outcome, Work};
use crate::event::Event;
use crate::reply::Reply;

impl Work<'_> {
    pub(super) fn remove_node(&mut self, name: &NodeName) -> Outcome {
        let id = self.node_named(name)?;
        self.end_attempts_on(id, Reason::NodeRemoved, TaskState::Lost);
        self.cell.nodes.remove(&id);
        self.cell.indexes.node_names.remove(name);
        self.events.push(Event::NodeRemoved { node: id, name: name.clone() });
        Ok(Reply::Done)
    }
}

#[cfg(test)]
mod tests {
    use crate::apply::testing::{Bench, batch};
    use crate::command::{CommandBody, JobSelector};
    use paceline_types::{JobState, NodeId};

    #[test]
    fn what_was_on_a_removed_node_waits_again_or_is_lost() {
        let mut bench = Bench::new();
        let node = bench.node("n");
        let (going, stopping) = (bench.submit(batch("a", 3)), bench.submit(batch("b", 1)));
        bench.assign(going, 0, node, "0-1");
        bench.assign(stopping, 0, node, "0");
        bench.one(CommandBody::StopJob { job: JobSelector::Uid(stopping) });
        bench.one(CommandBody::RemoveNode { node: "n".parse().expect("a name") });
        assert_eq!(bench.states(going), "pending 0-2");
        assert_eq!(bench.states(stopping), "lost 0");
        assert_eq!(bench.cell.job(stopping).expect("there").state, JobState::Failed);
        assert_eq!(bench.cell.node(node), None);
    }

    #[test]
    fn a_number_is_never_used_again() {
        let mut bench = Bench::new();
        let first = bench.node("n");
        bench.one(CommandBody::RemoveNode { node: "n".parse().expect("a name") });
        assert_eq!((first, bench.node("n")), (NodeId(1), NodeId(2)));
    }
}
