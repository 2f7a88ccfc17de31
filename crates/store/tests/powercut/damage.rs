//! Damages one file of a store at a time, and holds what the store then says and serves against what it held before.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};

use crate::judge::{self, judge};
use crate::machine;
use crate::random::Random;
use crate::recording::Recording;
use crate::reopen::{self, Found, Outcome};
use crate::script::Script;
use crate::trace::{Progress, Replay};
use crate::volume::{Node, Survival, Tree};

/// The moments of the trace whose stores are damaged, in parts of it.
const MOMENTS: [(usize, usize); 3] = [(1, 2), (4, 5), (99, 100)];
/// A store to take older copies from lies so many calls earlier.
const EARLIER_CALLS: usize = 400;
/// What is zeroed.
const PAGE_BYTES: usize = 4096;
/// Undetected damage that is told in full.
const TOLD: usize = 20;

/// What happened to the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Flipped,
    Truncated,
    Zeroed,
    Older,
    Gone,
}

const KINDS: [Kind; 5] = [Kind::Flipped, Kind::Truncated, Kind::Zeroed, Kind::Older, Kind::Gone];

/// Counts of one class of file.
#[derive(Debug, Default, Clone, Copy)]
pub struct Count {
    /// Refused, with the file or its database named.
    pub detected: usize,
    /// Opened, with everything that was acknowledged and nothing else.
    pub harmless: usize,
    pub undetected: usize,
}

/// By class of file.
pub type Counts = BTreeMap<&'static str, Count>;

/// A store at some moment.
struct Base {
    tree: Tree,
    earlier: Tree,
    progress: Progress,
    found: Found,
}

/// The class of a file; `None`: nothing to damage.
fn class_of(name: &str) -> Option<&'static str> {
    let (folder, file) = name.rsplit_once('/').unwrap_or(("", name));
    match (folder, file) {
        ("", "high-water-mark") => Some("mark"),
        ("snapshots", _) => Some("snapshot"),
        ("log" | "history", "CURRENT" | "IDENTITY") => Some("CURRENT, IDENTITY"),
        ("log" | "history", _) if file.starts_with("OPTIONS") => Some("OPTIONS"),
        ("log", _) if file.ends_with(".log") => Some("log: write-ahead log"),
        ("log", _) if file.ends_with(".sst") => Some("log: table"),
        ("log", _) if file.starts_with("MANIFEST") => Some("log: manifest"),
        ("history", _) if file.ends_with(".log") => Some("history: write-ahead log"),
        ("history", _) if file.ends_with(".sst") => Some("history: table"),
        ("history", _) if file.starts_with("MANIFEST") => Some("history: manifest"),
        _ => None,
    }
}

/// So many damages for each class and kind.
pub fn run(recording: &Recording, each: usize, scratch: &Path) -> Result<Counts> {
    let bases = bases(recording, scratch)?;
    let mut counts = Counts::new();
    let mut random = Random::new(7);
    let mut told = 0;
    for nth in 0..each * KINDS.len() {
        let kind = KINDS[nth % KINDS.len()];
        for base in &bases {
            for (class, names) in classes(&base.tree) {
                let name = names[random.below(names.len() as u64) as usize];
                let Some((tree, what)) = damage(base, name, kind, &mut random) else { continue };
                let dir = tempfile::tempdir_in(scratch)?;
                reopen::write_tree(&tree, dir.path())?;
                let outcome = reopen::open(dir.path());
                let count = counts.entry(class).or_default();
                match verdict(&recording.script, base, name, &outcome) {
                    Ok(true) => count.detected += 1,
                    Ok(false) => count.harmless += 1,
                    Err(problem) => {
                        count.undetected += 1;
                        told += 1;
                        if told <= TOLD {
                            eprintln!("{name}, {what}: {problem}");
                        }
                    }
                }
            }
        }
    }
    Ok(counts)
}

fn classes(tree: &Tree) -> BTreeMap<&'static str, Vec<&str>> {
    let mut classes: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (name, node) in tree {
        let holds = matches!(node, Node::File(content) if !content.is_empty());
        if let Some(class) = class_of(name).filter(|_| holds) {
            classes.entry(class).or_default().push(name.as_str());
        }
    }
    classes
}

fn bases(recording: &Recording, scratch: &Path) -> Result<Vec<Base>> {
    MOMENTS.iter().map(|(part, of)| base(recording, recording.calls.len() * part / of, scratch)).collect()
}

