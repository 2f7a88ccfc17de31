//! One number for all sources that the simulation's binary is built from: what a seed has shown counts while it stands.
//!
//! Covered are the folders of every crate of ours that the binary depends on, tests aside, as `cargo metadata` tells, and
//! what they share: the wire contract, the locked versions of everything else, the profiles and flags of the build. The
//! compiler's own list of what it read is held against that, so that nothing is left out unseen. Git is not asked: what
//! counts is what was compiled.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::workspace::Workspace;

/// The package whose binary runs the seeds.
const PACKAGE: &str = "paceline-sim";
/// What all crates share. A folder counts with everything in it.
const SHARED: [&str; 5] = ["Cargo.lock", "Cargo.toml", "rust-toolchain.toml", ".cargo/config.toml", "proto"];
/// Folders of a crate that its binary is not built from.
const NOT_BUILT: [&str; 3] = ["tests", "benches", "examples"];

/// FNV-1a of 128 bits, basis and prime: against accidents, not against people.
const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

/// The sources as they are on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    /// 32 hexadecimal digits.
    pub hash: String,
    /// Folders and files that it covers, from the root.
    covered: BTreeSet<String>,
}

impl Sources {
    /// Reads and sums them.
    pub fn read(workspace: &Workspace) -> Result<Self> {
        let mut covered = crate_folders(&workspace.metadata()?, &workspace.root)?;
        covered.extend(SHARED.map(str::to_owned));
        let mut files = Vec::new();
        for path in &covered {
            collect(&workspace.root, path, &mut files)?;
        }
        files.sort_unstable();
        Ok(Self { hash: format!("{:032x}", sum(&files)), covered })
    }

    /// Fails where the binary beside this list (`NAME.d`, as cargo writes it) was built from a file of the tree that the
    /// hash does not cover.
    pub fn cover_what_was_built(&self, workspace: &Workspace, list: &Path) -> Result<()> {
        let text = fs::read_to_string(list).with_context(|| format!("could not read {}", list.display()))?;
        let missing = self.missing(&workspace.root, &workspace.target_dir()?, &text);
        if let Some(file) = missing.first() {
            bail!("the binary is built from {file}, which its hash of sources leaves out");
        }
        Ok(())
    }

    fn missing(&self, root: &Path, target: &Path, list: &str) -> Vec<String> {
        let files = list.split_once(": ").map_or("", |(_, files)| files);
        // Cargo writes a space within a name as `\ `.
        let files = files.replace("\\ ", "\0");
        let built = files.split_whitespace().map(|file| plain(Path::new(&file.replace('\0', " "))));
        let ours = built.filter(|file| !file.starts_with(target));
        let ours = ours.filter_map(|file| Some(file.strip_prefix(root).ok()?.to_owned()));
        let left_out = ours.filter(|file| !self.covered.iter().any(|covered| file.starts_with(covered)));
        left_out.map(|file| file.display().to_string()).collect()
    }
}

/// Without `.` and `..`, by its letters alone.
fn plain(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut plain, part| {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(plain.pop()),
            _ => plain.push(part),
        }
        plain
    })
}

/// The folders of the binary's package and of all of ours that it reaches, but for tests.
fn crate_folders(metadata: &Value, root: &Path) -> Result<BTreeSet<String>> {
    let packages = metadata["packages"].as_array().context("cargo metadata has no packages")?;
    let folder_of = |package: &Value| {
        let manifest = package["manifest_path"].as_str().map(Path::new);
        manifest.and_then(Path::parent).map(Path::to_owned)
    };
    let start = packages.iter().find(|package| package["name"] == PACKAGE);
    let start = start.and_then(folder_of).with_context(|| format!("cargo metadata has no {PACKAGE}"))?;
    let (mut reached, mut waiting) = (BTreeSet::new(), vec![start]);
    while let Some(folder) = waiting.pop() {
        if !reached.insert(folder.clone()) {
            continue;
        }
        let package = packages.iter().find(|package| folder_of(package).as_ref() == Some(&folder));
        let package = package.with_context(|| format!("{} is no member", folder.display()))?;
        let dependencies = package["dependencies"].as_array().into_iter().flatten();
        let built = dependencies.filter(|dependency| dependency["kind"] != "dev");
        waiting.extend(built.filter_map(|dependency| dependency["path"].as_str().map(PathBuf::from)));
    }
    let from_root = |folder: &PathBuf| {
        let inside = folder.strip_prefix(root).with_context(|| format!("{} is outside", folder.display()))?;
        Ok(inside.display().to_string())
    };
    reached.iter().map(from_root).collect()
}

