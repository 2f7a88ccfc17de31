//! Cuts the power at the boundaries of a trace, reopens what each cut may leave, and counts.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Instant;

use anyhow::Result;
use parking_lot::Mutex;

use crate::judge::judge;
use crate::machine::hash_of;
use crate::record::Kind;
use crate::recording::Recording;
use crate::reopen::{self, Outcome};
use crate::trace::{Progress, Replay};
use crate::volume::{Survival, Tree, Volume};

/// Trees that wait for a worker: a few megabytes each.
const QUEUE: usize = 8;
/// What was found is remembered for neighbours that leave the same bytes; beyond this it is forgotten.
const REMEMBERED: usize = 512;
/// Failures that are told in full.
const TOLD: usize = 20;

/// How much is cut.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    /// One of so many boundaries; 1 is every one.
    pub every: usize,
    /// All ways in which a cut can turn out, or two of them.
    pub all_survivals: bool,
    pub threads: usize,
    pub syncs: Syncs,
}

/// Which syncs make anything durable. The canaries leave some out: then the judge must find what is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syncs {
    All,
    None,
    NotOfTheMark,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Report {
    pub boundaries: usize,
    pub cut: usize,
    pub cuts: usize,
    pub reopened: usize,
    pub failures: Vec<String>,
    pub seconds: u64,
}

struct Cut {
    call: usize,
    survival: Survival,
    progress: Progress,
    tree: Tree,
}

#[derive(Default)]
struct Shared {
    known: Mutex<HashMap<u64, Arc<Outcome>>>,
    report: Mutex<Report>,
}

/// Cuts a recording.
pub fn run(recording: &Recording, extent: Extent, scratch: &Path) -> Result<Report> {
    let begun = Instant::now();
    let shared = Shared::default();
    let (cuts, queue) = sync_channel(QUEUE);
    let queue = Mutex::new(queue);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..extent.threads)
            .map(|_| scope.spawn(|| work(recording, extent, &queue, &shared, scratch)))
            .collect();
        let made = produce(recording, extent, &cuts, &shared);
        drop(cuts);
        for worker in workers {
            worker.join().expect("a worker's panic is the test's")?;
        }
        made
    })?;
    let mut report = shared.report.into_inner();
    report.seconds = begun.elapsed().as_secs();
    Ok(report)
}

fn produce(recording: &Recording, extent: Extent, cuts: &SyncSender<Cut>, shared: &Shared) -> Result<()> {
    let mut replay = Replay::default();
    for (call, of) in recording.calls.iter().enumerate() {
        let left_out = match extent.syncs {
            Syncs::All => false,
            Syncs::None => of.kind == Kind::Sync,
            Syncs::NotOfTheMark => of.kind == Kind::Sync && replay.is_of(of, "high-water-mark"),
        };
        if left_out {
            continue;
        }
        let boundary = replay.take(of)?;
        if !boundary {
            continue;
        }
        let nth = {
            let mut report = shared.report.lock();
            report.boundaries += 1;
            report.boundaries
        };
        if !nth.is_multiple_of(extent.every) {
            continue;
        }
        shared.report.lock().cut += 1;
        for survival in survivals(&replay.volume, call as u64, extent.all_survivals) {
            let tree = replay.volume.after_cut(survival);
            let cut = Cut { call, survival, progress: replay.progress, tree };
            if cuts.send(cut).is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// What may be left; where nothing is pending all are the same, and one stands for them.
fn survivals(volume: &Volume, call: u64, all: bool) -> Vec<Survival> {
    use Survival::*;
    let others = [
        NamesOnly,
        ContentOnly,
        Prefix(call),
        Torn { seed: call, zeros: false },
        Torn { seed: call, zeros: true },
        Reordered(call),
        Reordered(!call),
        Pages(call),
    ];
    if all {
        [Nothing, Everything].into_iter().chain(others).collect()
    } else {
        let nth = hash_of((call, volume.pending())) as usize % others.len();
        vec![Nothing, others[nth]]
    }
}

fn work(
    recording: &Recording,
    extent: Extent,
    queue: &Mutex<Receiver<Cut>>,
    shared: &Shared,
    scratch: &Path,
) -> Result<()> {
    loop {
        let Ok(cut) = queue.lock().recv() else { return Ok(()) };
        let hash = hash_of(&cut.tree);
        let known = shared.known.lock().get(&hash).cloned();
        let outcome = match known {
            Some(outcome) => outcome,
            None => {
                let dir = tempfile::tempdir_in(scratch)?;
                reopen::write_tree(&cut.tree, dir.path())?;
                let outcome = Arc::new(reopen::open(dir.path()));
                let mut known = shared.known.lock();
                if known.len() >= REMEMBERED {
                    known.clear();
                }
                known.insert(hash, outcome.clone());
                shared.report.lock().reopened += 1;
                outcome
            }
        };
        let verdict = judge(&recording.script, cut.progress, &outcome);
        let mut report = shared.report.lock();
        report.cuts += 1;
        if let Err(problem) = verdict {
            if report.failures.len() < TOLD && extent.syncs == Syncs::All {
                eprintln!("cut after call {} ({:?}), {:?}: {problem}", cut.call, cut.survival, cut.progress);
            }
            report.failures.push(format!("call {} {:?}: {problem}", cut.call, cut.survival));
        }
    }
}
