//! Which documents of this machine the batch reads: the ones that its job file takes, found here a second time by
//! other means than the job's.
//!
//! ```text
//! /usr/share/doc ── enough files? ── else /usr/include (wherever C compiles) ── else a copy of this tree's sources
//! ```

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::folder::Folder;
use crate::tidy::read_tree;

/// Where documents are on Debian and Ubuntu, in the order in which they are tried.
const PLACES: [&str; 2] = ["/usr/share/doc", "/usr/include"];
/// The rules of the job file: how deep, how large, what everybody can read, what is packed.
const DEPTH: u32 = 2;
const BYTES_BELOW: u64 = 65_536;
const READABLE: u32 = 0o004;
const LISTABLE: u32 = 0o005;
const PACKED: &str = "gz";
/// Every task lists the folder: more files than this would make the batch about listing.
const FILES_MAX: usize = 20_000;

/// A folder, and what the batch takes of it.
#[derive(Debug)]
pub struct Documents {
    /// The folder, as the job file gets it.
    pub folder: PathBuf,
    /// The documents, sorted by the bytes of their paths.
    pub files: Vec<PathBuf>,
}

impl Documents {
    /// Chooses a folder with at least one document for each of `tasks`.
    pub fn choose(tasks: usize, own: &Folder, tree: &Path) -> Result<Self> {
        let fits = |found: &Self| (tasks..=FILES_MAX).contains(&found.files.len());
        for place in PLACES {
            // A folder that cannot be used is passed over, whatever the reason: the last one always works.
            if let Some(found) = Self::find(Path::new(place)).ok().filter(fits) {
                return Ok(found);
            }
        }
        let folder = own.open("documents")?;
        for file in read_tree(tree)? {
            let path = folder.join(file.path.replace('/', "-"));
            fs::write(&path, file.text).with_context(|| format!("could not write {}", path.display()))?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
        }
        let found = Self::find(&folder)?;
        if !fits(&found) {
            bail!(
                "a batch of {tasks} tasks needs as many documents; {PLACES:?} and this tree have too few or too many"
            );
        }
        Ok(found)
    }

    fn find(folder: &Path) -> Result<Self> {
        let mut files = Vec::new();
        collect(folder, DEPTH, &mut files)?;
        files.sort_by(|left, right| left.as_os_str().as_bytes().cmp(right.as_os_str().as_bytes()));
        Ok(Self { folder: folder.to_owned(), files })
    }

    /// What task `index` of `count` reads: every `count`-th document, counted from 1.
    pub fn of_task(&self, index: usize, count: usize) -> impl Iterator<Item = &Path> {
        (1..).zip(&self.files).filter(move |(line, _)| line % count == index).map(|(_, file)| file.as_path())
    }
}

/// A folder that a task's user cannot list, or a name with a line break, makes the whole place unusable.
fn collect(folder: &Path, depth: u32, files: &mut Vec<PathBuf>) -> Result<()> {
    if fs::metadata(folder)?.permissions().mode() & LISTABLE != LISTABLE {
        bail!("{} cannot be listed by everybody", folder.display());
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.as_os_str().as_bytes().contains(&b'\n') {
            bail!("{} has a line break in its name", path.display());
        }
        let found = fs::symlink_metadata(&path)?;
        let packed = path.as_os_str().as_bytes().ends_with(format!(".{PACKED}").as_bytes());
        if found.is_dir() && depth > 1 {
            collect(&path, depth - 1, files)?;
        } else if found.is_file() && !packed && found.mode() & READABLE != 0 && found.size() < BYTES_BELOW {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_of_the_job_file_hold() {
        let root = std::env::temp_dir().join(format!("xtask-documents-{}", std::process::id()));
        let put = |name: &str, bytes: usize| {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, vec![b'x'; bytes]).unwrap();
            path
        };
        let (first, second) = (put("a-b", 65_535), put("a/b", 1));
        put("a/large", 65_536);
        put("a/b.gz", 1);
        put("a/c/too-deep", 1);
        fs::set_permissions(put("a/private", 1), fs::Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::symlink(&first, root.join("link")).unwrap();
        let found = Documents::find(&root).unwrap();
        assert_eq!(found.files, [first.clone(), second.clone()], "`-` sorts before `/`");
        assert_eq!(found.of_task(0, 2).collect::<Vec<_>>(), [second]);
        assert_eq!(found.of_task(1, 2).collect::<Vec<_>>(), [first]);
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn this_tree_alone_has_enough_documents_for_a_batch() {
        let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        assert!(read_tree(&tree).unwrap().len() > crate::demo::TASKS);
    }
}