/// The files at or below a path, with their content; tests of a crate and hidden files aside.
fn collect(root: &Path, path: &str, files: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
    let full = root.join(path);
    if full.is_file() {
        let content = fs::read(&full).with_context(|| format!("could not read {}", full.display()))?;
        files.push((path.to_owned(), content));
        return Ok(());
    }
    let is_crate = full.join("Cargo.toml").is_file();
    for entry in fs::read_dir(&full).with_context(|| format!("could not list {}", full.display()))? {
        let name = entry.with_context(|| format!("could not list {}", full.display()))?.file_name();
        let name = name.to_string_lossy();
        if !(name.starts_with('.') || is_crate && NOT_BUILT.contains(&&*name)) {
            collect(root, &format!("{path}/{name}"), files)?;
        }
    }
    Ok(())
}

/// Names and contents, each with its length before it, so that nothing moves unseen from one to the other.
fn sum(files: &[(String, Vec<u8>)]) -> u128 {
    files.iter().fold(BASIS, |state, (path, content)| {
        let state = fold(fold(state, &(path.len() as u64).to_le_bytes()), path.as_bytes());
        fold(fold(state, &(content.len() as u64).to_le_bytes()), content)
    })
}

fn fold(state: u128, bytes: &[u8]) -> u128 {
    bytes.iter().fold(state, |state, byte| (state ^ u128::from(*byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_fnv_1a_of_128_bits() {
        assert_eq!(fold(BASIS, b"a"), 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964);
        assert_eq!(fold(BASIS, b"foobar"), 0x343e_1662_793c_64bf_6f0d_3597_ba44_6f18);
    }

    #[test]
    fn a_name_a_byte_and_the_border_between_files_change_the_sum() {
        let file = |path: &str, content: &str| (path.to_owned(), content.as_bytes().to_vec());
        let one = sum(&[file("a", "xy"), file("b", "z")]);
        assert_eq!(one, sum(&[file("a", "xy"), file("b", "z")]));
        for other in [
            vec![file("a", "xY"), file("b", "z")],
            vec![file("a", "xy"), file("c", "z")],
            vec![file("a", "x"), file("b", "yz")],
            vec![file("a", "xy")],
            vec![file("a", "xy"), file("b", "z"), file("c", "")],
        ] {
            assert_ne!(one, sum(&other), "{other:?}");
        }
    }

    #[test]
    fn every_crate_under_the_binary_is_covered_and_no_other() {
        let workspace = Workspace::locate().unwrap();
        let folders = crate_folders(&workspace.metadata().unwrap(), &workspace.root).unwrap();
        for name in ["sim", "master", "agent", "shard", "cell", "schedule", "replica", "supervisor", "types"]
        {
            assert!(folders.contains(&format!("crates/{name}")), "{name}: {folders:?}");
        }
        for name in ["xtask", "store", "paceline", "fuzz"] {
            assert!(!folders.contains(&format!("crates/{name}")), "{name}: {folders:?}");
        }
    }

    #[test]
    fn only_what_the_binary_is_built_from_counts() {
        let workspace = Workspace::locate().unwrap();
        let mut files = Vec::new();
        collect(&workspace.root, "crates/sim", &mut files).unwrap();
        let has = |path: &str| files.iter().any(|(file, _)| file == path);
        assert!(has("crates/sim/src/points.rs") && has("crates/sim/Cargo.toml"));
        assert!(!has("crates/sim/tests/seeds.rs"));
        let sources = Sources::read(&workspace).unwrap();
        assert_eq!(sources.hash.len(), 32);
        assert_eq!(sources, Sources::read(&workspace).unwrap());
    }

    #[test]
    fn a_file_that_was_built_in_and_left_out_is_named() {
        let covered = ["crates/sim", "proto"].map(str::to_owned).into();
        let sources = Sources { hash: String::new(), covered };
        let list = "/t/debug/x: /t/debug/out/y.rs /r/crates/sim/src/a.rs /r/crates/api/../../proto/v1 \
                    /r/crates/simple/src/b.rs /r/odd\\ name.rs /elsewhere/c.rs";
        let missing = sources.missing(Path::new("/r"), Path::new("/t"), list);
        assert_eq!(missing, ["crates/simple/src/b.rs", "odd name.rs"]);
    }
}
