//! Faults of a `simulate` block.

use paceline_types::OnStop;

use super::Faults;
use crate::simulate::{PERMILLE, Simulate};

/// Longest pretended run and stop: a year.
const DURATION_MS_MAX: u64 = 365 * 24 * 3_600_000;
/// Most output of one attempt: more than a log is worth, little enough that a reader keeps up.
const OUTPUT_BYTES_PER_SECOND_MAX: u64 = 1 << 20;
/// Most launch faults of one attempt.
const LAUNCH_FAULTS_MAX: u32 = 100;
/// What an exit code is that says of a failure.
const EXIT_CODE_MAX: u32 = 255;
/// Linux has no signal above.
const SIGNAL_MAX: u32 = 64;

pub(super) fn simulate(faults: &mut Faults, block: &Simulate) {
    let runs = block.runs;
    let expected = format!("at most {DURATION_MS_MAX} ms, which is a year");
    let ms = |ms: u64| format!("{ms} ms");
    faults.check(runs.to <= DURATION_MS_MAX, "simulate.runs.to", ms(runs.to), expected.as_str());
    let least = format!("at most {} ms, as `to`", runs.to);
    faults.check(runs.from <= runs.to, "simulate.runs.from", ms(runs.from), least);
    if let Some(failures) = block.failures {
        permille(faults, "simulate.failures.permille", failures.permille);
        within(faults, "simulate.failures.exit_code", failures.exit_code, EXIT_CODE_MAX);
    }
    if let Some(kills) = block.kills {
        permille(faults, "simulate.kills.permille", kills.permille);
        within(faults, "simulate.kills.signal", kills.signal, SIGNAL_MAX);
    }
    let memory = block.out_of_memory_permille;
    faults.check(memory <= PERMILLE, "simulate.out_of_memory", memory, format!("0 to {PERMILLE}"));
    let parts = [block.failures.map(|of| of.permille), block.kills.map(|of| of.permille), Some(memory)];
    let parts = parts.map(|part| u64::from(part.unwrap_or(0)));
    let (sum, each) = (parts.iter().sum::<u64>(), parts.iter().all(|part| *part <= u64::from(PERMILLE)));
    let whole = format!("failures, kills and out_of_memory of at most {PERMILLE} permille in all");
    faults.check(!each || sum <= u64::from(PERMILLE), "simulate", format!("{sum} permille"), whole);
    if let OnStop::EndsAfter(stop) = block.on_stop {
        faults.check(stop <= DURATION_MS_MAX, "simulate.stop", ms(stop), expected);
    }
    if let Some(launch) = block.launch_faults {
        permille(faults, "simulate.launch_faults.permille", launch.permille);
        within(faults, "simulate.launch_faults.times", launch.times, LAUNCH_FAULTS_MAX);
    }
    let (output, most) = (block.output_bytes_per_second, OUTPUT_BYTES_PER_SECOND_MAX);
    faults.check(output <= most, "simulate.output_bytes_per_second", output, format!("at most {most}"));
}

/// Where something is said, it happens to some.
fn permille(faults: &mut Faults, field: &str, value: u32) {
    within(faults, field, value, PERMILLE);
}

fn within(faults: &mut Faults, field: &str, value: u32, most: u32) {
    faults.check((1..=most).contains(&value), field, value, format!("1 to {most}"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::{Failures, Kills, LaunchFaults, RunsMs};
    use crate::{JobSpec, Limits, validate_job};
    use paceline_types::Resources;

    fn faults(block: Simulate) -> Vec<String> {
        let job =
            JobSpec { simulate: Some(block), ..JobSpec::batch("j", 1, &["/bin/true"], Resources::new(1, 1)) };
        let found = validate_job(&job, &Limits::default()).err().unwrap_or_default();
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_sound_block_has_no_fault() {
        assert_eq!(faults(Simulate::lasting(0)), Vec::<String>::new());
        let full = Simulate {
            failures: Some(Failures { permille: 500, exit_code: 255 }),
            kills: Some(Kills { permille: 400, signal: 64 }),
            out_of_memory_permille: 100,
            on_stop: OnStop::Ignores,
            launch_faults: Some(LaunchFaults { permille: 1_000, times: 100 }),
            output_bytes_per_second: 1 << 20,
            ..Simulate::lasting(DURATION_MS_MAX)
        };
        assert_eq!(faults(full), Vec::<String>::new());
    }

    #[test]
    fn every_fault_of_a_block_is_found_at_once() {
        let block = Simulate {
            runs: RunsMs { from: 5, to: 4 },
            failures: Some(Failures { permille: 0, exit_code: 256 }),
            kills: Some(Kills { permille: 1_001, signal: 0 }),
            out_of_memory_permille: 1_002,
            on_stop: OnStop::EndsAfter(u64::MAX),
            launch_faults: Some(LaunchFaults { permille: 0, times: 101 }),
            output_bytes_per_second: u64::MAX,
        };
        assert_eq!(
            faults(block),
            [
                "simulate.runs.from: `5 ms`: expected at most 4 ms, as `to`",
                "simulate.failures.permille: `0`: expected 1 to 1000",
                "simulate.failures.exit_code: `256`: expected 1 to 255",
                "simulate.kills.permille: `1001`: expected 1 to 1000",
                "simulate.kills.signal: `0`: expected 1 to 64",
                "simulate.out_of_memory: `1002`: expected 0 to 1000",
                "simulate.stop: `18446744073709551615 ms`: expected at most 31536000000 ms, which is a year",
                "simulate.launch_faults.permille: `0`: expected 1 to 1000",
                "simulate.launch_faults.times: `101`: expected 1 to 100",
                "simulate.output_bytes_per_second: `18446744073709551615`: expected at most 1048576",
            ]
        );
    }

    #[test]
    fn chances_that_are_more_than_all_together_are_refused() {
        let block = Simulate {
            failures: Some(Failures { permille: 600, exit_code: 1 }),
            out_of_memory_permille: 401,
            ..Simulate::lasting(1)
        };
        assert_eq!(
            faults(block),
            [
                "simulate: `1001 permille`: expected failures, kills and out_of_memory of at most 1000 permille in all"
            ]
        );
    }
}
