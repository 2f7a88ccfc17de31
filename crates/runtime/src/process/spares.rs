//! Folders of forgotten attempts that wait for the next ones, because to make and remove folders is most of what a
//! short task costs a file system.
//!
//! A task's user owned what it ran in, so a folder is kept only when it is as a new one would be: empty, with the
//! mode, the flags and the attributes of a new one, and only for an attempt of the same user. Whatever is not is
//! thrown away as before. Nothing here outlives the agent: the next one throws all of it away.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use paceline_supervisor::{Ended, Record, UserIds, WORK_FOLDER};
use rustix::fs::{IFlags, Mode, OFlags, ioctl_getflags, listxattr_query, open};

/// Folders that wait, of all users together: more than attempts are started and forgotten at the same time. At the
/// bound a forgotten attempt's folder is thrown away.
const SPARES_MAX: usize = 128;

/// What the supervisor gives to the folder that a task runs in.
const WORK_MODE: u32 = 0o700;

/// A folder that held many files stays large on some file systems, and slow.
const WORK_BYTES_MAX: u64 = 4096;

#[derive(Debug, Default)]
struct Shelf {
    /// By the owner of the folder that the task runs in.
    folders: BTreeMap<(u32, u32), Vec<PathBuf>>,
    count: usize,
    /// Names are used once.
    number: u64,
}

/// The folders.
#[derive(Debug)]
pub struct Spares {
    folder: PathBuf,
    own: (u32, u32),
    shelf: Mutex<Shelf>,
}

impl Spares {
    /// None yet, to be kept in `folder`, which is empty.
    pub fn new(folder: PathBuf) -> Self {
        let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        Self { folder, own, shelf: Mutex::default() }
    }

    /// Puts one where an attempt of this user wants its own. False: there is none, or it cannot be used.
    pub fn take(&self, user: Option<UserIds>, folder: &Path) -> bool {
        let owner = user.map_or(self.own, |user| (user.uid, user.gid));
        let spare = {
            let mut shelf = self.shelf();
            let spare = shelf.folders.get_mut(&owner).and_then(Vec::pop);
            shelf.count -= usize::from(spare.is_some());
            spare
        };
        spare.is_some_and(|spare| fs::rename(spare, folder).is_ok())
    }

    /// Takes the folder of an attempt that nobody needs any more, or puts it in the trash.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn put(&self, folder: &Path, trash: &Path) -> io::Result<()> {
        let Some(spare) = self.name() else { return fs::rename(folder, trash) };
        // One rename takes it from the attempts; whatever comes next may fail or be cut short. Only then is it looked
        // at: nobody who has yet to write a stop for the attempt finds it any more.
        let moved = fs::rename(folder, &spare);
        let owner = if moved.is_ok() { cleared(&spare) } else { None };
        let mut shelf = self.shelf();
        if let Some(owner) = owner {
            shelf.folders.entry(owner).or_default().push(spare);
            return Ok(());
        }
        shelf.count -= 1;
        drop(shelf);
        moved.and_then(|()| fs::rename(spare, trash))
    }

    /// A name for one more, which is counted.
    fn name(&self) -> Option<PathBuf> {
        let mut shelf = self.shelf();
        if shelf.count >= SPARES_MAX {
            return None;
        }
        (shelf.count, shelf.number) = (shelf.count + 1, shelf.number + 1);
        Some(self.folder.join(shelf.number.to_string()))
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        // A panic between two fields leaves a wrong count at worst.
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Empties one that is as new otherwise, and says whose it is.
fn cleared(spare: &Path) -> Option<(u32, u32)> {
    let owner = owner_if_as_new(spare).ok().flatten()?;
    fs::remove_file(spare.join(Ended::NAME)).ok().map(|()| owner)
}

/// The owner of the inner folder, when nothing tells the two from new ones but the record of the end.
fn owner_if_as_new(folder: &Path) -> io::Result<Option<(u32, u32)>> {
    let work = folder.join(WORK_FOLDER);
    let metadata = fs::symlink_metadata(&work)?;
    let is_as_new = metadata.is_dir()
        && metadata.permissions().mode() & 0o7777 == WORK_MODE
        && metadata.len() <= WORK_BYTES_MAX
        && names(folder)? == [Ended::NAME, WORK_FOLDER]
        && names(&work)?.is_empty()
        && !has_attributes(&work)
        && flags(&work) == flags(folder);
    Ok(is_as_new.then(|| (metadata.uid(), metadata.gid())))
}

/// Sorted. A name that is not text is no name of ours.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = fs::read_dir(folder)?;
    let mut names: Vec<String> = entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<_>>()?;
    names.sort();
    Ok(names)
}

