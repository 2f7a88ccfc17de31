//! Runs one seed of a simulation, and no more: one process, one seed, nothing left over from another.
//!
//! The last line on stdout is the summary, for programs. Exit status 0 only where everything held.

mod os;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use paceline_sim::consensus::{self, Switch};
use paceline_sim::plan::Family;
use paceline_sim::trace::Trace;
use paceline_sim::{cell, clock};

const USAGE: &str = "\
usage: paceline-sim cell --seed SEED [--plan FAMILY] [--trace] [--log FILTER]
       paceline-sim consensus --seed SEED [--plant BUG] [--trace] [--log FILTER]

  cell            the whole cell: masters, shards, agents, clients
  consensus       the masters' log alone, on faulty disks
  --plan FAMILY   swarm (the default: faults of a mix of its own), smoke (one killed leader)
                  or canary (disks that lie: the checks must find it)
  --plant BUG     plant a bug that must be caught; a wrong name lists them
  --trace         print what happens, with virtual times, to stderr
  --log FILTER    print what production code logs as well, for example info,paceline_master=debug
";

/// Which simulation.
#[derive(Clone, Copy)]
enum Kind {
    Cell(Family),
    Consensus(Option<Switch>),
}

/// What to run.
struct Arguments {
    seed: u64,
    kind: Kind,
    shown: bool,
    log: Option<String>,
}

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
    let arguments = arguments()?;
    let seed = arguments.seed;
    os::seed(seed);
    if let Some(filter) = &arguments.log {
        log(filter)?;
    }
    let reproduce = match arguments.kind {
        Kind::Cell(family) => format!("paceline-sim cell --seed {seed} --plan {} --trace", family.as_str()),
        Kind::Consensus(None) => format!("paceline-sim consensus --seed {seed} --trace"),
        Kind::Consensus(Some(bug)) => {
            format!("paceline-sim consensus --seed {seed} --plant {} --trace", bug.name())
        }
    };
    let hook = std::panic::take_hook();
    let line = reproduce.clone();
    std::panic::set_hook(Box::new(move |panic| {
        hook(panic);
        eprintln!("at {} ms of virtual time; to reproduce: {line}", clock::now_ms());
        println!(r#"{{"seed":{seed},"verdict":"panicked","reproduce":"{line}"}}"#);
    }));
    let trace = Trace::new(arguments.shown);
    match arguments.kind {
        Kind::Cell(family) => cell::run(seed, &family.plan(seed), &trace)?,
        Kind::Consensus(bug) => consensus::run(seed, bug, &trace)?,
    }
    Ok(report(seed, &trace, &reproduce))
}

/// Prints the summary; true where everything held.
fn report(seed: u64, trace: &Trace, reproduce: &str) -> bool {
    let violations = trace.violations();
    for violation in &violations {
        println!("seed {seed}: {violation}");
    }
    let quoted = |text: &str| format!("{text:?}");
    let counts: Vec<String> =
        trace.counts().iter().map(|(name, count)| format!("{}:{count}", quoted(name))).collect();
    let points: Vec<String> = trace.points().iter().map(|point| quoted(point)).collect();
    let verdict = if violations.is_empty() { "held" } else { "violated" };
    println!(
        r#"{{"seed":{seed},"verdict":"{verdict}","digest":"{:016x}","violations":{},"counts":{{{}}},"sometimes":[{}],"reproduce":{}}}"#,
        trace.digest(),
        violations.len(),
        counts.join(","),
        points.join(","),
        quoted(reproduce)
    );
    violations.is_empty()
}

fn arguments() -> Result<Arguments> {
    let mut words = std::env::args().skip(1);
    let mut kind = match words.next().as_deref() {
        Some("cell") => Kind::Cell(Family::Swarm),
        Some("consensus") => Kind::Consensus(None),
        Some(other) => bail!("not a simulation: {other}\n\n{USAGE}"),
        None => bail!("a simulation is missing\n\n{USAGE}"),
    };
    let (mut seed, mut shown, mut log) = (None, false, None);
    while let Some(word) = words.next() {
        match (word.as_str(), &mut kind) {
            ("--seed", _) => {
                let text = words.next().context("--seed needs a number")?;
                seed = Some(text.parse().with_context(|| format!("--seed {text}: a number is expected"))?);
            }
            ("--plan", Kind::Cell(family)) => {
                let text = words.next().context("--plan needs a word")?;
                let found = Family::ALL.into_iter().find(|family| family.as_str() == text);
                *family =
                    found.with_context(|| format!("--plan {text}: swarm, smoke or canary is expected"))?;
            }
            ("--plant", Kind::Consensus(bug)) => {
                let text = words.next().context("--plant needs a bug")?;
                let names: Vec<_> = Switch::all().into_iter().map(Switch::name).collect();
                let found = Switch::all().into_iter().find(|bug| bug.name() == text);
                let found = found.with_context(|| format!("--plant {text}: one of {}", names.join(", ")))?;
                *bug = Some(found);
            }
            ("--trace", _) => shown = true,
            ("--log", _) => log = Some(words.next().context("--log needs a filter")?),
            (other, _) => bail!("not an option: {other}\n\n{USAGE}"),
        }
    }
    let seed = seed.with_context(|| format!("--seed is missing\n\n{USAGE}"))?;
    Ok(Arguments { seed, kind, shown, log })
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
