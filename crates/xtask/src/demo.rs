//! `cargo xtask demo`: a cell of real processes does real work, loses its leader, a shard and an agent on the way, and
//! everything it says is checked.
//!
//! ```text
//! set-up ─► build ─► paceline dev ─► batch of 400 tasks ──────────────────────────► audit ─► SIGTERM
//!                                    │ small jobs all along: each answer is kept      │ every line of the
//!                                    └ 20 %: the leader · 45 %: a shard · 70 %: an    │ verdict must hold
//!                                      agent, which is started again
//! ```
//! Uses the product as a person would: its binaries, its command line, its JSON. `cell` owns the processes, `kills`
//! ends some of them, `batch` and `submissions` hold the work, `verdict` judges, `summary` prints.

mod batch;
mod cell;
mod cli;
mod documents;
mod folder;
mod kills;
mod processes;
mod progress;
mod submissions;
mod summary;
mod verdict;
mod wait;
mod words;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use signal_hook::consts::{SIGINT, SIGTERM};

use self::batch::{Batch, Comparison, Ended, JOB, Look, TASKS};
use self::cell::DemoCell;
use self::cli::Cli;
use self::folder::Folder;
use self::kills::{AgentKilled, Killer, LeaderKilled, ShardKilled};
use self::progress::Progress;
use self::submissions::{Audit, Background, Submitter};
use crate::command;
use crate::parts::Parts;
use crate::setup;
use crate::workspace::Workspace;

/// Percent of the tasks that have ended when the leader, a shard and an agent are killed.
const LEADER_AT: u64 = 20;
const SHARD_AT: u64 = 45;
const AGENT_AT: u64 = 70;

/// Longest time in which no task ends: a cell that is busy with a failover on a loaded machine is far from it.
const STALL_LIMIT: Duration = Duration::from_secs(180);

/// What stdout gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// The summary for people.
    Text,
    /// The same, and one line of JSON after it, after a failure too.
    TextThenJson,
}

/// What the demo saw.
#[derive(Debug)]
struct Seen {
    /// The folder of the documents, and how many there were.
    documents: (String, usize),
    /// Every process of the cell at the start, by name.
    pids: Value,
    leader: LeaderKilled,
    shard: ShardKilled,
    agent: AgentKilled,
    ended: Ended,
    results: Comparison,
    /// Agents that are up in the end.
    nodes_up: u64,
    audit: Audit,
}

/// Runs the demo; anything that is not as it should be is an error.
pub fn run(workspace: &Workspace, output: Output) -> Result<()> {
    let mut parts = Parts::default();
    let outcome = demonstrate(workspace, &mut parts);
    parts.report();
    if let Ok(seen) = &outcome {
        print!("{}", summary::text(seen, &parts));
    }
    if output == Output::TextThenJson {
        println!("{}", summary::json(&outcome, &parts));
    }
    match verdict::lines(&outcome?).iter().filter(|line| !line.holds).count() {
        0 => Ok(()),
        count => bail!("the demo failed: {count} of its expectations did not hold"),
    }
}

fn demonstrate(workspace: &Workspace, parts: &mut Parts) -> Result<Seen> {
    let environment = parts.time("set-up", || setup::ensure(workspace))?;
    let binaries = parts.time("build", || {
        let mut build = environment.cargo(workspace);
        build.args(["build", "--workspace", "--locked", "--bins"]);
        // The one test brings the tests' features in: without it some crates would compile twice.
        command::run(build.args(["--test", "tree"]))?;
        Ok(workspace.target_dir()?.join("debug"))
    })?;

    let signals = Signals::watch()?;
    let folder = Folder::create()?;
    let outcome = with_cell(workspace, &binaries, &folder, &signals, parts);
    let is_good = outcome.as_ref().is_ok_and(|seen| verdict::lines(seen).iter().all(|line| line.holds));
    if is_good || signals.were_heard() {
        folder.remove()?;
    } else {
        eprintln!("the demo's files are kept in {0}, its logs in {0}/cell/logs", folder.path().display());
    }
    outcome
}

/// Signals that ask us to end: from now on they must end the cell before they end us.
#[derive(Debug)]
struct Signals {
    heard: Arc<AtomicBool>,
    /// Ends every call that is under way; after a failure it is set without a signal.
    cut: Arc<AtomicBool>,
}

impl Signals {
    fn watch() -> Result<Self> {
        let signals = Self { heard: Arc::default(), cut: Arc::default() };
        for signal in [SIGINT, SIGTERM] {
            for flag in [&signals.heard, &signals.cut] {
                signal_hook::flag::register(signal, Arc::clone(flag))
                    .context("could not watch for signals")?;
            }
        }
        Ok(signals)
    }

    fn were_heard(&self) -> bool {
        // ORDERING: Relaxed, a lone flag; nothing else is published with it.
        self.heard.load(Ordering::Relaxed)
    }
}

