//! `paceline dev`: a whole cell on one machine, every role its own process on loopback.
//!
//! ```text
//! plan (dev.json) ─► authorities, certificates ─► processes ─► cell.json ─► `ready`
//!                                                    │ SIGTERM, Ctrl-C
//!                                                    └► agents, tasks, shards, masters end in this order
//! ```

mod cell_file;
mod plan;
mod presence;
mod process;
mod ready;
mod running;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use paceline_identity::{Authority, CERTIFICATE_LIFE, Role};

use cell_file::OPERATOR_CREDENTIALS;
use plan::Plan;
pub use plan::{LogPlan, Part, Size};
use presence::Presence;
use process::Tie;
use running::Running;

use crate::cli::Output;
use crate::output;

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
    /// Make that part, a master, where the cell does not have it.
    pub join: bool,
    /// End when standard input ends.
    pub exit_with_stdin: bool,
    /// How much log the masters keep, where it is not what it was before.
    pub log: LogPlan,
}

/// Runs a cell until it is asked to end, or starts one part of it again.
pub async fn run(options: DevOptions, format: Output) -> Result<()> {
    let resolve =
        || options.dir.canonicalize().with_context(|| format!("cannot find {}", options.dir.display()));
    if let Some(part) = options.only {
        return start_again(&resolve()?, part, options.join, format);
    }
    fs::create_dir_all(&options.dir).with_context(|| format!("cannot create {}", options.dir.display()))?;
    run_cell(&resolve()?, &options).await
}

/// Starts one part of an existing cell again and leaves it running: as long as the rest of the cell, where that runs.
fn start_again(dir: &Path, part: Part, join: bool, format: Output) -> Result<()> {
    let mut plan = Plan::load(dir)?.with_context(|| format!("--dir: {} holds no cell", dir.display()))?;
    let pid = cell_file::change(dir, &mut plan, |plan, pids| {
        plan.drop_removed(dir);
        if !plan.parts().contains(&part) {
            make_part(dir, plan, part, join)?;
        }
        if let Some(&pid) = pids.get(&part)
            && process::is_part(pid, dir, part)
        {
            bail!("--only: {} runs already, as process {pid}", part.name());
        }
        let tie = Presence::find(dir)?.map_or(Tie::None, Tie::ToPipe);
        let child = process::start(dir, plan, part, tie)?;
        let pid = child.id().context("the process ended at once")?;
        pids.insert(part, pid);
        Ok(pid)
    })?;
    let text = format!("{} started as process {pid}", part.name());
    output::message(
        format,
        &text,
        &serde_json::json!({"part": part.argument(), "name": part.name(), "pid": pid}),
    )
}

/// A master that the cell does not have yet, where it is asked for.
fn make_part(dir: &Path, plan: &mut Plan, part: Part, join: bool) -> Result<()> {
    let Part::Master(id) = part else { return no_such_part(plan, part, "") };
    if part.was_removed(dir) {
        bail!("--only: {} was removed from the cell and does not come back: use another number", part.name());
    }
    if !join {
        return no_such_part(plan, part, "; with --join it is made, and waits to be taken in");
    }
    plan.add_master(id)?;
    make_credentials(dir, plan)
}

fn no_such_part(plan: &Plan, part: Part, hint: &str) -> Result<()> {
    let parts: Vec<String> = plan.parts().into_iter().map(Part::argument).collect();
    bail!("--only: the cell has no {}: expected one of {}{hint}", part.argument(), parts.join(", "))
}

async fn run_cell(dir: &Path, options: &DevOptions) -> Result<()> {
    let _presence = Presence::take(dir)?;
    let plan = make_plan(dir, options)?;
    let stray = cell_file::load_pids(dir, &plan);
    if let Some((part, pid)) = stray.iter().find(|&(part, pid)| process::is_part(*pid, dir, *part)) {
        bail!(
            "{} of this folder runs already, as process {pid}: end it first, or use another --dir",
            part.name()
        );
    }
    make_credentials(dir, &plan)?;
    let mut cell = Running::new(dir, plan);
    let outcome = cell.run(options).await;
    cell.end().await;
    outcome
}

fn make_plan(dir: &Path, options: &DevOptions) -> Result<Plan> {
    let mut plan = match Plan::load(dir)? {
        Some(mut plan) => {
            plan.drop_removed(dir);
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
