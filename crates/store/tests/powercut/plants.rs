//! Bugs that the campaign must find: planted in the recorded process, or syncs that the volume leaves out.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use paceline_types::plant::Plant;

use crate::cuts::{self, Extent, Syncs};
use crate::recording;

/// Steps of a trace with a bug; enough for several lives, truncations and snapshots.
const STEPS: usize = 300;
/// Traces that are tried for one bug.
const SEEDS: u64 = 3;

/// A bug, and where it is planted.
#[derive(Debug, Clone, Copy)]
pub enum Bug {
    /// In the code of the recorded process.
    Code(Plant),
    /// The code forgets these syncs; the volume leaves them out.
    Sync(&'static str, Syncs),
}

/// All that concerns this layer. The others of [`Plant`] are about failing disks and about elections.
pub const BUGS: [Bug; 12] = [
    Bug::Code(Plant::AcknowledgeBeforeSync),
    Bug::Code(Plant::AcknowledgeThenSync),
    Bug::Code(Plant::VoteNotSynced),
    Bug::Code(Plant::TailNotTruncated),
    Bug::Code(Plant::MarkNotLowered),
    Bug::Code(Plant::MarkNotSynced),
    Bug::Code(Plant::SnapshotNotSynced),
    Bug::Code(Plant::FolderNotSynced),
    Bug::Code(Plant::HintAlone),
    Bug::Sync("mark-file-not-synced", Syncs::NotOfTheMark),
    Bug::Sync("history-not-synced", Syncs::NotOfTheHistory),
    Bug::Sync("folders-not-synced", Syncs::NotOfFolders),
];

impl Bug {
    pub fn name(self) -> &'static str {
        match self {
            Self::Code(plant) => plant.name(),
            Self::Sync(name, _) => name,
        }
    }
}

/// What found a bug.
pub struct Found {
    pub seed: u64,
    /// Cuts until then, of that seed's trace.
    pub cuts: usize,
    pub how: String,
}

/// The bug of a name.
pub fn named(name: &str) -> Result<Bug> {
    let names = || BUGS.map(Bug::name).join(", ");
    BUGS.into_iter().find(|bug| bug.name() == name).with_context(|| format!("--plant is one of: {}", names()))
}

/// Looks for a bug. It is an error if it is not found.
pub fn find(bug: Bug, threads: usize, scratch: &Path) -> Result<Found> {
    let (plant, syncs) = match bug {
        Bug::Code(plant) => (Some(plant), Syncs::All),
        Bug::Sync(_, syncs) => (None, syncs),
    };
    for seed in 1..=SEEDS {
        let dir = tempfile::tempdir_in(scratch)?;
        let recording = match recording::record(seed, STEPS, plant, dir.path()) {
            Ok(recording) => recording,
            Err(error) if plant.is_some() => {
                return Ok(Found { seed, cuts: 0, how: format!("without any cut: {error:#}") });
            }
            Err(error) => return Err(error),
        };
        // Every boundary in two ways: it ends with the first failure.
        let extent = Extent { syncs, until_found: true, ..Extent::whole(threads) };
        let report = cuts::run(&recording, extent, dir.path())?;
        if let Some(how) = report.failures.into_iter().next() {
            return Ok(Found { seed, cuts: report.cuts, how });
        }
    }
    Err(anyhow::anyhow!("{} was not found in {SEEDS} traces of {STEPS} steps", bug.name()))
}

/// Looks for each of them and tells what found it.
pub fn find_all(bugs: &[Bug], threads: usize, scratch: &Path) -> Result<()> {
    let mut missed = Vec::new();
    for bug in bugs {
        match find(*bug, threads, scratch) {
            Ok(found) => {
                let how = found.how.lines().next().unwrap_or_default().to_owned();
                println!("{:24} found, seed {}, cut {}: {how}", bug.name(), found.seed, found.cuts);
            }
            Err(error) => {
                println!("{:24} NOT FOUND: {error:#}", bug.name());
                missed.push(bug.name());
            }
        }
    }
    ensure!(missed.is_empty(), "not found: {}", missed.join(", "));
    Ok(())
}
