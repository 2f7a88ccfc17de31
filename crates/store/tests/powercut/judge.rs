//! Holds what was found after a cut against what had been acknowledged before it.

use crate::machine;
use crate::reopen::{Found, Outcome};
use crate::script::{LogState, Script, SideState};
use crate::trace::Progress;

/// What is wrong, in words.
pub fn judge(script: &Script, progress: Progress, outcome: &Outcome) -> Result<(), String> {
    let found = outcome.as_ref().map_err(|refusal| format!("it refuses to open: {refusal}"))?;
    log(script, progress, found)?;
    side(script, progress, found)?;
    mark_left(script, progress, found)?;
    mark(found)
}

/// The mark that the cut left promises at least the acknowledged vote and what it was said to promise, and nothing that
/// the log does not have.
fn mark_left(script: &Script, progress: Progress, found: &Found) -> Result<(), String> {
    let (vote, last) = found.mark_left.unwrap_or_default();
    let possible = &script.logs[progress.durable..=progress.begun];
    if !possible.iter().any(|log| log.vote == vote) {
        let acknowledged = possible[0].vote;
        return Err(format!(
            "the mark on the disk promises vote {vote:?}; acknowledged was {acknowledged:?}"
        ));
    }
    // It may have been lowered since, as far as the log was truncated.
    let least = script.logs[progress.marked..=progress.begun].iter().map(LogState::last).min();
    if last < least.flatten() {
        return Err(format!("the mark on the disk promises {last:?}; it was said to promise {least:?}"));
    }
    if last > found.log.last() {
        let has = found.log.last();
        return Err(format!("the mark on the disk promises {last:?}; the log ends at {has:?}"));
    }
    Ok(())
}

/// The log is as it was after some step: at least the last durable one, at most the last that had begun. The commit is a
/// hint that travels with what is written behind it, so it is at least what was told before the last durable step.
fn log(script: &Script, progress: Progress, found: &Found) -> Result<(), String> {
    let possible = &script.logs[progress.durable..=progress.begun];
    let without_hint = |log: &LogState| LogState { committed: None, ..log.clone() };
    let hint = |log: &LogState| log.committed.min(found.log.last());
    let is_there = possible.iter().any(|log| without_hint(log) == without_hint(&found.log));
    if is_there && possible.iter().any(|log| hint(log) == found.log.committed) {
        return Ok(());
    }
    let acknowledged = &possible[0];
    let missing = acknowledged.entries.iter().find(|entry| !found.log.entries.contains(entry));
    let told = |log: &LogState| {
        let (first, last) = (log.entries.first().map(|(at, _)| *at), log.last());
        format!(
            "first {first:?}, last {last:?}, purged {:?}, vote {:?}, commit {:?}",
            log.purged, log.vote, log.committed
        )
    };
    Err(format!(
        "the log is as after no step from {} to {}\n  found        {}\n  acknowledged {}\n  begun        {}\n  missing: {missing:?}",
        progress.durable,
        progress.begun,
        told(&found.log),
        told(acknowledged),
        told(&possible[possible.len() - 1]),
    ))
}

/// Once a store was open, what it holds may have been told to others: the next opening finds the same.
pub fn same_again(first: &Found, again: &Outcome) -> Result<(), String> {
    let again = again.as_ref().map_err(|refusal| format!("it refuses to open again: {refusal}"))?;
    let what_is_held = |found: &Found| Found { mark_left: None, ..found.clone() };
    if what_is_held(first) != what_is_held(again) {
        let told = |found: &Found| {
            let (log, tally) = (&found.log, (found.snapshot, found.watermark, found.tally));
            format!("last {:?}, purged {:?}, vote {:?}, {tally:?}", log.last(), log.purged, log.vote)
        };
        return Err(format!("it was opened with [{}] and then with [{}]", told(first), told(again)));
    }
    Ok(())
}

fn side(script: &Script, progress: Progress, found: &Found) -> Result<(), String> {
    let possible = &script.sides[progress.settled.min(progress.begun)..=progress.begun];
    if !possible.iter().any(|side| side.snapshot == found.snapshot) {
        let snapshots: Vec<_> = possible.iter().map(|side| side.snapshot).collect();
        return Err(format!("the snapshot ends at {:?}, it should be one of {snapshots:?}", found.snapshot));
    }
    let applied = found.snapshot.max(found.log.committed.map(|at| at.index));
    let tally = applied.map_or_else(machine::Tally::default, |at| script.tallies[at as usize]);
    if (found.applied, found.tally) != (applied, tally) {
        let found = (found.applied, found.tally);
        return Err(format!("the state is {found:?}, it should be {:?}", (applied, tally)));
    }
    history(possible, applied, found)
}

fn history(possible: &[SideState], applied: Option<u64>, found: &Found) -> Result<(), String> {
    let replayed = applied.map_or(0, machine::watermark_of_rows);
    let least = possible[0].watermark.max(replayed);
    let most = possible[possible.len() - 1].watermark;
    if !(least..=most).contains(&found.watermark) {
        return Err(format!("the history reaches to {}, it should be {least} to {most}", found.watermark));
    }
    let rows = machine::rows_at(found.watermark);
    let newest = |name: u64| {
        let name = format!("job-{name}");
        rows.iter().filter(|row| row.name == name).map(|row| row.revision).max()
    };
    if found.rows != rows
        || found.count != rows.len() as u64
        || found.newest != (0..5).map(newest).collect::<Vec<_>>()
    {
        let (found, expected): (Vec<_>, Vec<_>) = (
            found.rows.iter().map(|row| row.revision).collect(),
            rows.iter().map(|row| row.revision).collect(),
        );
        return Err(format!("the history holds {found:?}, it should hold {expected:?}"));
    }
    Ok(())
}

/// Production refuses a log that is behind the mark. Once it is open, the mark promises all that the log has.
pub fn mark(found: &Found) -> Result<(), String> {
    if (found.marked_vote, found.marked_last) != (found.log.vote, found.log.last()) {
        return Err(format!(
            "the mark promises other than what the log has: {:?}",
            (found.marked_vote, found.marked_last)
        ));
    }
    Ok(())
}
