//! LabelNode: an operator's labels stand over the agent's.

use paceline_rules::{Labels, validate_labels};
use paceline_types::NodeName;

use super::{Outcome, Work};
use crate::refusal::Refusal;
use crate::reply::Reply;

impl Work<'_> {
    /// Takes away first, then sets: a label that is named in both is set.
    pub(super) fn label_node(&mut self, name: &NodeName, set: &Labels, unset: &[String]) -> Outcome {
        let id = self.node_named(name)?;
        let Some(node) = self.cell.node(id) else { return Ok(Reply::Done) };
        let mut labels = node.operator_labels().clone();
        for label in unset {
            labels.remove(label);
        }
        labels.extend(set.iter().map(|(name, value)| (name.clone(), value.clone())));
        validate_labels("labels", &labels, &self.cell.config.limits)
            .map_err(|found| Refusal::InvalidArgument(Refusal::violations(found)))?;
        if *node.operator_labels() != labels {
            self.change_node(id, |node| node.set_operator_labels(labels));
        }
        Ok(Reply::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::testing::Bench;
    use crate::command::CommandBody;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn an_operators_label_hides_the_agents_until_it_is_taken_away() {
        let mut bench = Bench::new();
        let node = bench.node("n");
        let name: NodeName = "n".parse().expect("a name");
        let set = labels(&[("zone", "west"), ("gpu", "no")]);
        bench.one(CommandBody::LabelNode { node: name.clone(), set, unset: Vec::new() });
        let merged = bench.cell.node(node).expect("there").labels().clone();
        assert_eq!(merged, labels(&[("gpu", "no"), ("zone", "west")]));
        let unset = vec!["zone".to_owned(), "never".to_owned()];
        bench.one(CommandBody::LabelNode { node: name, set: Labels::new(), unset });
        let merged = bench.cell.node(node).expect("there").labels().clone();
        assert_eq!(merged, labels(&[("gpu", "no"), ("zone", "east")]), "the agent's own is back");
    }

    #[test]
    fn a_bad_label_is_refused_with_its_name() {
        let mut bench = Bench::new();
        bench.node("n");
        let set = labels(&[("a b", "x")]);
        let node = "n".parse().expect("a name");
        match bench.one(CommandBody::LabelNode { node, set, unset: Vec::new() }) {
            Reply::Refused(Refusal::InvalidArgument(found)) => assert_eq!(found[0].field, "labels.a b"),
            other => panic!("{other:?}"),
        }
    }
}
