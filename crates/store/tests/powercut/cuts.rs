//! Cuts the power at the boundaries of a trace, reopens what each cut may leave, and counts.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Instant;

use anyhow::Result;
use parking_lot::Mutex;

use crate::again;
use crate::judge::{judge, same_again};
use crate::machine::hash_of;
use crate::record::Kind;
use crate::recording::Recording;
use crate::reopen::{self, Found, Outcome};
use crate::trace::{Call, Progress, Replay};
use crate::volume::{Survival, Tree, Volume};

/// Trees that wait for a worker: a few megabytes each.
const QUEUE: usize = 8;
/// What was found is remembered for neighbours that leave the same bytes; beyond this it is forgotten.
const REMEMBERED: usize = 512;
/// The folders of a store.
const FOLDERS: [&str; 4] = ["", "log", "history", "snapshots"];
/// Failures that are told in full.
const TOLD: usize = 20;

/// How much is cut.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    /// One of so many boundaries; 1 is every one.
    pub every: usize,
    /// All ways in which a cut can turn out, or two of them.
    pub all_survivals: bool,
    /// One of so many cuts is recovered from under the shim, and that recovery is cut as well; 0 is none.
    pub again: usize,
    pub threads: usize,
    pub syncs: Syncs,
    /// A bug is looked for: the first failure is enough, and is not told.
    pub until_found: bool,
}

impl Extent {
    /// Every boundary in two ways, with all syncs.
    pub fn whole(threads: usize) -> Self {
        Self { every: 1, all_survivals: false, again: 0, threads, syncs: Syncs::All, until_found: false }
    }
}

/// Which syncs make anything durable. The canaries leave some out: then the judge must find what is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syncs {
    All,
    None,
    NotOfTheMark,
    NotOfTheHistory,
    NotOfFolders,
}

impl Syncs {
    fn leaves_out(self, replay: &Replay, call: &Call) -> bool {
        call.kind == Kind::Sync
            && match self {
                Self::All => false,
                Self::None => true,
                Self::NotOfTheMark => replay.is_of(call, |name| name.starts_with("high-water-mark")),
                Self::NotOfTheHistory => replay.is_of(call, |name| name.starts_with("history/")),
                Self::NotOfFolders => replay.is_of(call, |name| FOLDERS.contains(&name)),
            }
    }
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Report {
    pub boundaries: usize,
    pub cut: usize,
    pub cuts: usize,
    /// Recoveries that were recorded, and cuts of them, which are counted above as well.
    pub recoveries: usize,
    pub cuts_of_recoveries: usize,
    pub reopened: usize,
    pub failures: Vec<String>,
    pub seconds: u64,
}

/// One cut, to be reopened and judged.
pub struct Cut {
    pub told: String,
    pub progress: Progress,
    pub tree: Tree,
    /// What an earlier opening found and may have told to others.
    pub first: Option<Arc<Found>>,
}

#[derive(Default)]
struct Shared {
    known: Mutex<HashMap<u64, Arc<Outcome>>>,
    report: Mutex<Report>,
    enough: AtomicBool,
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
        let made = produce(recording, extent, &Sender { cuts, shared: &shared }, scratch);
        for worker in workers {
            worker.join().expect("a worker's panic is the test's")?;
        }
        made
    })?;
    let mut report = shared.report.into_inner();
    report.seconds = begun.elapsed().as_secs();
    Ok(report)
}

struct Sender<'a> {
    cuts: SyncSender<Cut>,
    shared: &'a Shared,
}

impl Sender<'_> {
    /// `false`: nobody waits for more.
    fn send(&self, cut: Cut) -> bool {
        // ORDERING: Relaxed, one more cut does no harm; pairs with the store in `work`.
        !self.shared.enough.load(Ordering::Relaxed) && self.cuts.send(cut).is_ok()
    }
}

fn produce(recording: &Recording, extent: Extent, sender: &Sender<'_>, scratch: &Path) -> Result<()> {
    let report = &sender.shared.report;
    let mut replay = Replay::default();
    let mut made = 0;
    for (call, of) in recording.calls.iter().enumerate() {
        if extent.syncs == Syncs::All && replay.overtakes_a_sync(of) {
            let problem = format!("call {call} writes to a log file before the write before it was synced");
            if !extent.until_found {
                eprintln!("{problem}");
            }
            report.lock().failures.push(problem);
        }
        if extent.syncs.leaves_out(&replay, of) || !replay.take(of)? {
            continue;
        }
        let nth = {
            let mut report = report.lock();
            if extent.until_found && !report.failures.is_empty() {
                return Ok(());
            }
            report.boundaries += 1;
            report.boundaries
        };
        if !nth.is_multiple_of(extent.every) {
            continue;
        }
        report.lock().cut += 1;
        for survival in survivals(&replay.volume, call as u64, extent.all_survivals) {
            let told = format!("cut after call {call} ({:?}), {survival:?}, {:?}", of.kind, replay.progress);
            let tree = replay.volume.after_cut(survival);
            made += 1;
            if extent.again > 0 && made % extent.again == 0 {
                let mut send = |cut| {
                    report.lock().cuts_of_recoveries += 1;
                    sender.send(cut)
                };
                again::produce(&tree, replay.progress, &told, scratch, &mut send)?;
                report.lock().recoveries += 1;
            }
            if !sender.send(Cut { told, progress: replay.progress, tree, first: None }) {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// What may be left; where nothing is pending all are the same, and one stands for them.
pub fn survivals(volume: &Volume, call: u64, all: bool) -> Vec<Survival> {
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
        let outcome = outcome_of(&cut.tree, shared, scratch)?;
        let judged = judge(&recording.script, cut.progress, &outcome);
        let verdict = judged.and_then(|()| cut.first.map_or(Ok(()), |first| same_again(&first, &outcome)));
        let mut report = shared.report.lock();
        report.cuts += 1;
        if let Err(problem) = verdict {
            if extent.until_found {
                // ORDERING: Relaxed, pairs with the load in `send`.
                shared.enough.store(true, Ordering::Relaxed);
            } else if report.failures.len() < TOLD && extent.syncs == Syncs::All {
                eprintln!("{}: {problem}", cut.told);
            }
            report.failures.push(format!("{}: {problem}", cut.told));
        }
    }
}

fn outcome_of(tree: &Tree, shared: &Shared, scratch: &Path) -> Result<Arc<Outcome>> {
    let hash = hash_of(tree);
    let known = shared.known.lock().get(&hash).cloned();
    if let Some(outcome) = known {
        return Ok(outcome);
    }
    let dir = tempfile::tempdir_in(scratch)?;
    reopen::write_tree(tree, dir.path())?;
    let outcome = Arc::new(reopen::open(dir.path()));
    let mut known = shared.known.lock();
    if known.len() >= REMEMBERED {
        known.clear();
    }
    known.insert(hash, outcome.clone());
    shared.report.lock().reopened += 1;
    Ok(outcome)
}
