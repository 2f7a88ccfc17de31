//! The end of the demo: a summary for people, and the same as one line of JSON for scripts.

use std::fmt::Write;

use anyhow::Result;
use serde_json::{Value, json};

use super::Seen;
use super::batch::{JOB, JOB_FILE, Moment, TASKS};
use super::cell::{AGENTS, MASTERS, SHARDS};
use super::verdict::{self, Line};
use crate::parts::Parts;

/// Some lines for people.
pub fn text(seen: &Seen, parts: &Parts) -> String {
    let mut text = String::new();
    let mut say = |words: String| {
        writeln!(text, "{words}").expect("writing to a String cannot fail");
    };
    say(format!(
        "\n{MASTERS} masters, {SHARDS} shards, {AGENTS} agents; ready after {:.1} s; every connection with mutual TLS",
        parts.seconds("start")
    ));
    say(format!(
        "{JOB_FILE}: {} words in {} documents of {}, by {TASKS} tasks on {} nodes in {:.1} s",
        seen.results.words,
        seen.documents.1,
        seen.documents.0,
        seen.ended.by_node.len(),
        parts.seconds("batch"),
    ));
    let frequent: Vec<String> =
        seen.results.most_frequent.iter().map(|(word, count)| format!("{word} {count}")).collect();
    say(format!("  the most frequent: {}", frequent.join(", ")));
    let (leader, shard, agent) = (&seen.leader, &seen.shard, &seen.agent);
    say(format!(
        "{}: {}, the leader, killed; the next write was committed {:.2} s later, {} leads",
        percent(leader.at),
        leader.killed,
        leader.seconds,
        leader.leader
    ));
    say(format!(
        "{}: {}, a shard with {} agents, killed; all were connected by the other one {:.2} s later",
        percent(shard.at),
        shard.killed,
        shard.carried,
        shard.seconds
    ));
    say(format!(
        "{}: {}, an agent, killed and started again {:.2} s later; {} tasks ran on without it, {} ended meanwhile",
        percent(agent.at),
        agent.killed,
        agent.seconds,
        agent.ran_on,
        agent.ended_meanwhile
    ));
    say(format!(
        "{} small jobs submitted all along, {} without an answer\n",
        seen.audit.acknowledged, seen.audit.unknown
    ));
    for line in verdict::lines(seen) {
        say(self::line(&line));
    }
    text
}

/// One line of the verdict.
fn line(line: &Line) -> String {
    if line.holds {
        format!("ok      {} ({})", line.expected, line.found)
    } else {
        format!("FAILED  expected: {}\n        found:    {}", line.expected, line.found)
    }
}

/// The summary, or the error, on one line.
pub fn json(outcome: &Result<Seen>, parts: &Parts) -> Value {
    let seconds = json!({
        "set_up": tenths(parts.seconds("set-up")),
        "build": tenths(parts.seconds("build")),
        "count": tenths(parts.seconds("count")),
        "start": tenths(parts.seconds("start")),
        "batch": tenths(parts.seconds("batch")),
        "audit": tenths(parts.seconds("audit")),
        "stop": tenths(parts.seconds("stop")),
        "demo": tenths(["count", "start", "batch", "audit", "stop"].map(|part| parts.seconds(part)).iter().sum()),
    });
    match outcome {
        Ok(seen) => seen_json(seen, &seconds),
        Err(error) => json!({"ok": false, "error": format!("{error:#}"), "seconds": seconds}),
    }
}

fn seen_json(seen: &Seen, seconds: &Value) -> Value {
    let lines = verdict::lines(seen);
    let checks: Vec<Value> = lines
        .iter()
        .map(|line| json!({"ok": line.holds, "expected": line.expected, "found": line.found}))
        .collect();
    let (ended, results, audit) = (&seen.ended, &seen.results, &seen.audit);
    let (leader, shard, agent) = (&seen.leader, &seen.shard, &seen.agent);
    json!({
        "ok": lines.iter().all(|line| line.holds),
        "checks": checks,
        "masters": MASTERS, "shards": SHARDS, "agents": AGENTS,
        "batch": {
            "job": JOB, "uid": ended.uid, "file": JOB_FILE, "state": ended.state,
            "tasks": TASKS, "succeeded": ended.tasks.get("succeeded").copied().unwrap_or_default(),
            "max_attempt": ended.max_attempt, "tasks_beyond_attempt_1": ended.beyond_first,
            "by_node": ended.by_node,
            "documents": {"folder": seen.documents.0, "count": seen.documents.1, "words": results.words},
            "results_equal": results.equal == TASKS, "results_that_are_equal": results.equal,
            "seconds": seconds["batch"],
        },
        "leader_killed": {
            "at": moment(leader.at), "killed": leader.killed, "pid": leader.pid, "leader": leader.leader,
            "seconds_to_next_write": thousandths(leader.seconds),
        },
        "shard_killed": {
            "at": moment(shard.at), "killed": shard.killed, "pid": shard.pid, "agents": shard.carried,
            "seconds_to_all_agents_connected": thousandths(shard.seconds),
        },
        "agent_killed": {
            "at": moment(agent.at), "killed": agent.killed, "pid": agent.pid, "new_pid": agent.new_pid,
            "tasks_ran_on": agent.ran_on, "tasks_ended_meanwhile": agent.ended_meanwhile,
            "seconds_away": thousandths(agent.seconds),
        },
        "submissions": {
            "acknowledged": audit.acknowledged, "lost": audit.lost.len(), "doubled": audit.doubled.len(),
            "not_succeeded": audit.not_succeeded.len(), "refused": audit.refused.len(), "unknown": audit.unknown,
        },
        "pids": seen.pids,
        "seconds": seconds,
    })
}

fn moment(at: Moment) -> Value {
    json!({"tasks_ended": at.ended, "tasks_running": at.running})
}

fn percent(at: Moment) -> String {
    format!("at {} %", at.ended * 100 / TASKS as u64)
}

fn tenths(seconds: f64) -> f64 {
    // A sum of nothing is minus zero.
    (seconds * 10.0).round() / 10.0 + 0.0
}

fn thousandths(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_and_scripts_are_told_the_same() {
        let seen = Seen::example();
        let text = text(&seen, &Parts::default());
        assert!(text.contains("at 20 %: m1") && !text.contains("FAILED"), "{text}");
        let value = json(&Ok(seen), &Parts::default());
        assert_eq!((&value["ok"], &value["submissions"]["lost"]), (&json!(true), &json!(0)));
        assert_eq!(value["leader_killed"]["seconds_to_next_write"], json!(0.543));
    }

    #[test]
    fn a_line_that_fails_says_what_was_expected_and_found() {
        let mut seen = Seen::example();
        seen.results.equal = 399;
        seen.results.first_difference = Some("task 7 differs".into());
        let text = text(&seen, &Parts::default());
        assert!(
            text.contains("FAILED  expected: 400 results equal") && text.contains("task 7 differs"),
            "{text}"
        );
        assert_eq!(json(&Ok(seen), &Parts::default())["ok"], json!(false));
    }
}
