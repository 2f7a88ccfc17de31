//! Damages one file of a store at a time, and holds what the store then says and serves against what it held before.

mod verdict;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};

use crate::judge::judge;
use crate::random::Random;
use crate::record::Kind as CallKind;
use crate::recording::{self, Recording};
use crate::reopen::{self, Found};
use crate::trace::{Progress, Replay};
use crate::volume::{Node, Survival, Tree};

pub use verdict::Verdict;

/// The moments of the trace whose stores are damaged, in parts of it.
const MOMENTS: [(usize, usize); 4] = [(1, 4), (1, 2), (4, 5), (99, 100)];
/// A store to take older copies from lies about so many calls earlier.
const EARLIER_CALLS: usize = 400;
/// One is kept for every so many.
const EARLIER_STEP: usize = 100;
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

/// What came of the damages of one class of file, as a count for each verdict.
pub type Counts = BTreeMap<(&'static str, Verdict), usize>;

/// A store at some moment, and what its opening looks at.
struct Base {
    tree: Tree,
    earlier: Tree,
    progress: Progress,
    found: Found,
    /// Files that are opened when the store is opened and read, by their names.
    opened: BTreeSet<String>,
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
                let (outcome, said) = reopen::open_and_listen(dir.path());
                let damaged = verdict::Damaged { name, kind, content: tree.get(name) };
                let verdict = match verdict::of(&recording.script, base, &damaged, &outcome, &said) {
                    Ok(verdict) => verdict,
                    Err(problem) => {
                        told += 1;
                        if told <= TOLD {
                            eprintln!("{name}, {what}: {problem}");
                        }
                        Verdict::Undetected
                    }
                };
                *counts.entry((class, verdict)).or_default() += 1;
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

/// The first moment from `calls` on at which the mark promises all that was acknowledged, with nothing but what was
/// synced: any damage is the only fault then.
fn base(recording: &Recording, calls: usize, scratch: &Path) -> Result<Base> {
    let mut replay = Replay::default();
    let mut trees = VecDeque::new();
    for (at, call) in recording.calls.iter().enumerate() {
        let marked = replay.progress.marked;
        replay.take(call)?;
        if at % EARLIER_STEP == 0 {
            trees.push_back(replay.volume.after_cut(Survival::Nothing));
            if trees.len() > EARLIER_CALLS / EARLIER_STEP {
                trees.pop_front();
            }
        }
        if at >= calls && replay.progress.marked > marked {
            break;
        }
    }
    let (tree, progress) = (replay.volume.after_cut(Survival::Nothing), replay.progress);
    let earlier = trees.pop_front().context("a trace is longer than one call")?;
    let dir = tempfile::tempdir_in(scratch)?;
    let store = dir.path().join("store");
    reopen::write_tree(&tree, &store)?;
    let recorded = recording::record_opening(&recording::shim()?, &store, dir.path())?;
    let opened = recorded.iter().filter(|call| call.kind == CallKind::Open);
    let opened = opened.map(|call| call.path.clone()).collect();
    let dir = tempfile::tempdir_in(scratch)?;
    reopen::write_tree(&tree, dir.path())?;
    let outcome = reopen::open(dir.path());
    judge(&recording.script, progress, &outcome)
        .map_err(anyhow::Error::msg)
        .context("the store before the damage")?;
    let found = outcome.map_err(anyhow::Error::msg)?;
    ensure!(!classes(&tree).is_empty(), "there is nothing to damage");
    Ok(Base { tree, earlier, progress, found, opened })
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
