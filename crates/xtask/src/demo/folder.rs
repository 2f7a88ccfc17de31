//! The demo's own folder: the cell's, the results', and what was written on the way.
//!
//! Kept after a failure, because the logs are in it. Knows nothing about what is put into it.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail};

/// Everybody may pass and look: tasks run as another user.
const OPEN_MODE: u32 = 0o755;
/// Everybody may write and nobody may touch what another one wrote, as in the system's temporary folder.
const SHARED_MODE: u32 = 0o1777;
/// The bit that lets everybody pass through a folder.
const PASS: u32 = 0o001;
/// Folders of one process differ.
static NEXT: AtomicU32 = AtomicU32::new(1);

/// A folder of this run alone.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Creates it below a temporary folder that a task's user can reach.
    pub fn create() -> Result<Self> {
        let candidates = [std::env::temp_dir(), PathBuf::from("/tmp"), PathBuf::from("/var/tmp")];
        // The roles show resolved paths on their command lines, by which we look for them in the end.
        let mut resolved = candidates.iter().filter_map(|candidate| candidate.canonicalize().ok());
        let is_root = rustix::process::geteuid().is_root();
        let Some(parent) = resolved.find(|parent| !is_root || is_open(parent)) else {
            bail!(
                "no temporary folder that every user can enter; tried {candidates:?}: set TMPDIR to such a folder"
            );
        };
        // ORDERING: Relaxed, only the number counts, nothing is published with it.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("paceline-demo-{}-{number}", std::process::id()));
        make(&path, OPEN_MODE)?;
        Ok(Self { path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A folder in it that everybody can read.
    pub fn open(&self, name: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        make(&path, OPEN_MODE)?;
        Ok(path)
    }

    /// A folder in it that everybody can write to.
    pub fn shared(&self, name: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        make(&path, SHARED_MODE)?;
        Ok(path)
    }

    /// Removes it with everything in it.
    pub fn remove(self) -> Result<()> {
        fs::remove_dir_all(&self.path).with_context(|| format!("could not remove {}", self.path.display()))
    }
}

/// Whether every user can come as far as into this folder.
fn is_open(path: &Path) -> bool {
    let passable =
        |folder: &Path| fs::metadata(folder).is_ok_and(|found| found.permissions().mode() & PASS != 0);
    path.ancestors().all(passable)
}

fn make(path: &Path, mode: u32) -> Result<()> {
    let created = fs::DirBuilder::new().mode(mode).create(path);
    // The mode of a folder that is being made passes through the umask.
    let set = |()| fs::set_permissions(path, fs::Permissions::from_mode(mode));
    created.and_then(set).with_context(|| format!("could not create {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_have_the_modes_that_tasks_need() {
        let folder = Folder::create().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(&folder.shared("results").unwrap()), 0o1777);
        let open = folder.open("documents").unwrap();
        assert_eq!(mode(&open), 0o755);
        make(&open.join("closed"), 0o700).unwrap();
        assert!(!is_open(&open.join("closed")));
        folder.remove().unwrap();
    }
}
