//! The simulated machine from the outside, as agents, drivers and checkers see it.

mod leases;
mod steps;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

use paceline_supervisor::logs::LogStream;
use paceline_types::{
    Attempt, AttemptId, ExitStatus, JobUid, OnStop, Reason, Resources, Revision, Script, ScriptEnd, TaskIndex,
};

use super::{ClockReading, Lived, SimulatedNode, SimulatedRuntime};
use crate::errors::{LaunchError, ObserveError, StopError};
use crate::runtime::{Exit, Launch, Observed, Runtime};

/// Wall clock when the machine was booted.
const BOOTED_UNIX_MS: u64 = 1_000_000;

const SCRIPT: Script = Script {
    runs_ms: 1_000,
    end: ScriptEnd::Exit(ExitStatus::Code(0)),
    on_stop: OnStop::EndsAfter(50),
    launch_faults: 0,
    output_bytes_per_second: 0,
};

/// A machine, its clock and an agent's hold of it.
struct Bench {
    node: SimulatedNode,
    clock: Arc<AtomicU64>,
    runtime: SimulatedRuntime,
    told: Receiver<AttemptId>,
}

fn reading(boot_ms: u64) -> ClockReading {
    ClockReading { boot_ms, unix_ms: BOOTED_UNIX_MS + boot_ms }
}

fn agent(node: &SimulatedNode, clock: &Arc<AtomicU64>) -> (SimulatedRuntime, Receiver<AttemptId>) {
    let clock = Arc::clone(clock);
    // ORDERING: one thread only.
    let runtime = node.runtime(move || reading(clock.load(Ordering::Relaxed)));
    let (tell, told) = channel();
    runtime.subscribe(Box::new(move |attempt| _ = tell.send(attempt)));
    (runtime, told)
}

impl Bench {
    fn new() -> Self {
        let (node, clock) = (SimulatedNode::new(), Arc::new(AtomicU64::new(0)));
        let (runtime, told) = agent(&node, &clock);
        Self { node, clock, runtime, told }
    }

    fn at(&self, boot_ms: u64) {
        // ORDERING: one thread only.
        self.clock.store(boot_ms, Ordering::Relaxed);
        self.node.advance(reading(boot_ms));
    }

    fn launch(&self, task: u32, script: Script) -> AttemptId {
        self.runtime.launch(&launch(task, Some(script))).unwrap();
        id(task)
    }

    fn observe(&self, attempt: AttemptId) -> Observed {
        self.runtime.observe(&attempt).unwrap().expect("it is there")
    }

    fn exit(&self, attempt: AttemptId) -> Exit {
        match self.observe(attempt) {
            Observed::Exited(exit) => exit,
            other => panic!("{other:?}"),
        }
    }

    fn runs(&self, attempt: AttemptId) -> bool {
        matches!(self.observe(attempt), Observed::Running { .. })
    }

    fn told(&self) -> Vec<AttemptId> {
        self.told.try_iter().collect()
    }

    /// How it ended, and when by the boot clock.
    fn end(&self, attempt: AttemptId) -> (ExitStatus, Reason, u64) {
        let exit = self.exit(attempt);
        (exit.status, exit.reason, exit.ended_unix_ms - BOOTED_UNIX_MS)
    }
}

fn id(task: u32) -> AttemptId {
    let job = JobUid { revision: Revision(42), ordinal: 0 };
    AttemptId { job, task: TaskIndex(task), attempt: Attempt(1) }
}

fn launch(task: u32, script: Option<Script>) -> Launch {
    Launch {
        attempt: id(task),
        job_name: "job".to_owned(),
        task_count: 10,
        run: vec!["/bin/true".to_owned()],
        env: BTreeMap::new(),
        user: None,
        resources: Resources::new(100, 1 << 20),
        cpu_limit_milli: None,
        time_limit_ms: None,
        grace_ms: 200,
        at_most_one: false,
        script,
    }
}

#[test]
fn a_task_runs_as_long_as_its_script_says_and_ends_as_it_says() {
    let bench = Bench::new();
    bench.at(500);
    let ends = [
        (ScriptEnd::Exit(ExitStatus::Code(0)), ExitStatus::Code(0), Reason::ExitedZero),
        (ScriptEnd::Exit(ExitStatus::Code(3)), ExitStatus::Code(3), Reason::ExitedNonZero),
        (ScriptEnd::Exit(ExitStatus::Signal(11)), ExitStatus::Signal(11), Reason::Signaled),
        (ScriptEnd::OutOfMemory, ExitStatus::Signal(9), Reason::OutOfMemory),
    ];
    for (task, (end, ..)) in (0..).zip(ends) {
        let attempt = bench.launch(task, Script { end, ..SCRIPT });
        let started_unix_ms = BOOTED_UNIX_MS + 500;
        assert_eq!(bench.observe(attempt), Observed::Running { pid: task + 1, started_unix_ms });
    }
    assert_eq!(bench.node.next_due_ms(), Some(1_500));
    bench.at(1_499);
    assert!((0..4).all(|task| bench.runs(id(task))));
    bench.at(9_999);
    for (task, (_, status, reason)) in (0..).zip(ends) {
        assert_eq!(bench.end(id(task)), (status, reason, 1_500), "at its time, not at that of the look");
    }
    assert_eq!(bench.node.next_due_ms(), None);
}