fn base(recording: &Recording, calls: usize, scratch: &Path) -> Result<Base> {
    let mut replay = Replay::default();
    let mut earlier = Tree::new();
    for (at, call) in recording.calls[..calls].iter().enumerate() {
        if at + EARLIER_CALLS == calls {
            earlier = replay.volume.after_cut(Survival::Everything);
        }
        replay.take(call)?;
    }
    let (tree, progress) = (replay.volume.after_cut(Survival::Everything), replay.progress);
    let dir = tempfile::tempdir_in(scratch)?;
    reopen::write_tree(&tree, dir.path())?;
    let outcome = reopen::open(dir.path());
    judge(&recording.script, progress, &outcome)
        .map_err(anyhow::Error::msg)
        .context("the store before the damage")?;
    let found = outcome.map_err(anyhow::Error::msg)?;
    ensure!(!classes(&tree).is_empty(), "there is nothing to damage");
    Ok(Base { tree, earlier, progress, found })
}

/// The store with one damaged file, and what was done in words; `None` where it would change nothing.
fn damage(base: &Base, name: &str, kind: Kind, random: &mut Random) -> Option<(Tree, String)> {
    let Node::File(content) = base.tree.get(name)? else { return None };
    let mut damaged = content.to_vec();
    let length = damaged.len();
    let at = random.below(length as u64) as usize;
    let mut tree = base.tree.clone();
    let what = match kind {
        Kind::Flipped => {
            damaged[at] ^= 1 << random.below(8);
            format!("a bit of byte {at} of {length} flipped")
        }
        Kind::Truncated => {
            damaged.truncate(at);
            format!("cut from {length} to {at} bytes")
        }
        Kind::Zeroed => {
            let page = at / PAGE_BYTES * PAGE_BYTES;
            damaged[page..length.min(page + PAGE_BYTES)].fill(0);
            format!("the page at {page} of {length} zeroed")
        }
        Kind::Older => {
            let Some(Node::File(older)) = base.earlier.get(name) else { return None };
            damaged = older.to_vec();
            format!("an older copy of {} bytes for {length}", damaged.len())
        }
        Kind::Gone => {
            tree.remove(name);
            return Some((tree, "removed".into()));
        }
    };
    if damaged == **content {
        return None;
    }
    tree.insert(name.to_owned(), Node::File(Arc::new(damaged)));
    Some((tree, what))
}

/// Whether it was detected; an error where it was neither that nor harmless.
fn verdict(script: &Script, base: &Base, name: &str, outcome: &Outcome) -> Result<bool, String> {
    let found = match outcome {
        Err(refusal) => {
            let top = name.split('/').next().unwrap_or(name);
            // By its path; or in words, where the rest of the store shows that it is gone or went back.
            let words = match top {
                "history" => "the history database",
                "snapshots" => "the newest snapshot",
                _ => "the high-water mark",
            };
            let named = refusal.contains(&format!("/{top}")) || refusal.contains(words);
            return if named { Ok(true) } else { Err(format!("refused without its name: {refusal}")) };
        }
        Ok(found) => found,
    };
    if judge(script, base.progress, outcome).is_ok() {
        return Ok(false);
    }
    only_hints_are_older(script, base, found).map(|()| false)
}

/// The commit index and the purge point may be older: both are found again. Everything else is as it was.
fn only_hints_are_older(script: &Script, base: &Base, found: &Found) -> Result<(), String> {
    judge::mark(found)?;
    let before = &base.found;
    let purged = before.log.purged.map(|at| at.index);
    let behind_purge = |found: &Found| -> Vec<_> {
        found.log.entries.iter().filter(|(at, _)| Some(at.index) > purged).copied().collect()
    };
    if found.log.vote != before.log.vote || behind_purge(found) != behind_purge(before) {
        let told = |found: &Found| {
            format!("vote {:?}, last {:?}, purged {:?}", found.log.vote, found.log.last(), found.log.purged)
        };
        return Err(format!("the log was [{}] and is [{}]", told(before), told(found)));
    }
    let applied = found.snapshot.max(found.log.committed.map(|at| at.index));
    let tally = applied.map_or_else(machine::Tally::default, |at| script.tallies[at as usize]);
    // A snapshot that is gone is no loss where the log still reaches back to its beginning and gives the same state.
    let replayed = found.log.purged.is_none() && found.applied == before.applied;
    if (found.snapshot != before.snapshot && !replayed)
        || found.log.committed > before.log.committed
        || found.tally != tally
    {
        return Err(format!(
            "the state was {:?} and is {:?}",
            (before.snapshot, before.tally),
            (found.snapshot, found.tally)
        ));
    }
    let history = |found: &Found| (found.watermark, found.count, found.rows.clone(), found.newest.clone());
    if history(found) != history(before) {
        let told = |found: &Found| {
            format!("{} rows counted, {} there, watermark {}", found.count, found.rows.len(), found.watermark)
        };
        return Err(format!("the history had {} and has {}", told(before), told(found)));
    }
    Ok(())
}
