//! The names in the data folder, and the lock on it.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use paceline_supervisor::NUDGE_SOCKET;
use paceline_types::AttemptId;

use crate::errors::OpenError;

/// Tasks' users pass through to their own folder and list nothing on the way.
const PASS_THROUGH_MODE: u32 = 0o711;

/// For nobody but the agent.
const PRIVATE_MODE: u32 = 0o700;

/// An agent that is killed while it starts a supervisor leaves its lock to that process for a moment, until
/// it executes.
const LOCK_ATTEMPTS: u32 = 200;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

const ATTEMPTS: &str = "attempts";
const LOGS: &str = "logs";
const TRASH: &str = "trash";
const SPARES: &str = "spare";
const LOCK: &str = "runtime.lock";

/// The data folder.
pub struct Layout {
    root: PathBuf,
    boot: String,
    discarded: AtomicU64,
    /// Held as long as we live.
    _lock: File,
}

impl Layout {
    /// Makes what is missing and takes the lock.
    pub fn open(data_dir: &Path, boot: &str) -> Result<Self, OpenError> {
        make(data_dir, PASS_THROUGH_MODE)?;
        let root = data_dir.canonicalize().map_err(|source| folder(data_dir, source))?;
        if root.to_str().is_none() {
            return Err(OpenError::PathNotUtf8 { path: root });
        }
        let discarded = AtomicU64::new(0);
        let layout = Self { _lock: lock(&root)?, boot: boot.to_owned(), discarded, root };
        make(&layout.root.join(ATTEMPTS), PASS_THROUGH_MODE)?;
        make(&layout.boot_folder(boot), PASS_THROUGH_MODE)?;
        make(&layout.logs(), PRIVATE_MODE)?;
        make(&layout.trash(), PRIVATE_MODE)?;
        make(&layout.spares(), PRIVATE_MODE)?;
        for (number, spare) in list(&layout.spares())?.into_iter().enumerate() {
            let trash = layout.trash().join(format!("{SPARES}.{}.{number}", std::process::id()));
            fs::rename(&spare, trash).map_err(|source| folder(&spare, source))?;
        }
        Ok(layout)
    }

    /// Where an attempt of this boot lives.
    pub fn attempt(&self, attempt: &AttemptId) -> PathBuf {
        self.boot_folder(&self.boot).join(attempt.to_string())
    }

    /// Every attempt on disk, with its folder and whether it belongs to this boot.
    pub fn attempts_on_disk(&self) -> Result<Vec<(AttemptId, PathBuf, bool)>, OpenError> {
        let mut found = Vec::new();
        for boot in list(&self.root.join(ATTEMPTS))? {
            let current = boot.file_name().is_some_and(|name| name == self.boot.as_str());
            for path in list(&boot)? {
                let name = path.file_name().and_then(|name| name.to_str());
                let attempt = name.and_then(|name| name.parse().ok());
                found.extend(attempt.map(|attempt| (attempt, path, current)));
            }
        }
        Ok(found)
    }

    /// Removes folders of earlier boots that are empty.
    pub fn drop_empty_boots(&self) {
        for boot in list(&self.root.join(ATTEMPTS)).unwrap_or_default() {
            if boot != self.boot_folder(&self.boot) {
                _ = fs::remove_dir(boot);
            }
        }
    }

    /// Output of forgotten attempts.
    pub fn logs(&self) -> PathBuf {
        self.root.join(LOGS)
    }

    /// Folders on their way out.
    pub fn trash(&self) -> PathBuf {
        self.root.join(TRASH)
    }

    /// Folders of forgotten attempts for the next ones; those of an earlier agent go to the trash.
    pub fn spares(&self) -> PathBuf {
        self.root.join(SPARES)
    }

    /// A name in the trash that nothing has: an attempt can be launched and forgotten again before the first
    /// folder is gone.
    pub fn new_trash(&self, attempt: &AttemptId) -> PathBuf {
        // ORDERING: only the number counts, nothing is published with it.
        let number = self.discarded.fetch_add(1, Ordering::Relaxed);
        self.trash().join(format!("{attempt}.{}.{number}", std::process::id()))
    }

    /// The socket that supervisors nudge.
    pub fn nudge_socket(&self) -> PathBuf {
        self.root.join(NUDGE_SOCKET)
    }

    /// The data folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A name for the data folder that no other one on this machine has at the same time: two cells may
    /// have the same names and number their attempts alike.
    pub fn tag(&self) -> io::Result<String> {
        let metadata = fs::metadata(&self.root)?;
        Ok(format!("{:x}-{:x}", metadata.dev(), metadata.ino()))
    }

    fn boot_folder(&self, boot: &str) -> PathBuf {
        self.root.join(ATTEMPTS).join(boot)
    }
}

/// Paths in a folder.
pub fn list(path: &Path) -> Result<Vec<PathBuf>, OpenError> {
    let entries = fs::read_dir(path).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    entries.map_err(|source| folder(path, source))
}

/// The first folder above `path` that its users cannot pass through unless they own it.
pub fn closed_ancestor(path: &Path) -> Option<PathBuf> {
    let closed = |p: &&Path| fs::metadata(p).is_ok_and(|metadata| metadata.permissions().mode() & 0o001 == 0);
    path.ancestors().skip(1).find(closed).map(Path::to_owned)
}

fn make(path: &Path, mode: u32) -> Result<(), OpenError> {
    let made = DirBuilder::new().recursive(true).mode(mode).create(path);
    // The mode of a folder that is being made passes through the umask.
    let set = || fs::set_permissions(path, fs::Permissions::from_mode(mode));
    made.and_then(|()| set()).map_err(|source| folder(path, source))
}

fn lock(root: &Path) -> Result<File, OpenError> {
    let path = root.join(LOCK);
    let file = File::create(&path).map_err(|source| folder(&path, source))?;
    let mut tries = 1;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if tries < LOCK_ATTEMPTS => {
                tries += 1;
                thread::sleep(LOCK_PAUSE);
            }
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse { path: root.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(folder(&path, source)),
        }
    }
}

fn folder(path: &Path, source: io::Error) -> OpenError {
    OpenError::Folder { path: path.to_owned(), source }
}
