//! What a job pretends to do. Every value of the one side is one of the other; what makes sense is said by `rules`.

use paceline_rules::{Failures, Kills, LaunchFaults, RunsMs, Simulate};
use paceline_types::OnStop;

use crate::v1;

impl From<v1::Simulate> for Simulate {
    fn from(block: v1::Simulate) -> Self {
        let failures =
            |of: v1::SimulatedFailures| Failures { permille: of.permille, exit_code: of.exit_code };
        let kills = |of: v1::SimulatedKills| Kills { permille: of.permille, signal: of.signal };
        let launches =
            |of: v1::SimulatedLaunchFaults| LaunchFaults { permille: of.permille, times: of.times };
        Self {
            runs: RunsMs { from: block.runs_from_ms, to: block.runs_to_ms },
            failures: block.failures.map(failures),
            kills: block.kills.map(kills),
            out_of_memory_permille: block.out_of_memory_permille,
            on_stop: block.stop_ms.map_or(OnStop::Ignores, OnStop::EndsAfter),
            launch_faults: block.launch_faults.map(launches),
            output_bytes_per_second: block.output_bytes_per_second,
        }
    }
}

impl From<Simulate> for v1::Simulate {
    fn from(block: Simulate) -> Self {
        let failures =
            |of: Failures| v1::SimulatedFailures { permille: of.permille, exit_code: of.exit_code };
        let kills = |of: Kills| v1::SimulatedKills { permille: of.permille, signal: of.signal };
        let launches =
            |of: LaunchFaults| v1::SimulatedLaunchFaults { permille: of.permille, times: of.times };
        Self {
            runs_from_ms: block.runs.from,
            runs_to_ms: block.runs.to,
            failures: block.failures.map(failures),
            kills: block.kills.map(kills),
            out_of_memory_permille: block.out_of_memory_permille,
            stop_ms: match block.on_stop {
                OnStop::EndsAfter(ms) => Some(ms),
                OnStop::Ignores => None,
            },
            launch_faults: block.launch_faults.map(launches),
            output_bytes_per_second: block.output_bytes_per_second,
        }
    }
}
