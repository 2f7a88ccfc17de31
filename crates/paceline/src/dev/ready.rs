//! When a development cell is ready: a leader leads, every shard is connected and every agent is heard.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};
use paceline_client::{CellFolder, Client, v1};
use tokio::time::{Instant, sleep};

use super::plan::{Part, Plan};

/// Longest wait: a slow disk and a machine that compiles something at the same time included.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Lines of a log that are shown when a part failed.
const TAIL_LINES: usize = 20;

/// Waits until the cell is ready.
pub async fn wait(dir: PathBuf, plan: Plan) -> Result<()> {
    let deadline = Instant::now() + READY_WITHIN;
    let client = Client::open(CellFolder::read(&dir)?)?.within(Duration::from_secs(2));
    loop {
        let missing = match client.cell().status().await {
            Ok(status) => match missing(&plan, &status) {
                None => return Ok(()),
                Some(missing) => missing,
            },
            Err(error) => error.to_string(),
        };
        if Instant::now() >= deadline {
            let tails: Vec<String> = plan.parts().into_iter().map(|part| log_tail(&dir, part)).collect();
            bail!("the cell is not ready after {READY_WITHIN:?}: {missing}\n{}", tails.join("\n"));
        }
        sleep(LOOK_EVERY).await;
    }
}

/// What the cell still lacks.
fn missing(plan: &Plan, status: &v1::CellStatusReply) -> Option<String> {
    let connected = status.shards.iter().filter(|shard| shard.connected()).count();
    let up = status.nodes.unwrap_or_default().up() as usize;
    if status.leader.is_empty() {
        Some("no leader".to_owned())
    } else if connected < plan.shards.len() {
        Some(format!("{connected} of {} shards are connected", plan.shards.len()))
    } else if up < plan.agents.len() {
        Some(format!("{up} of {} agents have joined", plan.agents.len()))
    } else {
        None
    }
}

/// The end of a part's log, for whoever has to find out what happened.
pub fn log_tail(dir: &Path, part: Part) -> String {
    let path = part.log_file(dir);
    let text =
        std::fs::read(&path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let tail = &lines[lines.len().saturating_sub(TAIL_LINES)..];
    format!("--- {}\n{}", path.display(), tail.join("\n"))
}
