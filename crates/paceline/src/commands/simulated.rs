//! What a job pretends to do, as JSON and as a line for people.

use paceline_client::v1;
use serde_json::{Value, json};

/// The block of a job; null where it runs for real.
pub fn json(block: Option<&v1::Simulate>) -> Value {
    let Some(block) = block else { return Value::Null };
    json!({
        "runs_ms": {"from": block.runs_from_ms, "to": block.runs_to_ms},
        "failures": block.failures.map(|of| json!({"permille": of.permille, "exit_code": of.exit_code})),
        "kills": block.kills.map(|of| json!({"permille": of.permille, "signal": of.signal})),
        "out_of_memory": block.out_of_memory_permille,
        "stop_ms": block.stop_ms,
        "launch_faults": block.launch_faults.map(|of| json!({"permille": of.permille, "times": of.times})),
        "output_bytes_per_second": block.output_bytes_per_second,
    })
}

/// `runs 1000 to 5000 ms; of 1000: 20 exit with 3, 10 end by signal 9, 5 run out of memory`.
pub fn text(block: &v1::Simulate) -> String {
    let (from, to) = (block.runs_from_ms, block.runs_to_ms);
    let mut text = if from == to { format!("runs {from} ms") } else { format!("runs {from} to {to} ms") };
    let ends: Vec<String> = [
        block.failures.map(|of| format!("{} exit with {}", of.permille, of.exit_code)),
        block.kills.map(|of| format!("{} end by signal {}", of.permille, of.signal)),
        Some(block.out_of_memory_permille).filter(|of| *of > 0).map(|of| format!("{of} run out of memory")),
        block.launch_faults.map(|of| format!("{} fail at launch {} times", of.permille, of.times)),
    ]
    .into_iter()
    .flatten()
    .collect();
    if !ends.is_empty() {
        text += &format!("; of 1000: {}", ends.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_job_pretends_reads_in_one_line() {
        let plain =
            v1::Simulate { runs_from_ms: 500, runs_to_ms: 500, stop_ms: Some(0), ..Default::default() };
        assert_eq!(text(&plain), "runs 500 ms");
        assert_eq!(json(Some(&plain))["failures"], Value::Null);
        assert_eq!(json(None), Value::Null);
        let full = v1::Simulate {
            runs_to_ms: 5_000,
            failures: Some(v1::SimulatedFailures { permille: 20, exit_code: 3 }),
            kills: Some(v1::SimulatedKills { permille: 10, signal: 9 }),
            out_of_memory_permille: 5,
            launch_faults: Some(v1::SimulatedLaunchFaults { permille: 7, times: 2 }),
            ..plain
        };
        assert_eq!(
            text(&full),
            "runs 500 to 5000 ms; of 1000: 20 exit with 3, 10 end by signal 9, 5 run out of memory, \
             7 fail at launch 2 times"
        );
        assert_eq!(json(Some(&full))["kills"]["signal"], 9);
    }
}
