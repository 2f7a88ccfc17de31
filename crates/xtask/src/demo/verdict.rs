//! What must hold at the end of the demo: one line each, with what was expected and what was found.
//!
//! Pure: what was seen in, lines out. The demo has succeeded only if every line holds.

use super::Seen;
use super::batch::{Moment, TASKS};
use super::cell::AGENTS;
use super::submissions::Audit;

/// One thing that must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub holds: bool,
    pub expected: String,
    pub found: String,
}

/// Every line, in the order of the demo.
pub fn lines(seen: &Seen) -> Vec<Line> {
    let mut lines = kills(seen);
    lines.extend(batch(seen));
    lines.extend(submissions(&seen.audit));
    lines
}

fn line(expected: impl Into<String>, holds: bool, found: impl Into<String>) -> Line {
    Line { holds, expected: expected.into(), found: found.into() }
}

fn kills(seen: &Seen) -> Vec<Line> {
    let (leader, shard, agent) = (&seen.leader, &seen.shard, &seen.agent);
    vec![
        under_way("the leader", leader.at),
        line(
            format!(
                "another master than {} leads after it was killed, and a write was committed",
                leader.killed
            ),
            leader.leader != leader.killed && leader.written,
            format!(
                "{} leads, the next write was {}",
                leader.leader,
                if leader.written { "acknowledged" } else { "not acknowledged" }
            ),
        ),
        under_way("a shard", shard.at),
        line(
            format!("a shard that carried agents was killed, and {AGENTS} agents are up in the end"),
            shard.carried > 0 && seen.nodes_up == AGENTS,
            format!("{} carried {}, {} are up", shard.killed, shard.carried, seen.nodes_up),
        ),
        under_way("an agent", agent.at),
        line(
            "its tasks ran on without it, one ended meanwhile, and another process took its place",
            agent.ran_on > 0 && agent.ended_meanwhile > 0 && agent.new_pid != agent.pid,
            format!(
                "{} tasks of {} ran on, {} ended meanwhile, process {} after {}",
                agent.ran_on, agent.killed, agent.ended_meanwhile, agent.new_pid, agent.pid
            ),
        ),
    ]
}

fn under_way(what: &str, at: Moment) -> Line {
    let holds = at.ended > 0 && at.running > 0 && at.ended + at.running <= TASKS as u64;
    line(
        format!("{what} was killed while the batch was under way"),
        holds,
        format!("{} of {TASKS} tasks had ended and {} ran", at.ended, at.running),
    )
}

fn batch(seen: &Seen) -> Vec<Line> {
    let ended = &seen.ended;
    let counts: Vec<String> = ended.tasks.iter().map(|(state, count)| format!("{count} {state}")).collect();
    let all = ended.tasks.len() == 1 && ended.tasks.get("succeeded") == Some(&(TASKS as u64));
    let results = &seen.results;
    vec![
        line(
            format!("{TASKS} tasks succeeded"),
            all && ended.state == "succeeded",
            format!("{}: {}", ended.state, counts.join(", ")),
        ),
        line(
            format!("each of {TASKS} tasks ended in attempt 1"),
            ended.listed == TASKS && ended.max_attempt == 1 && ended.beyond_first == 0,
            format!(
                "{} tasks, the highest attempt is {}, {} are beyond the first",
                ended.listed, ended.max_attempt, ended.beyond_first
            ),
        ),
        line(
            format!("{TASKS} results equal those of a single process"),
            results.equal == TASKS,
            match &results.first_difference {
                None => format!("{} equal", results.equal),
                Some(first) => format!("{} equal; {first}", results.equal),
            },
        ),
    ]
}

fn submissions(audit: &Audit) -> Vec<Line> {
    let named = |names: &[String]| match names.first() {
        None => "0".to_owned(),
        Some(first) => format!("{}, the first is {first}", names.len()),
    };
    vec![
        line(
            "submissions were acknowledged all along, and 0 of them are lost",
            audit.acknowledged > 0 && audit.lost.is_empty(),
            format!("{} acknowledged, lost: {}", audit.acknowledged, named(&audit.lost)),
        ),
        line(
            "0 submissions were done twice and 0 were not done",
            audit.doubled.is_empty() && audit.not_succeeded.is_empty(),
            format!("twice: {}; not done: {}", named(&audit.doubled), named(&audit.not_succeeded)),
        ),
        line(
            "0 submissions were refused: a failover is no error",
            audit.refused.is_empty(),
            named(&audit.refused),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_holds_when_everything_is_right() {
        let wrong: Vec<Line> = lines(&Seen::example()).into_iter().filter(|line| !line.holds).collect();
        assert_eq!(wrong, []);
    }

    /// The canary: each single thing that is wrong fails exactly one line.
    #[test]
    fn every_single_thing_that_is_wrong_is_found() {
        type Change = fn(&mut Seen);
        let changes: [(&str, Change); 21] = [
            ("idle at the leader's end", |seen| seen.leader.at.running = 0),
            ("not begun at the leader's end", |seen| seen.leader.at.ended = 0),
            ("the same leader", |seen| seen.leader.leader = seen.leader.killed.clone()),
            ("no next write", |seen| seen.leader.written = false),
            ("over at the shard's end", |seen| seen.shard.at.running = 0),
            ("a shard without agents", |seen| seen.shard.carried = 0),
            ("an agent is missing", |seen| seen.nodes_up = AGENTS - 1),
            ("idle at the agent's end", |seen| seen.agent.at.running = 0),
            ("tasks died with their agent", |seen| seen.agent.ran_on = 0),
            ("nothing ended meanwhile", |seen| seen.agent.ended_meanwhile = 0),
            ("the agent never died", |seen| seen.agent.new_pid = seen.agent.pid),
            ("a task failed", |seen| {
                seen.ended.tasks.insert("failed".into(), 1);
            }),
            ("a task is missing", |seen| {
                seen.ended.tasks.insert("succeeded".into(), TASKS as u64 - 1);
            }),
            ("a second attempt", |seen| seen.ended.beyond_first = 1),
            ("a task is not listed", |seen| seen.ended.listed = TASKS - 1),
            ("a result differs", |seen| seen.results.equal = TASKS - 1),
            ("nothing submitted", |seen| seen.audit.acknowledged = 0),
            ("lost", |seen| seen.audit.lost.push("small-1".into())),
            ("doubled", |seen| seen.audit.doubled.push("small-1".into())),
            ("not done", |seen| seen.audit.not_succeeded.push("small-1".into())),
            ("refused", |seen| seen.audit.refused.push("small-1".into())),
        ];
        for (what, change) in changes {
            let mut seen = Seen::example();
            change(&mut seen);
            let wrong = lines(&seen).iter().filter(|line| !line.holds).count();
            assert_eq!(wrong, 1, "{what}");
        }
    }
}
