//! `librocksdb.a`, built once per machine, version and target triple.
//!
//! ```text
//! CACHE/rocksdb-VERSION-TRIPLE/librocksdb.a     the result, put there by rename
//! CACHE/rocksdb-VERSION-TRIPLE.lock             held while building, so that two runs build once
//! CACHE/rocksdb-VERSION-TRIPLE.build/           cargo's target folder meanwhile, removed afterwards
//! ```
//! The library is built by cargo itself from the locked crate with the workspace's own features; this
//! module only takes the file out. Flags of the toolchain are left to `CXX` and `CXXFLAGS`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::command;
use crate::workspace::{self, Workspace};

const PACKAGE: &str = "librocksdb-sys";
const LIBRARY: &str = "librocksdb.a";

/// How often progress is printed: a build takes minutes, and a silent CI looks dead.
const PROGRESS_EVERY: Duration = Duration::from_secs(20);
/// How often the build is looked at.
const POLL: Duration = Duration::from_millis(200);

/// The folder that holds the library, after building it if need be.
pub fn ensure(workspace: &Workspace) -> Result<PathBuf> {
    let cache = workspace::cache_dir()?;
    let version = workspace.locked_version(PACKAGE)?;
    let name = format!("rocksdb-{version}-{}", workspace::host_triple()?);
    let folder = cache.join(&name);
    if folder.join(LIBRARY).is_file() {
        return Ok(folder);
    }
    fs::create_dir_all(&cache).with_context(|| format!("could not create {}", cache.display()))?;
    let _lock = lock(&cache.join(format!("{name}.lock")))?;
    // Another run may have built it while we waited for the lock.
    if !folder.join(LIBRARY).is_file() {
        build(workspace, &cache.join(format!("{name}.build")), &folder)?;
    }
    Ok(folder)
}

/// Held until the file is dropped; the kernel releases it if we die.
fn lock(path: &Path) -> Result<File> {
    let file = File::create(path).with_context(|| format!("could not create {}", path.display()))?;
    if file.try_lock().is_err() {
        eprintln!("RocksDB: another run holds {}; waiting for it", path.display());
        file.lock().with_context(|| format!("could not lock {}", path.display()))?;
    }
    Ok(file)
}

fn build(workspace: &Workspace, scratch: &Path, folder: &Path) -> Result<()> {
    eprintln!("RocksDB: building it once for this machine, into {}", folder.display());
    let started = Instant::now();
    remove_folder(scratch)?;
    let sources = count_sources(workspace)?;
    let mut cargo = build_command(workspace, scratch);
    eprintln!("$ {}", command::line(&cargo));
    let mut child = cargo.spawn().with_context(|| format!("could not start `{}`", command::line(&cargo)))?;
    watch(&mut child, scratch, sources, started)?;
    let built = find_library(scratch)?;
    put(&built, folder)?;
    remove_folder(scratch)?;
    eprintln!("RocksDB: built in {} s", started.elapsed().as_secs());
    Ok(())
}

fn build_command(workspace: &Workspace, scratch: &Path) -> Command {
    let mut cargo = workspace.cargo();
    cargo.args(["build", "--locked", "--release", "-p", PACKAGE, "--target-dir"]).arg(scratch);
    // With any of these set the crate would look for a library instead of building one.
    let foreign = std::env::vars_os().map(|(name, _)| name);
    for name in foreign.filter(|name| name.to_string_lossy().starts_with("ROCKSDB_")) {
        cargo.env_remove(name);
    }
    // The release profile keeps line tables for our own code; for RocksDB they double time and size.
    cargo.env("CARGO_PROFILE_RELEASE_DEBUG", "false");
    cargo.stdin(Stdio::null()).stdout(std::io::stderr());
    cargo
}

/// Prints progress until the build ends; a failed build is an error (cargo has printed why).
fn watch(child: &mut Child, scratch: &Path, sources: usize, started: Instant) -> Result<()> {
    let mut printed = Instant::now();
    loop {
        if let Some(status) = child.try_wait().context("could not wait for the RocksDB build")? {
            if !status.success() {
                bail!("the build of RocksDB ended with {status}; what it left is in {}", scratch.display());
            }
            return Ok(());
        }
        if printed.elapsed() >= PROGRESS_EVERY {
            printed = Instant::now();
            let objects = count_objects(scratch);
            eprintln!("RocksDB: {objects} of {sources} files, {} s", started.elapsed().as_secs());
        }
        thread::sleep(POLL);
    }
}