/// Access lists and whatever else a user may attach. A file system without them says so by an error.
fn has_attributes(folder: &Path) -> bool {
    listxattr_query(folder).is_ok_and(|bytes| bytes > 0)
}

/// What `chattr` sets. A file system without them says so by an error.
fn flags(folder: &Path) -> Option<IFlags> {
    let folder = open(folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    ioctl_getflags(folder).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bench {
        root: tempfile::TempDir,
        spares: Spares,
    }

    impl Bench {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            fs::create_dir(root.path().join("spare")).unwrap();
            fs::create_dir(root.path().join("trash")).unwrap();
            let spares = Spares::new(root.path().join("spare"));
            Self { root, spares }
        }

        /// As a supervisor leaves it.
        fn attempt(&self, name: &str) -> PathBuf {
            let folder = self.root.path().join(name);
            fs::create_dir_all(folder.join("work")).unwrap();
            fs::set_permissions(folder.join("work"), fs::Permissions::from_mode(WORK_MODE)).unwrap();
            fs::write(folder.join("exit"), "the end").unwrap();
            folder
        }

        /// Whether it was kept.
        fn put(&self, folder: &Path) -> bool {
            let trash = self.root.path().join("trash").join(folder.file_name().unwrap());
            self.spares.put(folder, &trash).unwrap();
            assert!(!folder.exists(), "it is no attempt any more");
            !trash.exists()
        }

        fn waiting(&self) -> usize {
            fs::read_dir(self.root.path().join("spare")).unwrap().count()
        }
    }

    #[test]
    fn a_folder_that_is_as_new_serves_again_without_a_trace_of_the_first() {
        let bench = Bench::new();
        assert!(bench.put(&bench.attempt("a")));
        let next = bench.root.path().join("b");
        assert!(bench.spares.take(None, &next));
        assert_eq!((names(&next).unwrap(), bench.waiting()), (vec!["work".to_owned()], 0));
        assert!(!bench.spares.take(None, &bench.root.path().join("c")), "there was one");
    }

    #[test]
    fn what_a_task_changed_is_thrown_away() {
        let bench = Bench::new();
        let changes: [fn(&Path); 5] = [
            |folder| fs::write(folder.join("work/file"), "x").unwrap(),
            |folder| fs::create_dir(folder.join("work/folder")).unwrap(),
            |folder| fs::write(folder.join("stop"), "x").unwrap(),
            |folder| fs::remove_file(folder.join("exit")).unwrap(),
            |folder| {
                fs::set_permissions(folder.join("work"), fs::Permissions::from_mode(0o701)).unwrap();
            },
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let folder = bench.attempt(&number.to_string());
            change(&folder);
            assert!(!bench.put(&folder), "change {number}");
        }
        let folder = bench.attempt("attribute");
        let set =
            rustix::fs::setxattr(folder.join("work"), "user.note", b"x", rustix::fs::XattrFlags::empty());
        match set {
            Ok(()) => assert!(!bench.put(&folder)),
            Err(error) => eprintln!("SKIPPED: no attributes on this file system: {error}"),
        }
    }

    #[test]
    fn nobody_gets_the_folder_of_another_user() {
        let bench = Bench::new();
        assert!(bench.put(&bench.attempt("a")));
        let stranger = UserIds { uid: 4_000_000, gid: 4_000_000 };
        assert!(!bench.spares.take(Some(stranger), &bench.root.path().join("b")));
        assert!(bench.spares.take(None, &bench.root.path().join("b")));
    }

    #[test]
    fn no_more_wait_than_the_bound() {
        let bench = Bench::new();
        for number in 0..SPARES_MAX + 3 {
            let kept = bench.put(&bench.attempt(&format!("a{number}")));
            assert_eq!(kept, number < SPARES_MAX);
        }
        assert_eq!(bench.waiting(), SPARES_MAX);
        assert!(bench.spares.take(None, &bench.root.path().join("b")));
        assert!(bench.put(&bench.attempt("again")));
    }
}
