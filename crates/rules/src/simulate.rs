//! Jobs that only pretend to run: what their attempts do on a node that simulates.
//!
//! A block of ranges and chances, and from it the [`Script`] of each attempt by a hash of the attempt's name:
//! nothing random is needed, and whoever has the specification can say beforehand what every attempt will do.
//! Which nodes take such a job is decided in `predicate`; a runtime plays the script.

use paceline_types::{AttemptId, ExitStatus, OnStop, Script, ScriptEnd};

/// The word by which a node says that it only simulates.
pub const SIMULATED: &str = "simulated";

/// Chances are counted in thousandths.
pub const PERMILLE: u32 = 1_000;

/// What attempts of a job pretend to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Simulate {
    /// How long an attempt runs when it is left alone.
    pub runs: RunsMs,
    /// Those that exit with a code; the others exit with 0.
    pub failures: Option<Failures>,
    /// Those that a signal ends.
    pub kills: Option<Kills>,
    /// How many in a thousand end for memory.
    pub out_of_memory_permille: u32,
    /// What SIGTERM does.
    pub on_stop: OnStop,
    /// Launches that fail as if the node were in trouble.
    pub launch_faults: Option<LaunchFaults>,
    /// Standard output of a running attempt.
    pub output_bytes_per_second: u64,
}

/// A range of durations in milliseconds, both ends possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunsMs {
    /// The shortest.
    pub from: u64,
    /// The longest.
    pub to: u64,
}

/// Attempts that exit with a code other than 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failures {
    /// How many in a thousand.
    pub permille: u32,
    /// 1 to 255.
    pub exit_code: u32,
}

/// Attempts that end by a signal from outside the cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kills {
    /// How many in a thousand.
    pub permille: u32,
    /// 1 to 64.
    pub signal: u32,
}

/// Attempts whose launch fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaunchFaults {
    /// How many in a thousand.
    pub permille: u32,
    /// How often, before it succeeds. An agent tries three times, then the attempt ends as a fault of the node.
    pub times: u32,
}

impl Simulate {
    /// Every attempt runs this long and exits with 0.
    #[must_use]
    pub const fn lasting(ms: u64) -> Self {
        Self {
            runs: RunsMs { from: ms, to: ms },
            failures: None,
            kills: None,
            out_of_memory_permille: 0,
            on_stop: OnStop::EndsAfter(0),
            launch_faults: None,
            output_bytes_per_second: 0,
        }
    }

    /// What this attempt does. The same for ever: the scripts of committed jobs must not change with a new build.
    #[must_use]
    pub fn script(&self, attempt: AttemptId) -> Script {
        let span = u128::from(self.runs.to.saturating_sub(self.runs.from)) + 1;
        let more = (u128::from(draw(attempt, Draw::Runs)) * span) >> 64;
        let more = u64::try_from(more).expect("a 64-bit share of at most 2^64 stays below it");
        let faulty = self.launch_faults.filter(|faults| chance(attempt, Draw::LaunchFault) < faults.permille);
        Script {
            runs_ms: self.runs.from.saturating_add(more),
            end: self.end(chance(attempt, Draw::End)),
            on_stop: self.on_stop,
            launch_faults: faulty.map_or(0, |faults| faults.times),
            output_bytes_per_second: self.output_bytes_per_second,
        }
    }

    /// Failures take the lowest chances, kills the next, memory the next.
    fn end(&self, chance: u32) -> ScriptEnd {
        let failures = self.failures.map_or(0, |failures| failures.permille);
        let kills = failures.saturating_add(self.kills.map_or(0, |kills| kills.permille));
        let memory = kills.saturating_add(self.out_of_memory_permille);
        match (self.failures, self.kills) {
            (Some(Failures { exit_code, .. }), _) if chance < failures => {
                ScriptEnd::Exit(ExitStatus::Code(signed(exit_code)))
            }
            (_, Some(Kills { signal, .. })) if chance < kills => {
                ScriptEnd::Exit(ExitStatus::Signal(signed(signal)))
            }
            _ if chance < memory => ScriptEnd::OutOfMemory,
            _ => ScriptEnd::Exit(ExitStatus::Code(0)),
        }
    }
}

