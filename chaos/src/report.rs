//! What a run showed: for people in a few lines, for programs as one JSON document.

mod faults;

use std::fmt::Write;

use serde::Serialize;
use serde_json::Value;

pub use faults::{
    AgentKill, CatchUp, Fencing, Kill, NodeLoss, Outage, Pause, Replacement, ShardKill, Throughput,
};

use crate::record::Held;

/// How a run counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The cell kept every promise.
    Passed,
    /// The cell broke one.
    Violated,
    /// Too little happened to say anything.
    Void,
    /// The run could not be carried through.
    Error,
}

/// Everything that a run showed.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Which scenario.
    pub scenario: &'static str,
    /// Names the run: when it began and which process it was.
    pub run: String,
    /// What it was asked for.
    pub params: Value,
    /// How it counts.
    pub verdict: Verdict,
    /// Why it is void, where it is.
    pub void: Vec<String>,
    /// Why it could not be carried through, where it could not.
    pub error: Option<String>,
    /// Leaders that were killed.
    pub kills: Vec<Kill>,
    /// Times that all masters and shards, or all shards, were away.
    pub outages: Vec<Outage>,
    /// Agents that were killed.
    pub agent_kills: Vec<AgentKill>,
    /// Agents that were paused while their tasks needed leases.
    pub fencings: Vec<Fencing>,
    /// Nodes that were killed with everything on them.
    pub node_losses: Vec<NodeLoss>,
    /// Shards that were killed alone.
    pub shard_kills: Vec<ShardKill>,
    /// Leaders that were paused.
    pub pauses: Vec<Pause>,
    /// Followers that were away for longer than the log reaches back.
    pub catch_ups: Vec<CatchUp>,
    /// Masters that were replaced.
    pub replacements: Vec<Replacement>,
    /// What a large job cost an undisturbed leader.
    pub throughput: Option<Throughput>,
    /// Median over all kills, pauses and outages.
    pub p50_ms_to_next_write: Option<u64>,
    /// Longest of all kills, pauses and outages.
    pub max_ms_to_next_write: Option<u64>,
    /// Tasks of the big job over the time from its acknowledgement to its end, faults included.
    pub tasks_per_second: Option<f64>,
    /// The same over the times between a killed master's return and the next kill.
    pub tasks_per_second_between: Option<f64>,
    /// Small jobs that the cell acknowledged.
    pub acknowledged: usize,
    /// Small jobs of which it is certain that they were not accepted.
    pub refused: usize,
    /// Small jobs whose outcome the client did not learn.
    pub unknown: usize,
    /// Acknowledged small jobs that are not there.
    pub lost: usize,
    /// Tasks that needed more than one attempt.
    pub attempts_above_one: usize,
    /// The last revision at which all masters were seen with the same digest.
    pub digests_equal_at: Option<u64>,
    /// Every promise that the cell broke.
    pub violations: Vec<String>,
    /// How long it took, from the start of the cell to its end.
    pub seconds: f64,
}

impl Report {
    /// Nothing has happened yet.
    pub fn new(scenario: &'static str, run: String, params: Value) -> Self {
        Self {
            scenario,
            run,
            params,
            verdict: Verdict::Error,
            void: Vec::new(),
            error: None,
            kills: Vec::new(),
            outages: Vec::new(),
            agent_kills: Vec::new(),
            fencings: Vec::new(),
            node_losses: Vec::new(),
            shard_kills: Vec::new(),
            pauses: Vec::new(),
            catch_ups: Vec::new(),
            replacements: Vec::new(),
            throughput: None,
            p50_ms_to_next_write: None,
            max_ms_to_next_write: None,
            tasks_per_second: None,
            tasks_per_second_between: None,
            acknowledged: 0,
            refused: 0,
            unknown: 0,
            lost: 0,
            attempts_above_one: 0,
            digests_equal_at: None,
            violations: Vec::new(),
            seconds: 0.0,
        }
    }

    /// Takes over what the record showed. Too few acknowledged calls show nothing.
    pub fn take_held(&mut self, held: Held, acknowledged_min: usize) {
        if held.acknowledged < acknowledged_min {
            self.void
                .push(format!("{} calls were acknowledged, asked for {acknowledged_min}", held.acknowledged));
        }
        self.acknowledged = held.acknowledged;
        self.refused = held.refused;
        self.unknown = held.unknown;
        self.lost = held.lost;
        self.violations.extend(held.violations);
    }

