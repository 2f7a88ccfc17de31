//! Runs one seed of a simulation, and no more: one process, one seed, nothing left over from another.
//!
//! The last line on stdout is the summary, for programs. Exit status 0 only where everything held.

mod os;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use paceline_sim::plan::Family;
use paceline_sim::trace::Trace;
use paceline_sim::{cell, clock};

const USAGE: &str = "\
usage: paceline-sim cell --seed SEED [--plan FAMILY] [--trace] [--log FILTER]

  cell            the whole cell: masters, shards, agents, clients
  --plan FAMILY   swarm (the default: faults of a mix of its own), smoke (one killed leader)
                  or canary (disks that lie: the checks must find it)
  --trace         print what happens, with virtual times, to stderr
  --log FILTER    print what production code logs as well, for example info,paceline_master=debug
";

/// What to run.
struct Arguments {
    seed: u64,
    family: Family,
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
    let family = arguments.family;
    let reproduce = format!("paceline-sim cell --seed {seed} --plan {} --trace", family.as_str());
    let hook = std::panic::take_hook();
    let line = reproduce.clone();
    std::panic::set_hook(Box::new(move |panic| {
        hook(panic);
        eprintln!("at {} ms of virtual time; to reproduce: {line}", clock::now_ms());
        println!(r#"{{"seed":{seed},"verdict":"panicked","reproduce":"{line}"}}"#);
    }));
    let trace = Trace::new(arguments.shown);
    cell::run(seed, &family.plan(seed), &trace)?;
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
    match words.next().as_deref() {
        Some("cell") => {}
        Some(other) => bail!("not a simulation: {other}\n\n{USAGE}"),
        None => bail!("a simulation is missing\n\n{USAGE}"),
    }
    let (mut seed, mut family, mut shown, mut log) = (None, Family::Swarm, false, None);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--seed" => {
                let text = words.next().context("--seed needs a number")?;
                seed = Some(text.parse().with_context(|| format!("--seed {text}: a number is expected"))?);
            }
            "--plan" => {
                let text = words.next().context("--plan needs a word")?;
                let found = Family::ALL.into_iter().find(|family| family.as_str() == text);
                family =
                    found.with_context(|| format!("--plan {text}: swarm, smoke or canary is expected"))?;
            }
            "--trace" => shown = true,
            "--log" => log = Some(words.next().context("--log needs a filter")?),
            other => bail!("not an option: {other}\n\n{USAGE}"),
        }
    }
    let seed = seed.with_context(|| format!("--seed is missing\n\n{USAGE}"))?;
    Ok(Arguments { seed, family, shown, log })
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
