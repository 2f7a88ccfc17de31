//! What came of a damage. Whatever opened without a word must fall under a rule, and the rule is checked, not assumed.

use super::{Base, Kind};
use crate::judge::{self, judge};
use crate::machine;
use crate::reopen::{Found, Outcome};
use crate::script::Script;
use crate::volume::Node;

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Refused, and the file, its database or the snapshot named.
    Refused,
    /// Opened with everything, after a warning that names the file.
    Mended,
    /// Opened with everything. Rule: the recorded opening of the undamaged store never opened this file.
    NotRead,
    /// Opened with everything. Rule: the file lost whole records at its end, or all of them, and what they held was found
    /// elsewhere: the rows of a history by replaying the log. Or a snapshot is gone, and the log, of which nothing was
    /// purged, gives the same state. Or CURRENT names the manifest before, which is still there, as a power cut leaves it.
    MadeUpFor,
    /// Opened with everything. Rule: the file is an older, sound mark, and it promises no more than what is there.
    PromisesLess,
    /// Anything else.
    Undetected,
}

impl Verdict {
    /// In words, for the table.
    pub fn words(self) -> &'static str {
        match self {
            Self::Refused => "refused by name",
            Self::Mended => "mended and named",
            Self::NotRead => "of no consequence: never read",
            Self::MadeUpFor => "of no consequence: made up for",
            Self::PromisesLess => "of no consequence: older mark",
            Self::Undetected => "UNDETECTED",
        }
    }

    /// Whether the store itself noticed.
    pub fn is_detected(self) -> bool {
        matches!(self, Self::Refused | Self::Mended)
    }
}

/// The file that was damaged.
pub struct Damaged<'a> {
    pub name: &'a str,
    pub kind: Kind,
    /// What is there now; `None` where it is gone.
    pub content: Option<&'a Node>,
}

/// The verdict; an error where nothing but [`Verdict::Undetected`] is left.
pub fn of(
    script: &Script,
    base: &Base,
    damaged: &Damaged<'_>,
    outcome: &Outcome,
    said: &str,
) -> Result<Verdict, String> {
    let found = match outcome {
        Err(refusal) => return refused(damaged.name, refusal),
        Ok(found) => found,
    };
    if judge(script, base.progress, outcome).is_err() {
        only_hints_are_older(script, base, found)?;
    }
    if names(said, damaged.name) {
        return Ok(Verdict::Mended);
    }
    let same = |marks: bool| {
        let compared =
            |found: &Found| Found { mark_left: found.mark_left.filter(|_| marks), ..found.clone() };
        compared(found) == compared(&base.found)
    };
    if !base.opened.contains(damaged.name) && same(true) {
        return Ok(Verdict::NotRead);
    }
    if is_record_file(damaged.name) && is_shorter(base, damaged) && same(true) {
        return Ok(Verdict::MadeUpFor);
    }
    if damaged.name.ends_with("/CURRENT") && names_a_manifest(base, damaged) && same(true) {
        return Ok(Verdict::MadeUpFor);
    }
    let gone = damaged.kind == Kind::Gone && found.snapshot.is_none() && found.log.purged.is_none();
    if damaged.name.starts_with("snapshots/")
        && gone
        && base.found == (Found { snapshot: base.found.snapshot, ..found.clone() })
    {
        return Ok(Verdict::MadeUpFor);
    }
    if damaged.name == "high-water-mark" && damaged.kind == Kind::Older && same(false) {
        let left = found.mark_left.ok_or("there was no mark")?;
        let promised = (found.log.vote, found.log.last());
        return match left <= promised {
            true => Ok(Verdict::PromisesLess),
            false => Err(format!("an older mark promises {left:?}, there is {promised:?}")),
        };
    }
    Err(format!("it opened without a word; equal: {}, said: {said:?}", same(true)))
}

fn refused(name: &str, refusal: &str) -> Result<Verdict, String> {
    let top = name.split('/').next().unwrap_or(name);
    // By its path; or in words, where the rest of the store shows that it is gone or went back.
    let words = match top {
        "history" => "the history database",
        "snapshots" => "the newest snapshot",
        _ => "the high-water mark",
    };
    let named = refusal.contains(&format!("/{top}")) || refusal.contains(words);
    if named { Ok(Verdict::Refused) } else { Err(format!("refused without its name: {refusal}")) }
}

/// Whether a warning names the folder and the file.
fn names(said: &str, name: &str) -> bool {
    let (folder, file) = name.rsplit_once('/').map_or(("", name), |(folder, file)| (folder, file));
    said.lines().any(|line| line.contains(file) && line.contains(&format!("/{folder}")))
}

fn is_record_file(name: &str) -> bool {
    name.ends_with(".log") || name.contains("/MANIFEST-")
}

/// Whether what is there now is the beginning of what was there, or nothing.
fn is_shorter(base: &Base, damaged: &Damaged<'_>) -> bool {
    match (base.tree.get(damaged.name), damaged.content) {
        (Some(Node::File(before)), Some(Node::File(now))) => {
            before.starts_with(now) && now.len() < before.len()
        }
        _ => damaged.kind == Kind::Gone,
    }
}

/// Whether an older CURRENT names a manifest that is there.
fn names_a_manifest(base: &Base, damaged: &Damaged<'_>) -> bool {
    let Some(Node::File(named)) = damaged.content.filter(|_| damaged.kind == Kind::Older) else {
        return false;
    };
    let folder = damaged.name.trim_end_matches("CURRENT");
    let manifest = format!("{folder}{}", String::from_utf8_lossy(named).trim_end());
    manifest.contains("/MANIFEST-") && base.tree.contains_key(&manifest)
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