    /// Nothing more will happen: what follows from it all.
    pub fn conclude(&mut self) {
        let kills = self.kills.iter().map(|kill| kill.ms_to_next_write);
        let pauses = self.pauses.iter().map(|pause| pause.ms_to_next_write);
        let outages = self.outages.iter().filter_map(|outage| outage.ms_to_next_write);
        let mut waits: Vec<u64> = kills.chain(pauses).chain(outages).collect();
        waits.sort_unstable();
        self.p50_ms_to_next_write = waits.get(waits.len().saturating_sub(1) / 2).copied();
        self.max_ms_to_next_write = waits.last().copied();
        // A broken promise stays one however little else happened.
        self.verdict = if !self.violations.is_empty() {
            Verdict::Violated
        } else if self.error.is_some() {
            Verdict::Error
        } else if !self.void.is_empty() {
            Verdict::Void
        } else {
            Verdict::Passed
        };
    }

    /// Everything that was done to the cell, kind by kind.
    fn faults(&self) -> Vec<String> {
        let kills = self.kills.iter().map(Kill::text);
        let outages = self.outages.iter().map(Outage::text);
        let agents = self.agent_kills.iter().map(AgentKill::text);
        let fencings = self.fencings.iter().map(Fencing::text);
        let losses = self.node_losses.iter().map(NodeLoss::text);
        let shards = self.shard_kills.iter().map(ShardKill::text);
        let pauses = self.pauses.iter().map(Pause::text);
        let catch_ups = self.catch_ups.iter().map(CatchUp::text);
        let replacements = self.replacements.iter().map(Replacement::text);
        let throughput = self.throughput.iter().map(Throughput::text);
        kills
            .chain(agents)
            .chain(fencings)
            .chain(losses)
            .chain(shards)
            .chain(outages)
            .chain(pauses)
            .chain(catch_ups)
            .chain(replacements)
            .chain(throughput)
            .collect()
    }

    /// The lines for people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let verdict = format!("{:?}", self.verdict).to_lowercase();
        let mut line = |words: String| writeln!(text, "{words}").expect("a String takes all text");
        line(format!("{}: {verdict} in {:.0} s", self.scenario, self.seconds));
        self.faults().iter().for_each(|fault| line(format!("  {fault}")));
        if let (Some(p50), Some(max)) = (self.p50_ms_to_next_write, self.max_ms_to_next_write) {
            line(format!("  time to the next committed write: p50 {p50} ms, max {max} ms"));
        }
        if let Some(rate) = self.tasks_per_second {
            line(format!("  tasks per second: {rate:.1}"));
        }
        if let Some(rate) = self.tasks_per_second_between {
            line(format!("  tasks per second between the failovers: {rate:.1}"));
        }
        line(format!(
            "  submissions: {} acknowledged, {} refused, {} unknown; {} acknowledged lost",
            self.acknowledged, self.refused, self.unknown, self.lost
        ));
        line(format!("  tasks that needed more than one attempt: {}", self.attempts_above_one));
        if let Some(revision) = self.digests_equal_at {
            line(format!("  all masters had the same digest at revision {revision}"));
        }
        self.void.iter().for_each(|why| line(format!("  VOID: {why}")));
        self.error.iter().for_each(|error| line(format!("  ERROR: {error}")));
        self.violations.iter().for_each(|violation| line(format!("  VIOLATION: {violation}")));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report::new("leader-kill", "1-1".to_owned(), Value::Null);
        for ms_to_next_write in [900, 100, 300, 200] {
            let leader = "m1".to_owned();
            let (term, next_term) = (4, 5);
            let kill =
                Kill { leader, term, next_term, ms_to_next_write, ms_to_caught_up: 1_000, tasks_ended: 5 };
            report.kills.push(kill);
        }
        report
    }

    #[test]
    fn a_clean_run_passes_with_its_median_and_its_longest() {
        let mut report = report();
        report.take_held(Held { acknowledged: 3, ..Held::default() }, 3);
        report.conclude();
        assert_eq!(report.verdict, Verdict::Passed);
        assert_eq!((report.p50_ms_to_next_write, report.max_ms_to_next_write), (Some(200), Some(900)));
        let json = serde_json::to_value(&report).expect("JSON");
        assert_eq!(json["verdict"], "passed");
        assert_eq!(json["kills"][0]["leader"], "m1");
        assert_eq!(json["lost"], 0);
    }

    #[test]
    fn too_little_is_void_and_a_broken_promise_weighs_more() {
        let mut report = report();
        report.take_held(Held { acknowledged: 2, ..Held::default() }, 3);
        report.conclude();
        assert_eq!(report.verdict, Verdict::Void);
        assert!(report.text().contains("VOID: 2 calls were acknowledged, asked for 3"), "{}", report.text());
        report.violations.push("job a: gone".to_owned());
        report.conclude();
        assert_eq!(report.verdict, Verdict::Violated);
    }
}
