//! The end of the demo: a summary for people, and the same as one line of JSON for scripts.

use std::fmt::Write;

use anyhow::Result;
use serde_json::{Value, json};

use super::outcome::Outcome;
use crate::parts::Parts;

/// A few lines for people.
pub fn text(outcome: &Outcome, parts: &Parts) -> String {
    let mut text = String::new();
    let mut line = |words: String| {
        writeln!(text, "{words}").expect("writing to a String cannot fail");
    };
    line(String::new());
    line("One master, one shard, one agent; every connection with mutual TLS.".into());
    line(format!("Cell ready after {:.1} s.", parts.seconds("start")));
    line(format!(
        "Job {} (uid {}) ended in {:.1} s at revision {}: {} succeeded, {} failed, as written in its file.",
        outcome.name,
        plain(&outcome.uid),
        parts.seconds("job"),
        outcome.revision,
        outcome.tasks["succeeded"],
        outcome.tasks["failed"],
    ));
    for (index, (node, code)) in outcome.runs.iter().enumerate() {
        line(format!("  task {index} on {node}: exit code {code}"));
    }
    line("All exit codes are right, the counts add up, no process is left.".into());
    text
}

/// The summary, or the error, on one line.
pub fn json(outcome: &Result<Outcome>, parts: &Parts) -> Value {
    let seconds = json!({
        "set_up": tenths(parts.seconds("set-up")),
        "build": tenths(parts.seconds("build")),
        "start": tenths(parts.seconds("start")),
        "job": tenths(parts.seconds("job")),
        "stop": tenths(parts.seconds("stop")),
    });
    match outcome {
        Ok(outcome) => json!({
            "ok": true,
            "masters": 1, "shards": 1, "agents": 1,
            "job": {
                "name": outcome.name, "uid": outcome.uid, "state": outcome.state, "revision": outcome.revision,
                "tasks": outcome.tasks, "exit_codes": outcome.exit_codes,
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
