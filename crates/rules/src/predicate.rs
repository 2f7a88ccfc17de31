//! The reference function of each placement rule: the truth that every faster path is held equal to.

use paceline_types::{Reason, ResourceKind, Resources};

use crate::spec::{Constraint, JobSpec, Labels, Operator, Taint, Toleration};

/// What the rules look at in a node.
#[derive(Clone, Copy, Debug)]
pub struct NodeTerms<'a> {
    /// The node's labels, those that the agent found and those that an operator set.
    pub labels: &'a Labels,
    /// The node's taints.
    pub taints: &'a [Taint],
    /// Whether it takes new work.
    pub draining: bool,
    /// Whether it only pretends to run tasks.
    pub simulates: bool,
    /// What is not reserved by tasks.
    pub free: Resources,
}

/// Whether all constraints hold on these labels.
#[must_use]
pub fn matches_constraints(constraints: &[Constraint], labels: &Labels) -> bool {
    constraints.iter().all(|term| {
        let value = labels.get(&term.label);
        let named = value.is_some_and(|value| term.values.contains(value));
        match term.operator {
            Operator::In => named,
            Operator::NotIn => !named,
            Operator::Exists => value.is_some(),
            Operator::Absent => value.is_none(),
        }
    })
}

/// Whether job and node are of one kind: what only pretends to run goes where tasks only pretend to run, and nothing
/// else does.
///
/// # Errors
/// The reason that says which of the two is real.
pub fn simulates_alike(job: &JobSpec, node_simulates: bool) -> Result<(), Reason> {
    match (job.simulate.is_some(), node_simulates) {
        (true, false) => Err(Reason::NodeIsReal),
        (false, true) => Err(Reason::NodeSimulates),
        _ => Ok(()),
    }
}

/// Whether every taint is tolerated.
#[must_use]
pub fn tolerates(tolerations: &[Toleration], taints: &[Taint]) -> bool {
    let accepts = |toleration: &Toleration, taint: &Taint| {
        toleration.key == taint.key && toleration.value.as_ref().is_none_or(|value| *value == taint.value)
    };
    taints.iter().all(|taint| tolerations.iter().any(|toleration| accepts(toleration, taint)))
}

/// Whether a need is within what is free.
///
/// # Errors
/// The reason that names the first resource that is short.
pub fn fits(need: &Resources, free: &Resources) -> Result<(), Reason> {
    match need.first_short_of(free) {
        None => Ok(()),
        Some(ResourceKind::Cpu) => Err(Reason::CpuShort),
        Some(ResourceKind::Memory) => Err(Reason::MemoryShort),
    }
}

/// Whether a task of this job with this need may be put on this node now, cheapest rule first.
///
/// # Errors
/// The first rule that says no.
pub fn feasible(job: &JobSpec, need: &Resources, node: &NodeTerms<'_>) -> Result<(), Reason> {
    // First, because no drain that ends and no task that goes can change it.
    simulates_alike(job, node.simulates)?;
    if node.draining {
        return Err(Reason::NodeDraining);
    }
    fits(need, &node.free)?;
    if !tolerates(&job.tolerations, node.taints) {
        return Err(Reason::TaintNotTolerated);
    }
    if matches_constraints(&job.constraints, node.labels) { Ok(()) } else { Err(Reason::ConstraintUnmet) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::Simulate;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn operators_follow_their_table() {
        let term = |operator, values: &[&str]| Constraint {
            label: "zone".into(),
            operator,
            values: values.iter().map(|&value| value.to_owned()).collect(),
        };
        let (east, bare) = (labels(&[("zone", "east")]), labels(&[]));
        for (term, on_east, on_bare) in [
            (term(Operator::In, &["east", "west"]), true, false),
            (term(Operator::In, &["west"]), false, false),
            (term(Operator::NotIn, &["west"]), true, true),
            (term(Operator::NotIn, &["east"]), false, true),
            (term(Operator::Exists, &[]), true, false),
            (term(Operator::Absent, &[]), false, true),
        ] {
            assert_eq!(matches_constraints(std::slice::from_ref(&term), &east), on_east, "{term} on east");
            assert_eq!(matches_constraints(std::slice::from_ref(&term), &bare), on_bare, "{term} on bare");
        }
    }

    #[test]
    fn every_taint_must_be_tolerated() {
        let taint = |value: &str| Taint { key: "gpu".into(), value: value.into() };
        let any = Toleration { key: "gpu".into(), value: None };
        let only_a = Toleration { key: "gpu".into(), value: Some("a".into()) };
        assert!(tolerates(&[], &[]));
        assert!(!tolerates(&[], &[taint("a")]));
        assert!(tolerates(&[any], &[taint("a"), taint("b")]));
        assert!(!tolerates(&[only_a], &[taint("a"), taint("b")]));
    }

    #[test]
    fn the_rule_that_says_no_is_named() {
        let job = JobSpec::batch("j", 1, &["/bin/true"], Resources::new(100, 100));
        let none = labels(&[]);
        let free = Resources::new(100, 100);
        let node = NodeTerms { labels: &none, taints: &[], draining: false, simulates: false, free };
        let need = job.template.resources;
        assert_eq!(feasible(&job, &need, &node), Ok(()));
        assert_eq!(feasible(&job, &need, &NodeTerms { draining: true, ..node }), Err(Reason::NodeDraining));
        let tight = NodeTerms { free: Resources::new(99, 100), ..node };
        assert_eq!(feasible(&job, &need, &tight), Err(Reason::CpuShort));
        let tight = NodeTerms { free: Resources::new(100, 99), ..node };
        assert_eq!(feasible(&job, &need, &tight), Err(Reason::MemoryShort));
    }

    #[test]
    fn simulated_jobs_and_nodes_keep_to_themselves() {
        let real = JobSpec::batch("j", 1, &["/bin/true"], Resources::new(1, 1));
        let simulated = JobSpec { simulate: Some(Simulate::lasting(5)), ..real.clone() };
        let none = labels(&[]);
        let free = Resources::new(100, 100);
        let node = NodeTerms { labels: &none, taints: &[], draining: false, simulates: false, free };
        let virtual_node = NodeTerms { simulates: true, draining: true, ..node };
        let need = real.template.resources;
        assert_eq!(feasible(&real, &need, &node), Ok(()));
        assert_eq!(feasible(&simulated, &need, &node), Err(Reason::NodeIsReal));
        assert_eq!(feasible(&real, &need, &virtual_node), Err(Reason::NodeSimulates));
        assert_eq!(feasible(&simulated, &need, &virtual_node), Err(Reason::NodeDraining));
        assert_eq!(feasible(&simulated, &need, &NodeTerms { draining: false, ..virtual_node }), Ok(()));
    }
}
