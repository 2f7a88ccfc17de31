//! The processes of a development cell while it runs: started, brought back, kept true in `cell.json`, ended in order.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::process::Child;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout_at};

use super::plan::{Part, Plan};
use super::process::{self, Tie};
use super::{DevOptions, cell_file, ready};
use crate::output;

/// How long a part may take to end after SIGTERM: a master hands its leadership over first.
const END_GRACE: Duration = Duration::from_secs(10);
/// How long a part that ended stays away with `--restart`: long enough not to burn a core on one that cannot start.
const RESTART_PAUSE: Duration = Duration::from_millis(500);

/// Between two looks at parts that `--only` started: they are nobody's children here.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The processes of a cell.
pub struct Running {
    dir: PathBuf,
    plan: Plan,
    pids: BTreeMap<Part, u32>,
    /// One task per process; it yields the part when the process has ended.
    children: JoinSet<(Part, String)>,
}

impl Running {
    /// Nothing runs yet.
    pub fn new(dir: &Path, plan: Plan) -> Self {
        Self { dir: dir.to_owned(), plan, pids: BTreeMap::new(), children: JoinSet::new() }
    }

    /// Starts every part and keeps their lives until somebody asks for the end.
    pub async fn run(&mut self, options: &DevOptions) -> Result<()> {
        for part in self.plan.parts() {
            self.start(part)?;
        }
        self.store()?;
        let asked_to_end = crate::shutdown::asked_to_end_or_stdin(options.exit_with_stdin);
        let mut asked_to_end = std::pin::pin!(asked_to_end);
        let ready = ready::wait(self.dir.clone(), self.plan.clone());
        let mut ready = std::pin::pin!(ready);
        let mut is_ready = false;
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = &mut asked_to_end => return Ok(()),
                outcome = &mut ready, if !is_ready => {
                    outcome?;
                    is_ready = true;
                    eprintln!("in another terminal: export PACELINE_CELL={}", self.dir.display());
                    output::print("ready")?;
                }
                Some(ended) = self.children.join_next(), if !self.children.is_empty() => {
                    let (part, how) = ended.context("a task that waits for a process failed")?;
                    self.ended(part, &how, options.restart, is_ready).await?;
                }
                _ = looks.tick() => {
                    for part in self.ended_by_themselves() {
                        self.ended(part, "its process is gone", options.restart, is_ready).await?;
                    }
                }
            }
        }
    }

    fn start(&mut self, part: Part) -> Result<()> {
        let mut child: Child = process::start(&self.dir, &self.plan, part, Tie::ToThisProcess)?;
        let pid = child.id().context("the process ended at once")?;
        self.pids.insert(part, pid);
        self.children.spawn(async move {
            // Keeps the pipe that the part's life hangs on: waiting would close it.
            let held = child.stdin.take();
            let how = match child.wait().await {
                Ok(status) => status.to_string(),
                Err(error) => error.to_string(),
            };
            drop(held);
            (part, how)
        });
        Ok(())
    }

    /// A part has ended: bring it back, or say so and go on. Before the cell is ready, it is an error.
    async fn ended(&mut self, part: Part, how: &str, restart: bool, is_ready: bool) -> Result<()> {
        let ours = self.pids.remove(&part);
        // `--only` may have started it again meanwhile; then the file names another process.
        let now = self.pids_in_file().get(&part).copied();
        if now != ours && now.is_some_and(|pid| process::is_part(pid, &self.dir, part)) {
            return Ok(());
        }
        if part.was_removed(&self.dir) {
            eprintln!("{} was removed from the cell and has ended", part.name());
            return self.store();
        }
        eprintln!("{} ended: {how}; its log is {}", part.name(), part.log_file(&self.dir).display());
        if restart {
            sleep(RESTART_PAUSE).await;
            // `--only` may have made it.
            self.plan = Plan::load(&self.dir)?.unwrap_or_else(|| self.plan.clone());
            self.start(part)?;
        } else if is_ready {
            eprintln!("start it again: paceline dev --dir {} --only {}", self.dir.display(), part.argument());
        } else {
            bail!(
                "{} ended before the cell was ready: {how}\n{}",
                part.name(),
                ready::log_tail(&self.dir, part)
            );
        }
        self.store()
    }

    /// Keeps pids of parts that `--only` started, and takes over what it has made; forgets masters that were removed.
    fn store(&mut self) -> Result<()> {
        let (dir, own) = (&self.dir, &self.pids);
        cell_file::change(dir, &mut self.plan, |plan, pids| {
            let removed = plan.drop_removed(dir);
            true_up(dir, own, pids);
            pids.retain(|part, _| !removed.contains(part));
            Ok(())
        })
    }

    /// Parts in the file that have ended and are not ours: nobody tells us.
    fn ended_by_themselves(&self) -> Vec<Part> {
        let pids = self.pids_in_file();
        let ended = |(part, pid): (Part, u32)| {
            let is_ours = self.pids.get(&part) == Some(&pid);
            (!is_ours && !process::is_part(pid, &self.dir, part)).then_some(part)
        };
        pids.into_iter().filter_map(ended).collect()
    }

    /// What the file says now, of parts that `--only` has made since we looked last too.
    fn pids_in_file(&self) -> BTreeMap<Part, u32> {
        // A plan that cannot be read is that of a moment ago: it is replaced whole.
        let latest = Plan::load(&self.dir).ok().flatten();
        cell_file::load_pids(&self.dir, latest.as_ref().unwrap_or(&self.plan))
    }

    /// Ends everything: agents first, so that they see their tasks end, then tasks, shards, masters.
    pub async fn end(&mut self) {
        let mut pids = self.pids_in_file();
        true_up(&self.dir, &self.pids, &mut pids);
        pids.retain(|part, pid| process::is_part(*pid, &self.dir, *part));
        let is_agent = |part: &Part| matches!(part, Part::Agent(_));
        self.end_parts(pids.iter().filter(|(part, _)| is_agent(part))).await;
        for part in self.plan.parts().into_iter().filter(is_agent) {
            if let Err(error) = self.end_tasks(part).await {
                eprintln!("cannot end the tasks of {}: {error:#}", part.name());
            }
        }
        self.end_parts(pids.iter().filter(|(part, _)| matches!(part, Part::Shard(_)))).await;
        self.end_parts(pids.iter().filter(|(part, _)| matches!(part, Part::Master(_)))).await;
        self.pids.clear();
        let forget = |_: &mut Plan, pids: &mut BTreeMap<Part, u32>| {
            pids.clear();
            Ok(())
        };
        if let Err(error) = cell_file::change(&self.dir, &mut self.plan, forget) {
            eprintln!("{error:#}");
        }
    }

    /// Tasks outlive their agent, but not the cell that was started for a look.
    async fn end_tasks(&self, part: Part) -> Result<()> {
        let (cell, name, data) = (self.plan.cell.clone(), part.name(), part.data_folder(&self.dir));
        let supervisor = crate::roles::supervisor()?;
        let end = move || paceline_agent::end_tasks(&cell, &name, &data, &supervisor);
        tokio::task::spawn_blocking(end).await.context("ending tasks failed")??;
        Ok(())
    }

    async fn end_parts(&mut self, parts: impl Iterator<Item = (&Part, &u32)>) {
        let parts: Vec<(Part, u32)> = parts.map(|(part, pid)| (*part, *pid)).collect();
        parts.iter().for_each(|(_, pid)| process::terminate(*pid));
        let deadline = Instant::now() + END_GRACE;
        while parts.iter().any(|(part, pid)| process::is_part(*pid, &self.dir, *part)) {
            // Reaps children; parts that `--only` started are nobody's children here, so look again soon.
            let pause = Instant::now() + Duration::from_millis(50);
            let _ = timeout_at(pause.min(deadline), self.children.join_next()).await;
            sleep(Duration::from_millis(5)).await;
            if Instant::now() >= deadline {
                for (part, pid) in parts.iter().filter(|(part, pid)| process::is_part(*pid, &self.dir, *part))
                {
                    eprintln!("{} did not end within {END_GRACE:?} and is killed", part.name());
                    process::kill(*pid);
                }
                return;
            }
        }
    }
}

/// What runs: the file's, where that lives, because `--only` may have started it after ours ended; else ours, of whose
/// end we are told.
fn true_up(dir: &Path, own: &BTreeMap<Part, u32>, pids: &mut BTreeMap<Part, u32>) {
    pids.retain(|part, pid| process::is_part(*pid, dir, *part));
    for (&part, &pid) in own {
        pids.entry(part).or_insert(pid);
    }
}
