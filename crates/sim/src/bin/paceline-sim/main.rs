//! Runs one seed of a simulation, and no more: one process, one seed, nothing left over from another.
//!
//! The last line on stdout is the summary, for programs. Exit status 0 only where everything held.

mod arguments;
mod os;

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use paceline_sim::consensus;
use paceline_sim::plants::Switch;
use paceline_sim::points::Simulation;
use paceline_sim::trace::Trace;
use paceline_sim::{cell, clock, plants};

use self::arguments::{Asked, Run};

/// How many there were: each is a violation, wherever it ended.
static PANICS: AtomicU64 = AtomicU64::new(0);

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("paceline-sim: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<bool> {
    match arguments::read(std::env::args().skip(1))? {
        Asked::Run(run) => seed(&run),
        Asked::Points(simulation) => {
            simulation.points().iter().for_each(|point| println!("{point}"));
            Ok(true)
        }
        Asked::Plants(simulation) => {
            plants::of(simulation).into_iter().for_each(|bug| println!("{}", bug.name()));
            Ok(true)
        }
    }
}

/// Runs one seed; true where everything held.
fn seed(run: &Run) -> Result<bool> {
    let seed = run.seed;
    os::seed(seed);
    if let Some(filter) = &run.log {
        log(filter)?;
    }
    let reproduce = run.reproduce();
    let hook = std::panic::take_hook();
    let line = reproduce.clone();
    std::panic::set_hook(Box::new(move |panic| {
        // ORDERING: relaxed; there is one thread.
        PANICS.fetch_add(1, Ordering::Relaxed);
        hook(panic);
        eprintln!("at {} ms of virtual time; to reproduce: {line}", clock::now_ms());
        println!(r#"{{"seed":{seed},"verdict":"panicked","reproduce":"{line}"}}"#);
    }));
    let trace = Trace::of(run.simulation, run.shown);
    match run.simulation {
        Simulation::Cell => {
            let mut plan = run.family.plan(seed);
            plants::plant_in_cell(run.plant, &mut plan);
            cell::run(seed, &plan, &trace)?;
        }
        Simulation::Consensus => consensus::run(seed, run.plant, &trace)?,
        Simulation::Graphs => consensus::run_graph(seed, run.leader, run.behind, run.plant, &trace)?,
    }
    // A task that panics ends alone, and its runtime says nothing: the run would go on as if the task were done.
    let panics = PANICS.load(Ordering::Relaxed);
    if panics > 0 {
        trace.violation("no-panics", format_args!("{panics} while the run went on; see stderr"));
    }
    Ok(report(run, &trace, &reproduce))
}

/// Prints the summary; true where everything held.
fn report(run: &Run, trace: &Trace, reproduce: &str) -> bool {
    let seed = run.seed;
    let violations = trace.violations();
    for violation in &violations {
        println!("seed {seed}: {violation}");
    }
    let quoted = |text: &str| format!("{text:?}");
    let counts: Vec<String> =
        trace.counts().iter().map(|(name, count)| format!("{}:{count}", quoted(name))).collect();
    let points: Vec<String> = trace.points().iter().map(|point| quoted(point)).collect();
    // Violations begin with the name of their check.
    let mut checks: Vec<String> =
        violations.iter().filter_map(|text| text.split(':').next()).map(quoted).collect();
    checks.sort_unstable();
    checks.dedup();
    let verdict = if violations.is_empty() { "held" } else { "violated" };
    println!(
        r#"{{"seed":{seed},"simulation":"{}","plant":{},"verdict":"{verdict}","digest":"{:016x}","violations":{},"violated":[{}],"counts":{{{}}},"sometimes":[{}],"reproduce":{}}}"#,
        run.simulation.as_str(),
        run.plant.map_or_else(|| "null".to_owned(), |bug| quoted(Switch::name(bug))),
        trace.digest(),
        violations.len(),
        checks.join(","),
        counts.join(","),
        points.join(","),
        quoted(reproduce)
    );
    violations.is_empty()
}

/// What production code logs, under virtual time.
fn log(filter: &str) -> Result<()> {
    use tracing_subscriber::EnvFilter;
    use tracing_subscriber::fmt::format::Writer;
    use tracing_subscriber::fmt::time::FormatTime;

    struct Virtual;
    impl FormatTime for Virtual {
        fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
            writer.write_str(&clock::shown(clock::now_ms()))
        }
    }
    let filter = EnvFilter::try_new(filter).with_context(|| format!("--log {filter}"))?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_timer(Virtual).with_ansi(false);
    subscriber.with_writer(std::io::stderr).init();
    Ok(())
}