/// How many files the crate compiles: its own list, and one that it generates.
fn count_sources(workspace: &Workspace) -> Result<usize> {
    let mut cargo = workspace.cargo();
    cargo.args(["metadata", "--locked", "--format-version", "1"]);
    let metadata: Value = serde_json::from_str(&command::stdout_of(&mut cargo)?).context("cargo metadata")?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    let package = packages.iter().find(|package| package["name"] == PACKAGE);
    let manifest = package.and_then(|package| package["manifest_path"].as_str());
    let manifest = Path::new(manifest.with_context(|| format!("cargo metadata does not list {PACKAGE}"))?);
    let list = manifest.with_file_name("rocksdb_lib_sources.txt");
    // Only the progress line needs the number: an unknown one is no reason to stop.
    Ok(fs::read_to_string(list).map(|text| text.lines().count()).unwrap_or(0))
}

/// The build script's output folders; cargo names them with a hash.
fn output_folders(scratch: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(scratch.join("release/build")) else { return Vec::new() };
    let ours =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PACKAGE));
    entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(ours)
        .map(|path| path.join("out"))
        .collect()
}

fn count_objects(scratch: &Path) -> usize {
    let files =
        output_folders(scratch).into_iter().flat_map(|folder| fs::read_dir(folder).into_iter().flatten());
    files.filter_map(Result::ok).filter(|file| file.path().extension().is_some_and(|end| end == "o")).count()
}

fn find_library(scratch: &Path) -> Result<PathBuf> {
    let found =
        output_folders(scratch).into_iter().map(|folder| folder.join(LIBRARY)).find(|path| path.is_file());
    found.with_context(|| format!("the build left no {LIBRARY} under {}", scratch.display()))
}

/// Copies, syncs, then renames: whoever sees the file sees all of it, after a power cut too.
fn put(built: &Path, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("could not create {}", folder.display()))?;
    let part = folder.join(format!("{LIBRARY}.part"));
    fs::copy(built, &part).with_context(|| format!("could not write {}", part.display()))?;
    File::open(&part)
        .and_then(|file| file.sync_all())
        .with_context(|| format!("could not sync {}", part.display()))?;
    let library = folder.join(LIBRARY);
    fs::rename(&part, &library).with_context(|| format!("could not put {} in place", library.display()))
}

fn remove_folder(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("could not remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("xtask-rocksdb-{name}-{}", std::process::id()));
        remove_folder(&folder).unwrap();
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn the_library_is_found_under_the_hashed_folder_and_put_whole() {
        let folder = scratch("put");
        let out = folder.join("release/build/librocksdb-sys-0123/out");
        fs::create_dir_all(&out).unwrap();
        fs::write(out.join("ab-cache.o"), "").unwrap();
        fs::write(out.join(LIBRARY), "archive").unwrap();
        assert_eq!(count_objects(&folder), 1);
        let target = folder.join("cached");
        put(&find_library(&folder).unwrap(), &target).unwrap();
        assert_eq!(fs::read_to_string(target.join(LIBRARY)).unwrap(), "archive");
        assert_eq!(fs::read_dir(&target).unwrap().count(), 1, "no part file is left");
        remove_folder(&folder).unwrap();
    }

    #[test]
    fn a_build_without_a_library_is_an_error() {
        let folder = scratch("none");
        assert!(find_library(&folder).unwrap_err().to_string().contains(LIBRARY));
        remove_folder(&folder).unwrap();
    }

    #[test]
    fn the_lock_is_exclusive() {
        let folder = scratch("lock");
        let path = folder.join("lock");
        let held = lock(&path).unwrap();
        assert!(File::create(&path).unwrap().try_lock().is_err());
        drop(held);
        assert!(File::create(&path).unwrap().try_lock().is_ok());
        remove_folder(&folder).unwrap();
    }

    #[test]
    fn no_rocksdb_variable_reaches_the_build() {
        let workspace = Workspace::locate().unwrap();
        let command = build_command(&workspace, Path::new("scratch"));
        let kept = command
            .get_envs()
            .filter(|(name, value)| name.to_string_lossy().starts_with("ROCKSDB_") && value.is_some());
        assert_eq!(kept.count(), 0);
    }
}
