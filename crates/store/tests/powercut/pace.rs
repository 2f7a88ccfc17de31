//! How fast the commit path acknowledges on a real disk, and how often it syncs, with the mark and without.
//!
//! For people who change the path: runs in pairs, in the folder that they name, on the disk that they want to know about.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use paceline_replica::{CommitPath, MemoryHistory, Position};
use paceline_store::RocksDisk;
use paceline_types::plant::{Plant, plant};

use crate::driver;
use crate::machine::Machine;

/// Appends of each run.
const APPENDS: u64 = 4000;
/// Appends that are on their way at a time, as with many clients.
const IN_FLIGHT: usize = 16;
/// Bytes of an entry.
const ENTRY_BYTES: usize = 200;

/// So many pairs of runs: one without the mark, one with it.
pub fn pairs(dir: &Path, pairs: usize) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build()?;
    for nth in 0..pairs {
        for bug in [Some(Plant::MarkNotSynced), None] {
            plant(bug);
            let dir = tempfile::tempdir_in(dir).context("a folder on the disk to measure")?;
            let (whole, mut each) = runtime.block_on(acknowledged(dir.path()))?;
            each.sort();
            let at = |share: usize| each[(each.len() - 1) * share / 100].as_micros();
            println!(
                "pair {nth}, {}: {:.0} acknowledgements/s, p50 {} us, p99 {} us",
                if bug.is_some() { "without the mark" } else { "with the mark   " },
                APPENDS as f64 / whole.as_secs_f64(),
                at(50),
                at(99),
            );
        }
    }
    Ok(())
}

async fn acknowledged(dir: &Path) -> Result<(Duration, Vec<Duration>)> {
    let disk = Arc::new(RocksDisk::open(dir)?);
    let history = Arc::new(MemoryHistory::new());
    let machine = Machine { tally: Arc::default(), history: history.clone(), failed: Arc::default() };
    let mut path = CommitPath::open(&driver::config(), disk, history, machine).await?;
    let payload = Bytes::from(vec![7; ENTRY_BYTES]);
    let mut waiting = std::collections::VecDeque::new();
    let mut each = Vec::new();
    let begun = Instant::now();
    for index in 0..APPENDS {
        let sent = Instant::now();
        let pending = path.append(vec![(Position { term: 1, index }, payload.clone())]).await?;
        waiting.push_back(tokio::spawn(async move {
            pending.durable().await?;
            anyhow::Ok(sent.elapsed())
        }));
        if waiting.len() >= IN_FLIGHT {
            each.push(waiting.pop_front().expect("it was counted").await??);
        }
    }
    for one in waiting {
        each.push(one.await??);
    }
    Ok((begun.elapsed(), each))
}
