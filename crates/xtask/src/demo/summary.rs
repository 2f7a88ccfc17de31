//! The end of the demo: a summary for people, and the same as one line of JSON for scripts.

use std::fmt::Write;

use anyhow::Result;
use serde_json::{Value, json};

use super::Seen;
use super::cell::{AGENTS, MASTERS, SHARDS};
use super::failover::Failover;
use super::outcome::Outcome;
use crate::parts::Parts;

/// A few lines for people.
pub fn text(seen: &Seen, parts: &Parts) -> String {
    let mut text = String::new();
    let mut line = |words: String| {
        writeln!(text, "{words}").expect("writing to a String cannot fail");
    };
    line(String::new());
    line(format!("{MASTERS} masters, {SHARDS} shard, {AGENTS} agents; every connection with mutual TLS."));
    line(format!("Cell ready after {:.1} s.", parts.seconds("start")));
    for (outcome, part) in [(&seen.before, "job"), (&seen.after, "job-again")] {
        line(format!(
            "Job {} (uid {}) ended in {:.1} s at revision {}: {} succeeded, {} failed, as written in its file.",
            outcome.name,
            plain(&outcome.uid),
            parts.seconds(part),
            outcome.revision,
            outcome.tasks["succeeded"],
            outcome.tasks["failed"],
        ));
        for (index, (node, code)) in outcome.runs.iter().enumerate() {
            line(format!("  task {index} on {node}: exit code {code}"));
        }
        if part == "job" {
            let Failover { killed, leader, seconds } = &seen.failover;
            line(format!(
                "Leader {killed} killed with SIGKILL; the next write was committed {seconds:.1} s later; {leader} leads."
            ));
        }
    }
    line("All exit codes are right, the counts add up, no process is left.".into());
    text
}

/// The summary, or the error, on one line.
pub fn json(seen: &Result<Seen>, parts: &Parts) -> Value {
    let seconds = json!({
        "set_up": tenths(parts.seconds("set-up")),
        "build": tenths(parts.seconds("build")),
        "start": tenths(parts.seconds("start")),
        "job": tenths(parts.seconds("job")),
        "job_again": tenths(parts.seconds("job-again")),
        "stop": tenths(parts.seconds("stop")),
    });
    let job = |outcome: &Outcome| {
        json!({
            "name": outcome.name, "uid": outcome.uid, "state": outcome.state, "revision": outcome.revision,
            "tasks": outcome.tasks, "exit_codes": outcome.exit_codes,
        })
    };
    let number = |text: &str| text.parse::<u64>().unwrap_or_default();
    match seen {
        Ok(seen) => json!({
            "ok": true,
            "masters": number(MASTERS), "shards": number(SHARDS), "agents": number(AGENTS),
            "job": job(&seen.before),
            "job_again": job(&seen.after),
            "failover": {
                "killed": seen.failover.killed, "leader": seen.failover.leader,
                "seconds_to_next_write": (seen.failover.seconds * 1000.0).round() / 1000.0,
            },
            "seconds": seconds,
        }),
        Err(error) => json!({"ok": false, "error": format!("{error:#}"), "seconds": seconds}),
    }
}

fn tenths(seconds: f64) -> f64 {
    (seconds * 10.0).round() / 10.0
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
