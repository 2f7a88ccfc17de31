//! An explanation in sentences: the same for the same view, wherever it is computed.

use std::fmt::Write;

use paceline_types::{LEASE_WAIT_MS, Reason, Resources};

use super::{Change, Obstacle, Waiting};

impl Waiting {
    /// What stands in the way, in one sentence with counts.
    #[must_use]
    pub fn explanation(&self) -> String {
        match &self.change {
            Change::None => {
                format!("{} room: the next pass places it", counted(self.ready, "node has", "nodes have"))
            }
            Change::OutwaitLease => format!(
                "{} room; two attempts must never run at once, and nobody saw the last one end: its lease is over \
                 after {} s at most",
                counted(self.ready, "node has", "nodes have"),
                LEASE_WAIT_MS / 1_000
            ),
            Change::RaiseMaxRunning { limit: 0 } => "max_running is 0, which admits no task".to_owned(),
            Change::RaiseMaxRunning { limit } => {
                format!("as many tasks as max_running admits, {limit}, are on nodes")
            }
            Change::AddNode => "the cell has no node".to_owned(),
            Change::HearNodes => {
                let nodes = counted(self.silent, "node would take it and is", "nodes would take it and are");
                format!("{nodes} not heard of{}", self.others())
            }
            Change::Nearest { .. } => {
                let nodes: u32 = self.nodes.values().sum();
                if self.nodes.get(&Reason::NodeIsReal) == Some(&nodes) {
                    return format!("no node simulates: {} real", counted(nodes, "node is", "nodes are"));
                }
                format!("{} take it: {}", none_of(nodes), self.by_reason())
            }
        }
    }

    /// The smallest change that would make it a yes, in one sentence.
    #[must_use]
    pub fn change_in_words(&self) -> String {
        match &self.change {
            Change::None | Change::OutwaitLease => "nothing has to change".to_owned(),
            Change::RaiseMaxRunning { limit: 0 } => {
                "submit it with a max_running above 0, or without one".to_owned()
            }
            Change::RaiseMaxRunning { .. } => {
                "wait for one of them to end, or submit it with a higher max_running".to_owned()
            }
            Change::AddNode => "start an agent on a machine".to_owned(),
            Change::HearNodes => {
                "bring one of them back: `paceline node list` shows which are suspect".to_owned()
            }
            Change::Nearest { node, obstacles } => {
                let steps: Vec<String> =
                    obstacles.iter().map(|obstacle| self.step(obstacle, node.as_str())).collect();
                format!("node {node} comes closest: {}", steps.join("; and "))
            }
        }
    }

    fn step(&self, obstacle: &Obstacle, node: &str) -> String {
        match obstacle {
            Obstacle::Full { free } => {
                let missing = self.need.saturating_sub(free);
                format!(
                    "wait until {} more is free there, or ask for at most {}",
                    amounts(&missing, &missing, Round::Up),
                    amounts(free, &missing, Round::Down)
                )
            }
            Obstacle::Draining => format!("`paceline node resume {node}`"),
            Obstacle::Taint(taint) => {
                let mut mark = taint.key.clone();
                if !taint.value.is_empty() {
                    let _ = write!(mark, "={}", taint.value);
                }
                format!("tolerate its taint `{mark}`, or take the taint off")
            }
            Obstacle::Constraint(term) => {
                format!("drop the constraint `{term}`, or label the node so that it holds")
            }
            Obstacle::TooSmall { capacity } => {
                let missing = self.need.saturating_sub(capacity);
                format!(
                    "ask for at most {}, which is all it has, or add a larger node",
                    amounts(capacity, &missing, Round::Down)
                )
            }
            Obstacle::Real => "add a node that simulates, or submit it without `simulate`".to_owned(),
            Obstacle::Simulates => "add a real node, or submit it with `simulate`".to_owned(),
        }
    }

    /// The nodes that say no, beside those that would not.
    fn others(&self) -> String {
        if self.nodes.is_empty() { String::new() } else { format!("; of the others, {}", self.by_reason()) }
    }

    /// `2 are draining, 1 has too little free cpu`.
    fn by_reason(&self) -> String {
        let one = |(reason, &count): (&Reason, &u32)| {
            let (is, has, does) = if count == 1 { ("is", "has", "does") } else { ("are", "have", "do") };
            match reason {
                Reason::NodeDraining => format!("{count} {is} draining"),
                Reason::CpuShort => format!("{count} {has} too little free cpu"),
                Reason::MemoryShort => format!("{count} {has} too little free memory"),
                Reason::TaintNotTolerated => format!("{count} {has} a taint that the job does not tolerate"),
                Reason::ConstraintUnmet => format!("{count} {does} not meet its constraints"),
                Reason::NodeIsReal => format!("{count} {does} not simulate"),
                Reason::NodeSimulates => {
                    format!("{count} only {}", if count == 1 { "simulates" } else { "simulate" })
                }
                other => format!("{count}: {other}"),
            }
        };
        self.nodes.iter().map(one).collect::<Vec<_>>().join(", ")
    }
}

fn none_of(nodes: u32) -> String {
    if nodes == 1 {
        "the only node of the cell cannot".to_owned()
    } else {
        format!("none of {nodes} nodes can")
    }
}

