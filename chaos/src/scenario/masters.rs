//! Who leads, and the processes of masters.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use paceline_client::Client;
use tokio::time::sleep;

use super::checks;
use crate::cell::DevCell;
use crate::process::Process;
use crate::wait::until;

/// An election takes a second or so; on a machine that does much else, much longer.
const LEADER_WITHIN: Duration = Duration::from_secs(60);
/// A process that was killed is gone within this; the kernel has to take down its memory first.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// A master that leads.
#[derive(Clone, Debug)]
pub struct Leader {
    /// Its name.
    pub name: String,
    /// The term.
    pub term: u64,
    /// Its process.
    pub process: Process,
}

/// The leader, where the one that the others name says the same of itself.
pub async fn leader(cell: &DevCell, client: &Client) -> Result<Leader> {
    let look = || async {
        let status = client.cell().status().await.map_err(|error| error.to_string())?;
        let own = checks::own_status(cell, &status.leader).await.map_err(|error| format!("{error:#}"))?;
        if own.leader != status.leader || own.term != status.term {
            return Err(format!("{} sees {} as the leader of term {}", status.leader, own.leader, own.term));
        }
        Ok((status.leader, status.term))
    };
    let (name, term) = until("a leader that says so itself", LEADER_WITHIN, look).await?;
    let process = process_of(cell, &name)?.with_context(|| format!("{name} has no process in cell.json"))?;
    Ok(Leader { name, term, process })
}

/// The process of a master, where it runs.
pub fn process_of(cell: &DevCell, name: &str) -> Result<Option<Process>> {
    Ok(cell.parts()?.master(name).and_then(|master| master.process()))
}

/// Kills a process and waits until it is gone: what it still did in between would count as done afterwards.
pub async fn kill(process: Process) -> Result<()> {
    process.kill();
    let began = Instant::now();
    while process.runs() {
        if began.elapsed() > GONE_WITHIN {
            bail!("process {} still runs {GONE_WITHIN:?} after SIGKILL", process.pid);
        }
        sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}
