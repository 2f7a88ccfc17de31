//! Removes the folders of forgotten attempts, however large, where nobody waits for it.
//!
//! Whatever lies in the trash folder goes, so nothing is queued and a kill in between loses nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use crate::errors::OpenError;

/// One wake-up waits at most: more of them mean the same.
const WAKES: usize = 1;

/// The thread that does it.
pub struct Janitor {
    wake: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Janitor {
    /// Starts with what an earlier agent left.
    pub fn start(trash: PathBuf) -> Result<Self, OpenError> {
        let (wake, wakes) = sync_channel(WAKES);
        let thread =
            thread::Builder::new().name("runtime-janitor".into()).spawn(move || work(&trash, &wakes));
        let janitor = Self { wake: Some(wake), thread: Some(thread.map_err(OpenError::Thread)?) };
        janitor.wake();
        Ok(janitor)
    }

    /// There is something in the trash.
    pub fn wake(&self) {
        if let Some(wake) = &self.wake {
            _ = wake.try_send(());
        }
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            _ = thread.join();
        }
    }
}

/// Until the sender is dropped.
fn work(trash: &Path, wakes: &Receiver<()>) {
    while wakes.recv().is_ok() {
        let Ok(entries) = fs::read_dir(trash) else { continue };
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            if let Err(error) = fs::remove_dir_all(&path) {
                tracing::warn!(path = %path.display(), %error, "a forgotten attempt cannot be removed");
            }
        }
    }
}