#[test]
fn a_launch_again_changes_nothing() {
    let bench = Bench::new();
    let attempt = bench.launch(1, SCRIPT);
    bench.at(900);
    bench.launch(1, SCRIPT);
    bench.at(1_000);
    assert_eq!(bench.end(attempt).2, 1_000);
    bench.launch(1, SCRIPT);
    assert!(matches!(bench.observe(attempt), Observed::Exited(_)));
    assert_eq!(bench.node.take_lives().ended.len(), 1);
}

#[test]
fn a_stop_is_obeyed_ignored_or_comes_too_late_and_a_second_one_shortens_the_grace() {
    let bench = Bench::new();
    let term = |reason, at| (ExitStatus::Signal(15), reason, at);
    let kill = |reason, at| (ExitStatus::Signal(9), reason, at);
    let ignores = Script { on_stop: OnStop::Ignores, ..SCRIPT };
    let slow = Script { on_stop: OnStop::EndsAfter(150), ..SCRIPT };
    for (task, script) in (0..).zip([SCRIPT, ignores, slow, ignores, SCRIPT, ignores]) {
        bench.launch(task, script);
    }
    bench.at(100);
    for (task, grace_ms) in [(0, 200), (1, 200), (2, 120), (3, 0)] {
        bench.runtime.stop(&id(task), grace_ms).unwrap();
    }
    bench.at(110);
    bench.runtime.stop(&id(1), 30).unwrap();
    bench.runtime.stop(&id(1), 5_000).unwrap();
    bench.at(990);
    bench.runtime.stop(&id(5), 200).unwrap();
    bench.at(5_000);
    let job_stopped = Reason::JobStopped;
    assert_eq!(bench.end(id(0)), term(job_stopped, 150), "when it has tidied up");
    assert_eq!(bench.end(id(1)), kill(job_stopped, 140), "the shorter grace");
    assert_eq!(bench.end(id(2)), kill(job_stopped, 220), "the grace was over before it had tidied up");
    assert_eq!(bench.end(id(3)), kill(job_stopped, 100));
    assert_eq!(bench.end(id(4)), (ExitStatus::Code(0), Reason::ExitedZero, 1_000));
    assert_eq!(bench.end(id(5)), (ExitStatus::Code(0), job_stopped, 1_000), "it ended by itself meanwhile");
    assert_eq!(bench.runtime.stop(&id(0), 0).ok(), Some(()), "what has ended stays as it is");
    assert!(matches!(bench.runtime.stop(&id(9), 0), Err(StopError::Unknown { .. })));
}

#[test]
fn a_time_limit_is_kept_with_its_grace() {
    let bench = Bench::new();
    let limited = |task, on_stop| Launch {
        time_limit_ms: Some(300),
        ..launch(task, Some(Script { on_stop, ..SCRIPT }))
    };
    bench.runtime.launch(&limited(1, OnStop::EndsAfter(50))).unwrap();
    bench.runtime.launch(&limited(2, OnStop::Ignores)).unwrap();
    bench.at(2_000);
    assert_eq!(bench.end(id(1)), (ExitStatus::Signal(15), Reason::TimeLimit, 350));
    assert_eq!(bench.end(id(2)), (ExitStatus::Signal(9), Reason::TimeLimit, 500));
}

