//! Removes the folders of forgotten attempts, however large and however deep, where nobody waits for it.
//!
//! Whatever lies in the trash folder goes, so nothing is queued and a kill in between loses nothing. Tasks
//! filled these folders, so nothing in them is trusted: a folder within a folder is moved up beside it before
//! it is looked into. That takes one open folder and no recursion whatever was nested, and because nobody else
//! can reach into the trash, no name is followed that could be a link by now.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use crate::errors::OpenError;

/// One wake-up waits at most: more of them mean the same.
const WAKES: usize = 1;

/// Of a folder that its owner closed against himself.
const OPEN_MODE: u32 = 0o700;

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
    let mut moved = 0;
    while wakes.recv().is_ok() {
        let mut before = None;
        // Again as long as something was moved up.
        while before.replace(moved) != Some(moved) {
            let Ok(entries) = fs::read_dir(trash) else { break };
            for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
                if let Err(error) = discard(trash, &path, &mut moved) {
                    tracing::warn!(path = %path.display(), %error, "a forgotten attempt cannot be removed");
                }
            }
        }
    }
}

/// Removes what lies in the trash, except that folders in it come to lie beside it.
fn discard(trash: &Path, path: &Path, moved: &mut u64) -> io::Result<()> {
    if !fs::symlink_metadata(path)?.is_dir() {
        return fs::remove_file(path);
    }
    for entry in opened(path, || fs::read_dir(path))? {
        let (entry, inner) = entry.map(|entry| (entry.file_type(), entry.path()))?;
        if entry?.is_dir() {
            *moved += 1;
            // The old name in front: a person can still see whose it was.
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let attempt = name.split(".in.").next().unwrap_or_default();
            let beside = trash.join(format!("{attempt}.in.{}.{moved}", std::process::id()));
            opened(&inner, || fs::rename(&inner, &beside))?;
        } else {
            opened(path, || fs::remove_file(&inner))?;
        }
    }
    fs::remove_dir(path)
}

/// Where the agent is not root a task may have taken the rights from its own folders: they are given back.
fn opened<T>(folder: &Path, call: impl Fn() -> io::Result<T>) -> io::Result<T> {
    match call() {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            fs::set_permissions(folder, Permissions::from_mode(OPEN_MODE))?;
            call()
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    const DEEP: u32 = 40;

    /// A folder in a folder in a folder, with a link out of it in the innermost.
    fn nest(trash: &Path, outside: &Path) -> PathBuf {
        let (inner, outer) = (trash.join("a.1"), trash.join("outer"));
        fs::create_dir(&inner).unwrap();
        symlink(outside, inner.join("link")).unwrap();
        for _ in 0..DEEP {
            fs::create_dir(&outer).unwrap();
            fs::rename(&inner, outer.join("d")).unwrap();
            fs::rename(&outer, &inner).unwrap();
        }
        inner
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_nest_goes_one_folder_at_a_time_and_nothing_outside_is_touched() {
        let root = std::env::temp_dir().join(format!("paceline-janitor-{}", std::process::id()));
        let (trash, outside) = (root.join("trash"), root.join("outside"));
        fs::create_dir_all(&trash).unwrap();
        fs::create_dir_all(&outside).unwrap();
        fs::write(outside.join("kept"), "x").unwrap();
        let (top, mut moved) = (nest(&trash, &outside), 0);
        discard(&trash, &top, &mut moved).unwrap();
        assert_eq!((names(&trash).len(), moved), (1, 1), "however deep it is, one folder is open");
        assert!(names(&trash)[0].starts_with("a.1.in."));
        drop(Janitor::start(trash.clone()).unwrap());
        assert_eq!(names(&trash), Vec::<String>::new());
        assert!(outside.join("kept").exists());
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn a_folder_that_its_owner_closed_goes_too() {
        let trash = std::env::temp_dir().join(format!("paceline-janitor-closed-{}", std::process::id()));
        let closed = trash.join("a.1/closed");
        fs::create_dir_all(&closed).unwrap();
        fs::write(closed.join("file"), "x").unwrap();
        fs::set_permissions(&closed, Permissions::from_mode(0o000)).unwrap();
        drop(Janitor::start(trash.clone()).unwrap());
        assert_eq!(fs::read_dir(&trash).unwrap().count(), 0);
        fs::remove_dir(&trash).unwrap();
    }
}
