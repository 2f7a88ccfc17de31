//! What a task costs its node: CPU time per attempt of `/bin/true`, from its launch until it is forgotten.
//!
//! ```text
//! cargo build -p paceline-supervisor && cargo run -p paceline-runtime --example launch -- 2000 32 [FOLDER]
//! ```
//!
//! CPU time, not wall clock: that holds on a machine that is busy with other things. The agent's part is this
//! process; the supervisors' part has the tasks' own time in it, because a task is its supervisor's child. What the
//! kernel does later and for nobody (removing groups, writing back) is in neither.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Instant;

use paceline_runtime::{Launch, Observed, ProcessOptions, ProcessRuntime, Runtime};
use paceline_types::{Attempt, AttemptId, JobUid, Resources, Revision, TaskIndex};

const USAGE: &str = "usage: launch TASKS IN_FLIGHT [FOLDER]";

/// Clock ticks of `/proc/PID/stat` are hundredths of a second on every Linux.
const TICK_MS: f64 = 10.0;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize| words.get(index).and_then(|word| word.parse::<u32>().ok()).expect(USAGE);
    let (tasks, in_flight) = (number(0), number(1));
    let folder = words.get(2).map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = folder.join(format!("paceline-launch-{}", std::process::id()));
    let own = std::env::current_exe().expect("this program has a file");
    let supervisor =
        own.ancestors().nth(2).expect("it lies in target/debug/examples").join("paceline-supervisor");
    let options = ProcessOptions::new("bench", "launch");
    let begun = Instant::now();
    let runtime = Arc::new(ProcessRuntime::open(&folder, supervisor, options).expect("a runtime"));
    run(&runtime, tasks, in_flight);
    drop(Arc::into_inner(runtime).expect("every thread has ended"));
    let seconds = begun.elapsed().as_secs_f64();
    let [user, system, children_user, children_system] = cpu_ms();
    let each = |ms: f64| ms / f64::from(tasks);
    println!("{tasks} tasks, {in_flight} in flight, {:.0} a second", f64::from(tasks) / seconds);
    println!(
        "agent       {:.3} ms a task ({:.3} user, {:.3} system)",
        each(user + system),
        each(user),
        each(system)
    );
    let children = children_user + children_system;
    println!(
        "supervisor  {:.3} ms a task ({:.3} user, {:.3} system), the task's own in it",
        each(children),
        each(children_user),
        each(children_system)
    );
    fs::remove_dir_all(&folder).expect("it can be removed");
}

/// Each thread sees one attempt after the other through.
fn run(runtime: &Arc<ProcessRuntime>, tasks: u32, in_flight: u32) {
    let mut ears = BTreeMap::new();
    let mut threads = Vec::new();
    let next = Arc::new(AtomicU32::new(0));
    for number in 0..in_flight {
        let (tell, told) = mpsc::channel();
        ears.insert(number, tell);
        let (runtime, next) = (Arc::clone(runtime), Arc::clone(&next));
        threads.push(thread::spawn(move || {
            loop {
                // ORDERING: only the number counts, nothing is published with it.
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= tasks {
                    return;
                }
                see_through(&runtime, launch(index * in_flight + number), &told);
            }
        }));
    }
    runtime.subscribe(Box::new(move |attempt| {
        _ = ears.get(&(attempt.task.0 % in_flight)).map(|ear| ear.send(()));
    }));
    threads.into_iter().for_each(|thread| thread.join().expect("no attempt is lost"));
}

fn see_through(runtime: &ProcessRuntime, launch: Launch, told: &mpsc::Receiver<()>) {
    runtime.launch(&launch).expect("it is launched");
    loop {
        match runtime.observe(&launch.attempt).expect("its records can be read").expect("it is here") {
            Observed::Exited(exit) => {
                assert_eq!(exit.reason.to_string(), "exited_zero", "{}", exit.message);
                break;
            }
            Observed::Starting | Observed::Running { .. } => told.recv().expect("the runtime lives"),
        }
    }
    runtime.forget(&launch.attempt).expect("it is forgotten");
}

fn launch(task: u32) -> Launch {
    let job = JobUid { revision: Revision(42), ordinal: 0 };
    Launch {
        attempt: AttemptId { job, task: TaskIndex(task), attempt: Attempt(1) },
        job_name: "launch".to_owned(),
        task_count: 1,
        run: vec!["/bin/true".to_owned()],
        env: BTreeMap::new(),
        user: None,
        resources: Resources::new(10, 16 << 20),
        cpu_limit_milli: None,
        time_limit_ms: None,
        grace_ms: 1_000,
        at_most_one: false,
        script: None,
    }
}

/// Of this process and of the children that it waited for: user, system, children's user, children's system.
fn cpu_ms() -> [f64; 4] {
    let stat = fs::read_to_string("/proc/self/stat").expect("/proc is mounted");
    let (_, fields) = stat.rsplit_once(')').expect("the name stands in parentheses");
    // Fields 14 to 17 of proc(5); the state behind the name is field 3.
    let mut ticks =
        fields.split_ascii_whitespace().skip(11).map(|field| field.parse::<f64>().expect("a number"));
    std::array::from_fn(|_| ticks.next().expect("the kernel writes them all") * TICK_MS)
}