#[test]
fn a_real_job_and_a_scripted_fault_do_not_start() {
    let bench = Bench::new();
    bench.runtime.launch(&launch(1, None)).unwrap();
    let exit = bench.exit(id(1));
    assert_eq!((exit.status, exit.reason, exit.pid), (ExitStatus::Code(127), Reason::LaunchFailed, 0));
    let faulty = launch(2, Some(Script { launch_faults: 2, ..SCRIPT }));
    for expected in 1..=2 {
        match bench.runtime.launch(&faulty) {
            Err(LaunchError::Scripted { attempt, fault, of }) => {
                assert_eq!((attempt, fault, of), (id(2), expected, 2));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(bench.runtime.observe(&id(2)).unwrap(), None, "nothing was started");
    }
    bench.runtime.launch(&faulty).unwrap();
    assert!(bench.runs(id(2)));
}

#[test]
fn what_lives_outlives_the_agent_and_is_found_by_the_next() {
    let bench = Bench::new();
    let attempt = bench.launch(1, SCRIPT);
    let Bench { node, clock, runtime, told } = bench;
    drop(runtime);
    node.advance(reading(1_000));
    assert_eq!(told.try_iter().count(), 1, "of its start; nobody listened any more when it ended");
    assert_eq!(node.next_due_ms(), None, "and nobody is told again");
    // ORDERING: one thread only.
    clock.store(1_200, Ordering::Relaxed);
    let (runtime, _told) = agent(&node, &clock);
    let all = runtime.attempts().unwrap();
    assert!(matches!(&all[..], [(found, Observed::Exited(_))] if *found == attempt));
}

#[test]
fn a_reboot_ends_what_lives_keeps_what_ended_and_starts_the_clock_anew() {
    let bench = Bench::new();
    let ended = bench.launch(1, Script { runs_ms: 10, ..SCRIPT });
    let lives = bench.launch(2, SCRIPT);
    bench.runtime.launch(&Launch { at_most_one: true, ..launch(3, Some(SCRIPT)) }).unwrap();
    bench.at(400);
    bench.node.reboot(reading(500));
    bench.at(5);
    assert_eq!(bench.exit(ended).reason, Reason::ExitedZero);
    let exit = bench.exit(lives);
    assert_eq!((exit.status, exit.reason), (ExitStatus::Signal(9), Reason::NodeRebooted));
    assert_eq!(exit.ended_unix_ms, exit.started_unix_ms, "nobody saw its end");
    assert_eq!(bench.exit(id(3)).pid, 0);
    let again = bench.launch(4, SCRIPT);
    bench.at(1_005);
    assert_eq!(bench.end(again).2, 1_005);
    let lived = |attempt, boot, started_boot_ms, ended, reason| Lived {
        attempt,
        boot,
        started_boot_ms,
        ended_boot_ms: Some(ended),
        reason: Some(reason),
    };
    let truth = bench.node.take_lives();
    let expected = [
        lived(ended, 0, 0, 10, Reason::ExitedZero),
        lived(lives, 0, 0, 500, Reason::NodeRebooted),
        lived(again, 1, 5, 1_005, Reason::ExitedZero),
    ];
    assert_eq!(truth.ended, expected);
    assert_eq!((truth.alive, truth.dropped), (Vec::new(), 0));
}

#[test]
fn only_what_has_ended_can_be_forgotten_and_its_output_stays_for_a_while() {
    let bench = Bench::new();
    let attempt = bench.launch(1, Script { output_bytes_per_second: 500, ..SCRIPT });
    let silent = bench.launch(2, SCRIPT);
    assert!(matches!(bench.runtime.forget(&attempt), Err(ObserveError::NotEnded { .. })));
    let read = |offset, bytes_max| bench.runtime.read_log(&attempt, LogStream::Stdout, offset, bytes_max);
    bench.at(300);
    let early = read(0, 1_000).unwrap();
    assert_eq!((early.bytes.len(), early.complete), (150, false));
    bench.at(1_000);
    for forgotten in [attempt, silent, silent] {
        bench.runtime.forget(&forgotten).unwrap();
    }
    assert_eq!(bench.runtime.observe(&attempt).unwrap(), None);
    let all = read(0, 1_000).unwrap();
    assert_eq!((all.bytes.len(), all.complete), (500, true));
    assert_eq!(all.bytes[..150], early.bytes[..]);
    assert!(all.bytes.starts_with(b"42-0.1.1 00000000000000000000\n42-0.1.1 00000000000000000001\n"));
    for offset in [0, 7, 29, 30, 31, 499, 500] {
        let part = read(offset, 40).unwrap();
        let from = usize::try_from(offset).unwrap();
        assert_eq!(part.bytes, all.bytes[from..(from + 40).min(500)], "from {offset}");
    }
    let errors = bench.runtime.read_log(&attempt, LogStream::Stderr, 0, 10).unwrap();
    assert_eq!((errors.bytes.len(), errors.complete), (0, true));
    let gone = bench.runtime.read_log(&silent, LogStream::Stdout, 0, 10);
    assert!(matches!(gone, Err(ObserveError::Unknown { .. })));
}

#[test]
fn news_are_told_again_until_they_were_looked_at() {
    let bench = Bench::new();
    let (looked_at, passed_over) = (bench.launch(1, SCRIPT), bench.launch(2, SCRIPT));
    assert_eq!(bench.told(), [looked_at, passed_over]);
    bench.observe(looked_at);
    assert_eq!(bench.node.next_due_ms(), Some(1_000));
    bench.at(500);
    assert_eq!(bench.told(), []);
    bench.at(1_000);
    assert_eq!(bench.told(), [looked_at, passed_over], "both have ended");
    bench.at(2_000);
    assert_eq!(bench.told(), [looked_at, passed_over]);
    bench.runtime.attempts().unwrap();
    assert_eq!(bench.node.next_due_ms(), None);
}

#[test]
fn the_driver_is_woken_when_it_must_come_sooner_than_it_means_to() {
    let bench = Bench::new();
    let woken = Arc::new(Mutex::new(0));
    let count = Arc::clone(&woken);
    bench.node.wake_with(move || *count.lock().unwrap() += 1);
    let take = || std::mem::take(&mut *woken.lock().unwrap());
    let attempt = bench.launch(1, SCRIPT);
    assert_eq!(take(), 1);
    bench.observe(attempt);
    assert_eq!(bench.node.next_due_ms(), Some(1_000));
    let later = bench.launch(2, Script { runs_ms: 5_000, ..SCRIPT });
    bench.observe(later);
    bench.at(100);
    assert_eq!(take(), 0, "it comes in time for both");
    bench.runtime.stop(&later, 10).unwrap();
    assert_eq!(take(), 1);
}