/// Codes and signals are small where they were validated.
fn signed(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// What is drawn; each has numbers of its own, so that a long run says nothing about its end.
#[derive(Clone, Copy)]
enum Draw {
    Runs = 1,
    End = 2,
    LaunchFault = 3,
}

/// A number below [`PERMILLE`].
fn chance(attempt: AttemptId, draw_of: Draw) -> u32 {
    let share = (u128::from(draw(attempt, draw_of)) * u128::from(PERMILLE)) >> 64;
    u32::try_from(share).expect("a 64-bit share of a thousand is below a thousand")
}

/// 64 bits that look random, of the attempt's name and nothing else.
fn draw(attempt: AttemptId, of: Draw) -> u64 {
    let words = [
        attempt.job.revision.0,
        u64::from(attempt.job.ordinal),
        u64::from(attempt.task.0),
        u64::from(attempt.attempt.0),
        of as u64,
    ];
    words.into_iter().fold(0, |hash, word| mixed(hash ^ mixed(word)))
}

/// One step of SplitMix64 (Steele, Lea and Flood, OOPSLA'14): each bit of the input moves half of the output's.
const fn mixed(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use paceline_types::{Attempt, JobUid, Revision, TaskIndex};

    fn attempt(task: u32, attempt: u32) -> AttemptId {
        let job = JobUid { revision: Revision(42), ordinal: 1 };
        AttemptId { job, task: TaskIndex(task), attempt: Attempt(attempt) }
    }

    fn mixed_bag() -> Simulate {
        Simulate {
            runs: RunsMs { from: 1_000, to: 1_999 },
            failures: Some(Failures { permille: 100, exit_code: 3 }),
            kills: Some(Kills { permille: 50, signal: 9 }),
            out_of_memory_permille: 20,
            on_stop: OnStop::Ignores,
            launch_faults: Some(LaunchFaults { permille: 10, times: 2 }),
            output_bytes_per_second: 7,
        }
    }

    #[test]
    fn committed_jobs_keep_their_scripts() {
        let drawn = |task, of| draw(attempt(task, 1), of);
        assert_eq!(mixed(0), 0xe220_a839_7b1d_cdaf, "as published");
        assert_eq!(drawn(0, Draw::Runs), 11645434319849626815);
        assert_eq!(drawn(0, Draw::End), 8579854466559509160);
        assert_eq!(drawn(7, Draw::LaunchFault), 729384469235127442);
        let runs: Vec<_> = (0..4).map(|task| mixed_bag().script(attempt(task, 1)).runs_ms).collect();
        assert_eq!(runs, [1631, 1127, 1449, 1705]);
    }

    #[test]
    fn another_attempt_of_a_task_is_another_draw() {
        let runs = |number| mixed_bag().script(attempt(5, number)).runs_ms;
        let different: std::collections::BTreeSet<_> = (1..50).map(runs).collect();
        assert!(different.len() > 40, "{different:?}");
    }

    #[test]
    fn shares_come_out_as_they_were_asked_for() {
        let scripts: Vec<_> = (0..20_000).map(|task| mixed_bag().script(attempt(task, 1))).collect();
        let permille = |holds: &dyn Fn(&Script) -> bool| scripts.iter().filter(|one| holds(one)).count() / 20;
        assert!((90..110).contains(&permille(&|one| one.end == ScriptEnd::Exit(ExitStatus::Code(3)))));
        assert!((43..57).contains(&permille(&|one| one.end == ScriptEnd::Exit(ExitStatus::Signal(9)))));
        assert!((15..25).contains(&permille(&|one| one.end == ScriptEnd::OutOfMemory)));
        assert!((7..13).contains(&permille(&|one| one.launch_faults == 2)));
        assert!((450..550).contains(&permille(&|one| one.runs_ms < 1_500)));
        assert!(scripts.iter().all(|one| (1_000..2_000).contains(&one.runs_ms)));
    }

    #[test]
    fn the_widest_range_and_chances_above_all_do_not_wrap() {
        let wild = Simulate {
            runs: RunsMs { from: 0, to: u64::MAX },
            failures: Some(Failures { permille: u32::MAX, exit_code: u32::MAX }),
            kills: Some(Kills { permille: u32::MAX, signal: u32::MAX }),
            out_of_memory_permille: u32::MAX,
            ..mixed_bag()
        };
        assert_eq!(wild.script(attempt(1, 1)).end, ScriptEnd::Exit(ExitStatus::Code(i32::MAX)));
        let backwards = Simulate { runs: RunsMs { from: 9, to: 3 }, ..wild };
        assert_eq!(backwards.script(attempt(1, 1)).runs_ms, 9);
    }
}
