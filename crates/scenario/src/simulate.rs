//! The `simulate` block of a job file.

use paceline_rules::{Failures, Kills, LaunchFaults, RunsMs, Simulate};
use paceline_types::OnStop;

use crate::duration::parse_duration_ms;
use crate::fields::{Fields, Reader};
use crate::job_file::{COUNT, DURATION, optional};
use crate::yaml::{Kind, Node};

const FIELDS: &[&str] =
    &["runs", "failures", "kills", "out_of_memory", "stop", "launch_faults", "output_bytes_per_second"];
const RUNS: &str = "a duration, as in 30s, or a range of them, as in {from: 1s, to: 5s}";
/// The code of a failure unless the file says otherwise.
const EXIT_CODE_DEFAULT: u32 = 1;
/// The signal that kills unless the file says otherwise: SIGKILL.
const SIGNAL_DEFAULT: u32 = 9;

/// Reads the block. What was left out does not happen.
pub(crate) fn block(reader: &mut Reader, node: &Node, path: &str) -> Simulate {
    let fields = reader.map(node, path, FIELDS);
    let runs = fields.required("runs", reader, RUNS);
    let failures = share(reader, &fields, "failures", "exit_code", Some(EXIT_CODE_DEFAULT));
    let kills = share(reader, &fields, "kills", "signal", Some(SIGNAL_DEFAULT));
    let faults = share(reader, &fields, "launch_faults", "times", None);
    Simulate {
        runs: runs.map_or(RunsMs { from: 0, to: 0 }, |(node, field)| range(reader, node, &field)),
        failures: failures.map(|(permille, exit_code)| Failures { permille, exit_code }),
        kills: kills.map(|(permille, signal)| Kills { permille, signal }),
        out_of_memory_permille: optional(reader, &fields, "out_of_memory", str::parse, COUNT).unwrap_or(0),
        on_stop: optional(reader, &fields, "stop", on_stop, "a duration, as in 200ms, or never")
            .unwrap_or(OnStop::EndsAfter(0)),
        launch_faults: faults.map(|(permille, times)| LaunchFaults { permille, times }),
        output_bytes_per_second: optional(reader, &fields, "output_bytes_per_second", str::parse, COUNT)
            .unwrap_or(0),
    }
}

fn range(reader: &mut Reader, node: &Node, path: &str) -> RunsMs {
    if let Kind::Scalar { .. } = node.kind {
        let ms = reader.parse(node, path, parse_duration_ms, RUNS).unwrap_or(0);
        return RunsMs { from: ms, to: ms };
    }
    let fields = reader.map(node, path, &["from", "to"]);
    let mut end = |key| {
        let found = fields.required(key, reader, DURATION);
        found.and_then(|(node, field)| reader.parse(node, &field, parse_duration_ms, DURATION))
    };
    let (from, to) = (end("from"), end("to"));
    // An end that could not be read stands at the other, which is no second fault.
    RunsMs { from: from.or(to).unwrap_or(0), to: to.or(from).unwrap_or(0) }
}

/// A map of `permille` and one more number, which must be there where it has no default.
fn share(
    reader: &mut Reader,
    fields: &Fields<'_>,
    key: &str,
    other: &str,
    default: Option<u32>,
) -> Option<(u32, u32)> {
    let (node, path) = fields.optional(key)?;
    let fields = reader.map(node, &path, &["permille", other]);
    if !matches!(node.kind, Kind::Map(_)) {
        return None;
    }
    let mut number = |key, default: Option<u32>| {
        let found = match default {
            Some(_) => fields.optional(key),
            None => fields.required(key, reader, COUNT),
        };
        let read = found.and_then(|(node, field)| reader.parse(node, &field, str::parse, COUNT));
        read.or(default).unwrap_or(0)
    };
    Some((number("permille", None), number(other, default)))
}

