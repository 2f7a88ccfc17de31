//! `paceline dev`: a whole cell on one machine, every role its own process on loopback.
//!
//! ```text
//! plan (dev.json) ─► authorities, certificates ─► processes ─► cell.json ─► `ready`
//!                                                    │ SIGTERM, Ctrl-C
//!                                                    └► agents, tasks, shards, masters end in this order
//! ```

mod cell_file;
mod plan;
mod process;
mod ready;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use paceline_identity::{Authority, CERTIFICATE_LIFE, Role};
use tokio::process::Child;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use cell_file::OPERATOR_CREDENTIALS;
use plan::Plan;
pub use plan::{LogPlan, Part, Size};
use process::Tie;

/// How long a part may take to end after SIGTERM: a master hands its leadership over first.
const END_GRACE: Duration = Duration::from_secs(10);
/// How long a part that ended stays away with `--restart`: long enough not to burn a core on one that cannot start.
const RESTART_PAUSE: Duration = Duration::from_millis(500);

/// What `paceline dev` was asked for.
#[derive(Clone, Debug)]
pub struct DevOptions {
    /// The cell's folder.
    pub dir: PathBuf,
    /// How large it shall be.
    pub size: Size,
    /// Bring back parts that end.
    pub restart: bool,
    /// Start this part of an existing cell again, and nothing else.
    pub only: Option<Part>,
    /// How much log the masters keep, where it is not what it was before.
    pub log: LogPlan,
}

/// Runs a cell until it is asked to end.
pub async fn run(options: DevOptions) -> Result<()> {
    fs::create_dir_all(&options.dir).with_context(|| format!("cannot create {}", options.dir.display()))?;
    let dir = options.dir.canonicalize().with_context(|| format!("cannot find {}", options.dir.display()))?;
    match options.only {
        Some(part) => start_again(&dir, part),
        None => run_cell(&dir, &options).await,
    }
}

/// Starts one part of an existing cell again and leaves it running.
fn start_again(dir: &Path, part: Part) -> Result<()> {
    let plan = Plan::load(dir)?.with_context(|| format!("{} holds no cell", dir.display()))?;
    if !plan.parts().contains(&part) {
        bail!("the cell has no {}", part.name());
    }
    let mut pids = cell_file::load_pids(dir, &plan);
    if let Some(&pid) = pids.get(&part)
        && process::is_part(pid, dir, part)
    {
        bail!("{} runs already, as process {pid}", part.name());
    }
    let child = process::start(dir, &plan, part, Tie::None)?;
    let pid = child.id().context("the process ended at once")?;
    pids.insert(part, pid);
    cell_file::store(dir, &plan, &pids)?;
    println!("{} started as process {pid}", part.name());
    Ok(())
}

async fn run_cell(dir: &Path, options: &DevOptions) -> Result<()> {
    let plan = make_plan(dir, options)?;
    let stray = cell_file::load_pids(dir, &plan);
    if let Some((part, pid)) = stray.iter().find(|&(part, pid)| process::is_part(*pid, dir, *part)) {
        bail!(
            "{} of this folder runs already, as process {pid}: end it first, or use another --dir",
            part.name()
        );
    }
    make_credentials(dir, &plan)?;
    let mut cell = Running { dir: dir.to_owned(), plan, pids: BTreeMap::new(), children: JoinSet::new() };
    let outcome = cell.run(options.restart).await;
    cell.end().await;
    outcome
}

fn make_plan(dir: &Path, options: &DevOptions) -> Result<Plan> {
    let mut plan = match Plan::load(dir)? {
        Some(plan) => {
            plan.check_size(options.size)?;
            plan
        }
        None => {
            let capacity = paceline_agent::detect_capacity()?;
            Plan::new(options.size, capacity.cpu_milli(), capacity.memory_bytes())?
        }
    };
    plan.log = options.log.or(plan.log);
    plan.store(dir)?;
    Ok(plan)
}

/// Creates the authorities once and a certificate for every part and for the operator, where they are missing.
fn make_credentials(dir: &Path, plan: &Plan) -> Result<()> {
    let folder = dir.join("ca");
    let authority =
        if folder.exists() { Authority::load(&folder)? } else { Authority::create(&folder, &plan.cell)? };
    let issue = |role: Role, name: &str, folder: &Path| -> Result<()> {
        if !folder.join("cert.pem").exists() {
            authority.issue(role, name, CERTIFICATE_LIFE)?.write(folder)?;
        }
        Ok(())
    };
    issue(Role::Operator, "dev", &dir.join(OPERATOR_CREDENTIALS))?;
    for part in plan.parts() {
        let role = match part {
            Part::Master(_) => Role::Master,
            Part::Shard(_) => Role::Shard,
            Part::Agent(_) => Role::Agent,
        };
        issue(role, &part.name(), &part.credentials_folder(dir))?;
        fs::create_dir_all(part.data_folder(dir))?;
    }
    Ok(())
}

/// The processes of a cell.
struct Running {
    dir: PathBuf,
    plan: Plan,
    pids: BTreeMap<Part, u32>,
    /// One task per process; it yields the part when the process has ended.
    children: JoinSet<(Part, String)>,
}

impl Running {
    async fn run(&mut self, restart: bool) -> Result<()> {
        for part in self.plan.parts() {
            self.start(part)?;
        }
        self.store()?;
        let mut asked_to_end = std::pin::pin!(crate::shutdown::asked_to_end());
        let ready = ready::wait(self.dir.clone(), self.plan.clone());
        let mut ready = std::pin::pin!(ready);
        let mut is_ready = false;
        loop {
            tokio::select! {
                () = &mut asked_to_end => return Ok(()),
                outcome = &mut ready, if !is_ready => {
                    outcome?;
                    is_ready = true;
                    println!("ready");
                }
                Some(ended) = self.children.join_next(), if !self.children.is_empty() => {
                    let (part, how) = ended.context("a task that waits for a process failed")?;
                    self.ended(part, &how, restart, is_ready).await?;
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
        let now = cell_file::load_pids(&self.dir, &self.plan).get(&part).copied();
        if now != ours && now.is_some_and(|pid| process::is_part(pid, &self.dir, part)) {
            return Ok(());
        }
        eprintln!("{} ended: {how}; its log is {}", part.name(), part.log_file(&self.dir).display());
        if restart {
            sleep(RESTART_PAUSE).await;
            self.start(part)?;
        } else if !is_ready {
            bail!(
                "{} ended before the cell was ready: {how}\n{}",
                part.name(),
                ready::log_tail(&self.dir, part)
            );
        }
        self.store()
    }

    /// Keeps pids of parts that `--only` started.
    fn store(&mut self) -> Result<()> {
        let mut pids = cell_file::load_pids(&self.dir, &self.plan);
        pids.retain(|part, pid| process::is_part(*pid, &self.dir, *part));
        pids.extend(self.pids.iter().map(|(part, pid)| (*part, *pid)));
        cell_file::store(&self.dir, &self.plan, &pids)
    }

    /// Ends everything: agents first, so that they see their tasks end, then tasks, shards, masters.
    async fn end(&mut self) {
        let mut pids = cell_file::load_pids(&self.dir, &self.plan);
        pids.extend(self.pids.iter().map(|(part, pid)| (*part, *pid)));
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
        if let Err(error) = cell_file::store(&self.dir, &self.plan, &BTreeMap::new()) {
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
