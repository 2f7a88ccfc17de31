//! TaintNode: keeps tasks off a node unless they tolerate it. What runs there stays.

use std::collections::BTreeMap;

use paceline_rules::{Taint, validate_taint};
use paceline_types::NodeName;

use super::{Outcome, Work};
use crate::refusal::Refusal;
use crate::reply::Reply;

/// Bytes of all taints of a node: they travel with every listing of it.
const TAINTS_BYTES_MAX: usize = 64 << 10;

impl Work<'_> {
    /// A node has one taint per key. Takes away first, then sets.
    pub(super) fn taint_node(&mut self, name: &NodeName, set: &[Taint], unset: &[String]) -> Outcome {
        let id = self.node_named(name)?;
        let limits = &self.cell.config.limits;
        let faults: Vec<_> =
            set.iter().filter_map(|taint| validate_taint(taint, limits).err()).flatten().collect();
        if !faults.is_empty() {
            return Err(Refusal::InvalidArgument(Refusal::violations(faults)));
        }
        let Some(node) = self.cell.node(id) else { return Ok(Reply::Done) };
        let mut taints: BTreeMap<&str, &Taint> =
            node.taints().iter().map(|taint| (taint.key.as_str(), taint)).collect();
        for key in unset {
            taints.remove(key.as_str());
        }
        taints.extend(set.iter().map(|taint| (taint.key.as_str(), taint)));
        if taints.len() > limits.list_items as usize {
            let value = format!("{} taints", taints.len());
            return Err(Refusal::argument("taints", value, format!("at most {}", limits.list_items)));
        }
        let bytes: usize = taints.values().map(|taint| taint.key.len() + taint.value.len()).sum();
        if bytes > TAINTS_BYTES_MAX {
            let (value, expected) =
                (format!("{bytes} bytes"), format!("at most {TAINTS_BYTES_MAX} bytes in all"));
            return Err(Refusal::argument("taints", value, expected));
        }
        let taints: Vec<Taint> = taints.into_values().cloned().collect();
        if *node.taints() != *taints {
            self.change_node(id, |node| node.taints = taints.into());
        }
        Ok(Reply::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::testing::{Bench, batch};
    use crate::command::CommandBody;
    use paceline_types::{Attempt, Reason};

    fn taint(key: &str, value: &str) -> Taint {
        Taint { key: key.into(), value: value.into() }
    }

    #[test]
    fn a_taint_keeps_new_tasks_off_and_leaves_those_that_run() {
        let mut bench = Bench::new();
        let node = bench.node("n");
        let job = bench.submit(batch("j", 2));
        bench.assign(job, 0, node, "0");
        let name: NodeName = "n".parse().expect("a name");
        let set = vec![taint("gpu", "a"), taint("gpu", "b")];
        bench.one(CommandBody::TaintNode { node: name.clone(), set, unset: Vec::new() });
        assert_eq!(bench.cell.node(node).expect("there").taints(), [taint("gpu", "b")], "the later holds");
        let refused = Reply::Refused(Refusal::Infeasible(Reason::TaintNotTolerated));
        assert_eq!(bench.assign(job, 0, node, "1"), refused);
        assert_eq!(bench.states(job), "assigned 0, pending 1");
        bench.one(CommandBody::TaintNode { node: name, set: Vec::new(), unset: vec!["gpu".into()] });
        assert_eq!(bench.assign(job, 0, node, "1"), Reply::Assigned { attempt: Attempt(1) });
    }
}