fn on_stop(text: &str) -> Result<OnStop, crate::ParseDurationError> {
    if text == "never" { Ok(OnStop::Ignores) } else { parse_duration_ms(text).map(OnStop::EndsAfter) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read_job;
    use paceline_rules::Limits;

    fn read(block: &str) -> Result<Simulate, Vec<String>> {
        let text =
            format!("name: j\ntasks: 1\nrun: [x]\nresources: {{cpu: 10m, memory: 8Mi}}\nsimulate:\n{block}");
        let lines = |faults: crate::Faults| faults.0.iter().map(ToString::to_string).collect::<Vec<_>>();
        let job = read_job(&text, &Limits::default()).map_err(lines)?;
        Ok(job.simulate.expect("the block is there"))
    }

    #[test]
    fn the_shortest_block_runs_and_succeeds() {
        assert_eq!(read("  runs: 30s\n"), Ok(Simulate::lasting(30_000)));
    }

    #[test]
    fn every_field_is_read() {
        let block = "  runs: {from: 1s, to: 90s}\n  failures: {permille: 20, exit_code: 3}\n  \
                     kills: {permille: 10, signal: 11}\n  out_of_memory: 5\n  stop: 200ms\n  \
                     launch_faults: {permille: 7, times: 2}\n  output_bytes_per_second: 64\n";
        let expected = Simulate {
            runs: RunsMs { from: 1_000, to: 90_000 },
            failures: Some(Failures { permille: 20, exit_code: 3 }),
            kills: Some(Kills { permille: 10, signal: 11 }),
            out_of_memory_permille: 5,
            on_stop: OnStop::EndsAfter(200),
            launch_faults: Some(LaunchFaults { permille: 7, times: 2 }),
            output_bytes_per_second: 64,
        };
        assert_eq!(read(block), Ok(expected));
        let short = "  runs: 1s\n  failures: {permille: 1}\n  kills: {permille: 2}\n  stop: never\n";
        let expected = Simulate {
            failures: Some(Failures { permille: 1, exit_code: 1 }),
            kills: Some(Kills { permille: 2, signal: 9 }),
            on_stop: OnStop::Ignores,
            ..Simulate::lasting(1_000)
        };
        assert_eq!(read(short), Ok(expected));
    }

    #[test]
    fn the_block_of_the_example_is_sound() {
        let lines = crate::EXAMPLE.lines().skip_while(|line| !line.starts_with("# simulate:"));
        let lines =
            lines.take_while(|line| line.starts_with('#')).map(|line| line.trim_start_matches(['#', ' ']));
        let block: String = lines.skip(1).map(|line| format!("  {line}\n")).collect();
        assert!(read(&block).expect("sound").launch_faults.is_some());
    }

    #[test]
    fn every_fault_of_a_block_is_said_at_once_with_its_place() {
        let block = "  runs: {from: 5s, to: soon}\n  failures: {permille: 2000}\n  kills: often\n  \
                     stop: later\n  launch_faults: {permille: 1}\n  speed: 3\n";
        assert_eq!(
            read(block).expect_err("faults"),
            [
                "6:24: simulate.runs.to: `soon`: expected a duration, as in 250ms, 30s, 5m or 2h",
                "7:24: simulate.failures.permille: `2000`: expected 1 to 1000",
                "8:10: simulate.kills: `often`: expected a map with permille, signal",
                "9:9: simulate.stop: `later`: expected a duration, as in 200ms, or never",
                "10:18: simulate.launch_faults.times: expected a whole number, 0 or more; the field is missing",
                "11:3: simulate.speed: expected one of runs, failures, kills, out_of_memory, stop, launch_faults, \
                 output_bytes_per_second",
            ]
        );
        assert_eq!(
            read("  stop: 1s\n").expect_err("faults"),
            [
                "6:3: simulate.runs: expected a duration, as in 30s, or a range of them, as in {from: 1s, to: 5s}; \
                 the field is missing"
            ]
        );
    }
}