fn counted(count: u32, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[derive(Clone, Copy)]
enum Round {
    Up,
    Down,
}

/// Amounts of the kinds that are missing, as job files say them: `cpu 500m and memory 12Mi`.
fn amounts(of: &Resources, missing: &Resources, round: Round) -> String {
    let mut parts = Vec::new();
    if missing.cpu_milli() > 0 {
        parts.push(format!("cpu {}", cpu(of.cpu_milli())));
    }
    if missing.memory_bytes() > 0 {
        parts.push(format!("memory {}", memory(of.memory_bytes(), round)));
    }
    parts.join(" and ")
}

fn cpu(milli: u64) -> String {
    if milli.is_multiple_of(1_000) { (milli / 1_000).to_string() } else { format!("{milli}m") }
}

/// In whole Mi, so that the amount reads well and still suffices; less than one is said in bytes where it is a most.
fn memory(bytes: u64, round: Round) -> String {
    const MI: u64 = 1 << 20;
    match round {
        Round::Up => format!("{}Mi", bytes.div_ceil(MI)),
        Round::Down if bytes < MI => bytes.to_string(),
        Round::Down => format!("{}Mi", bytes / MI),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use paceline_rules::{Constraint, Operator, Taint};
    use paceline_types::TaskIndex;

    fn waiting(nodes: &[(Reason, u32)], change: Change) -> Waiting {
        Waiting {
            reason: Reason::NoFreeCapacity,
            tasks: 3,
            first: TaskIndex(0),
            need: Resources::new(1_500, 3 << 20),
            nodes: nodes.iter().copied().collect(),
            ready: 0,
            silent: 0,
            change,
        }
    }

    fn nearest(obstacles: &[Obstacle]) -> Change {
        Change::Nearest { node: "n2".parse().expect("a name"), obstacles: obstacles.to_vec() }
    }

    #[test]
    fn counts_read_as_a_sentence() {
        let many =
            waiting(&[(Reason::NodeDraining, 2), (Reason::CpuShort, 1)], nearest(&[Obstacle::Draining]));
        assert_eq!(
            many.explanation(),
            "none of 3 nodes can take it: 2 are draining, 1 has too little free cpu"
        );
        let one = waiting(&[(Reason::ConstraintUnmet, 1)], nearest(&[Obstacle::Draining]));
        assert_eq!(
            one.explanation(),
            "the only node of the cell cannot take it: 1 does not meet its constraints"
        );
        let real = waiting(&[(Reason::NodeIsReal, 2)], nearest(&[Obstacle::Real]));
        assert_eq!(real.explanation(), "no node simulates: 2 nodes are real");
        let mixed = waiting(&[(Reason::NodeIsReal, 2), (Reason::CpuShort, 1)], nearest(&[Obstacle::Real]));
        assert_eq!(
            mixed.explanation(),
            "none of 3 nodes can take it: 1 has too little free cpu, 2 do not simulate"
        );
        let virtual_one = waiting(&[(Reason::NodeSimulates, 1)], nearest(&[Obstacle::Simulates]));
        assert_eq!(virtual_one.explanation(), "the only node of the cell cannot take it: 1 only simulates");
        let silent = Waiting { silent: 2, ..waiting(&[(Reason::MemoryShort, 1)], Change::HearNodes) };
        assert_eq!(
            silent.explanation(),
            "2 nodes would take it and are not heard of; of the others, 1 has too little free memory"
        );
    }

    #[test]
    fn each_obstacle_says_what_would_remove_it() {
        let term = Constraint { label: "zone".into(), operator: Operator::In, values: vec!["east".into()] };
        for (obstacle, step) in [
            (
                Obstacle::Full { free: Resources::new(1_000, (2 << 20) + 5) },
                "wait until cpu 500m and memory 1Mi more is free there, or ask for at most cpu 1 and memory 2Mi",
            ),
            (Obstacle::Draining, "`paceline node resume n2`"),
            (
                Obstacle::Taint(Taint { key: "gpu".into(), value: "a".into() }),
                "tolerate its taint `gpu=a`, or take the taint off",
            ),
            (
                Obstacle::Constraint(term),
                "drop the constraint `zone in [east]`, or label the node so that it holds",
            ),
            (
                Obstacle::TooSmall { capacity: Resources::new(500, 8 << 20) },
                "ask for at most cpu 500m, which is all it has, or add a larger node",
            ),
            (Obstacle::Real, "add a node that simulates, or submit it without `simulate`"),
            (Obstacle::Simulates, "add a real node, or submit it with `simulate`"),
        ] {
            let words = waiting(&[(Reason::CpuShort, 1)], nearest(&[obstacle])).change_in_words();
            assert_eq!(words, format!("node n2 comes closest: {step}"));
        }
        let both = [Obstacle::Draining, Obstacle::Taint(Taint { key: "x".into(), value: String::new() })];
        assert_eq!(
            waiting(&[], nearest(&both)).change_in_words(),
            "node n2 comes closest: `paceline node resume n2`; and tolerate its taint `x`, or take the taint off"
        );
    }

    #[test]
    fn a_job_that_holds_itself_back_is_told_so() {
        let held = waiting(&[], Change::RaiseMaxRunning { limit: 4 });
        assert_eq!(held.explanation(), "as many tasks as max_running admits, 4, are on nodes");
        let none = waiting(&[], Change::RaiseMaxRunning { limit: 0 });
        assert_eq!(none.explanation(), "max_running is 0, which admits no task");
        assert_eq!(none.change_in_words(), "submit it with a max_running above 0, or without one");
    }
}
