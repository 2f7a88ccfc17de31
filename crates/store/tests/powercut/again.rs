//! The recovery from a power cut, cut itself: what a cut left is opened under the shim, and the power goes again at each
//! boundary of that opening.
//!
//! What is acknowledged stays what it was before the first cut. Once the opening has come so far that the store could
//! answer others, whatever it found counts as told: the next opening finds the same.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;

use crate::cuts::{Cut, survivals};
use crate::recording::{record_opening, shim};
use crate::reopen;
use crate::trace::{Progress, Replay};
use crate::volume::Tree;

/// Records the opening of a tree and cuts it. A tree that does not open is left to the judge of the first cut.
pub fn produce(
    tree: &Tree,
    progress: Progress,
    told: &str,
    scratch: &Path,
    send: &mut dyn FnMut(Cut) -> bool,
) -> Result<()> {
    let looked = tempfile::tempdir_in(scratch)?;
    reopen::write_tree(tree, looked.path())?;
    let Ok(first) = reopen::open(looked.path()) else { return Ok(()) };
    let first = Arc::new(first);
    let dir = tempfile::tempdir_in(scratch)?;
    let store = dir.path().join("store");
    reopen::write_tree(tree, &store)?;
    let calls = record_opening(&shim()?, &store, dir.path())?;
    let mut replay = Replay::after(tree, progress);
    for (nth, call) in calls.iter().enumerate() {
        if !replay.take(call)? {
            continue;
        }
        for survival in survivals(&replay.volume, nth as u64, false) {
            let cut = Cut {
                told: format!(
                    "{told}, and again after call {nth} ({:?}) of the opening, {survival:?}",
                    call.kind
                ),
                progress: replay.progress,
                tree: replay.volume.after_cut(survival),
                first: replay.progress.opened.then(|| first.clone()),
            };
            if !send(cut) {
                return Ok(());
            }
        }
    }
    Ok(())
}