fn with_cell(
    workspace: &Workspace,
    binaries: &Path,
    folder: &Folder,
    signals: &Signals,
    parts: &mut Parts,
) -> Result<Seen> {
    let batch = parts.time("count", || Batch::prepare(&workspace.root, folder))?;
    let mut cell = DemoCell::start(&binaries.join("paceline"), folder)?;
    let seen = parts
        .time("start", || cell.wait_ready(&signals.cut))
        .and_then(|()| show(&cell, &batch, folder, &signals.cut, parts));
    match seen {
        Ok(seen) => parts.time("stop", || cell.stop()).map(|()| seen),
        Err(error) => {
            // Whoever pressed Ctrl-C asked for an end, not for logs.
            if !signals.were_heard() {
                cell.print_logs();
            }
            Err(cell.stop_after(error))
        }
    }
}

fn show(
    cell: &DemoCell,
    batch: &Batch,
    folder: &Folder,
    cut: &Arc<AtomicBool>,
    parts: &mut Parts,
) -> Result<Seen> {
    let (cli, pids) = (cell.cli(cut), cell.parts()?.json());
    let submitter = Submitter::new(cli.clone(), folder.open("small")?);
    let background = Background::start(&submitter, cut);
    let (leader, shard, agent) = parts.time("batch", || {
        let file = batch.file.to_str().context("the path of the demo's folder is not UTF-8")?;
        cli.ask_aloud(&["job", "submit", file])?;
        let mut progress = Progress::new(TASKS as u64);
        let killer = Killer { cell, cli: &cli, submitter: &submitter, progress: &mut progress };
        let kills = run_batch(killer);
        progress.clear();
        kills
    })?;
    parts.time("audit", || {
        background.stop()?;
        let audit = submissions::audit(&submitter)?;
        let ended = Ended::read(&cli.ask(&["job", "get", JOB])?, &cli.ask(&["job", "tasks", JOB])?);
        let nodes_up = cli.ask(&["cell", "status"])?["nodes"]["up"].as_u64().unwrap_or_default();
        let documents = (batch.documents.folder.display().to_string(), batch.documents.files.len());
        Ok(Seen { documents, pids, leader, shard, agent, ended, results: batch.compare()?, nodes_up, audit })
    })
}

/// Follows the batch to its end and kills on the way.
fn run_batch(mut killer: Killer<'_>) -> Result<(LeaderKilled, ShardKilled, AgentKilled)> {
    let at = follow_to(&mut killer, LEADER_AT)?;
    let leader = killer.leader(at.moment)?;
    let at = follow_to(&mut killer, SHARD_AT)?;
    let shard = killer.shard(at.moment)?;
    let at = follow_to(&mut killer, AGENT_AT)?;
    let agent = killer.agent(at.moment)?;
    follow_to(&mut killer, 100)?;
    Ok((leader, shard, agent))
}

/// Returns once this share of the batch has ended, or all of it.
fn follow_to(killer: &mut Killer<'_>, percent: u64) -> Result<Look> {
    let (mut best, mut moved) = (0, Instant::now());
    loop {
        let look = look(killer.cli)?;
        killer.progress.at(look.moment.ended, look.moment.running);
        if look.is_over || (percent < 100 && look.moment.ended * 100 >= percent * TASKS as u64) {
            return Ok(look);
        }
        if look.moment.ended > best {
            (best, moved) = (look.moment.ended, Instant::now());
        }
        if moved.elapsed() > STALL_LIMIT {
            bail!(
                "expected that tasks of {JOB} go on ending; {best} of {TASKS} have, and none for {} s",
                STALL_LIMIT.as_secs()
            );
        }
        std::thread::sleep(wait::LOOK_EVERY);
    }
}

fn look(cli: &Cli) -> Result<Look> {
    Ok(Look::read(&cli.ask(&["job", "get", JOB])?))
}

#[cfg(test)]
impl Seen {
    /// A demo in which everything went well.
    fn example() -> Self {
        use self::batch::Moment;
        let at = |ended: u64| Moment { ended, running: 20 };
        let text = str::to_owned;
        Self {
            documents: (text("/usr/share/doc"), 900),
            pids: serde_json::json!({"m1": 10}),
            leader: LeaderKilled {
                at: at(80),
                killed: text("m1"),
                pid: 10,
                leader: text("m2"),
                written: true,
                seconds: 0.5432,
            },
            shard: ShardKilled { at: at(180), killed: text("s1"), pid: 20, carried: 3, seconds: 1.0 },
            agent: AgentKilled {
                at: at(280),
                killed: text("n1"),
                pid: 30,
                new_pid: 31,
                ran_on: 6,
                ended_meanwhile: 1,
                seconds: 1.0,
            },
            ended: Ended {
                uid: text("8-0"),
                state: text("succeeded"),
                tasks: [(text("succeeded"), TASKS as u64)].into(),
                listed: TASKS,
                max_attempt: 1,
                beyond_first: 0,
                by_node: [(text("n1"), TASKS as u64)].into(),
            },
            results: Comparison {
                equal: TASKS,
                first_difference: None,
                words: 5_000,
                most_frequent: vec![(text("the"), 300)],
            },
            nodes_up: cell::AGENTS,
            audit: Audit {
                acknowledged: 100,
                refused: Vec::new(),
                unknown: 0,
                lost: Vec::new(),
                doubled: Vec::new(),
                not_succeeded: Vec::new(),
            },
        }
    }
}
