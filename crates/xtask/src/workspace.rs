//! Where things are: the workspace root, its crates and target folder, the machine's cache folder.
//!
//! Reads only; creates nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::command;

/// The tree this xtask was built from.
#[derive(Debug, Clone)]
pub struct Workspace {
    /// Absolute path of the folder that holds the root `Cargo.toml`.
    pub root: PathBuf,
}

impl Workspace {
    /// The workspace that contains this crate, wherever the command was typed.
    pub fn locate() -> Result<Self> {
        // Cargo sets the variable when it runs us; the built-in path serves a binary started by hand.
        let manifest_dir =
            std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let found = Path::new(&manifest_dir).ancestors().find(|folder| folder.join("Cargo.lock").is_file());
        match found {
            Some(root) => Ok(Self { root: root.to_owned() }),
            None => bail!("no Cargo.lock in or above {}", manifest_dir.to_string_lossy()),
        }
    }

    /// The cargo that runs us, started in the root, as a person's shell would start it: build scripts that read the
    /// variables that cargo sets for us would run again for each of us in turn, and half of the workspace with them.
    pub fn cargo(&self) -> Command {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(&self.root);
        let ours = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        for name in ours.filter(|name| is_of_a_package(name)) {
            cargo.env_remove(name);
        }
        cargo
    }

    /// `cargo metadata` of the members alone: quick, and without the network.
    pub fn metadata(&self) -> Result<Value> {
        let mut cargo = self.cargo();
        cargo.args(["metadata", "--no-deps", "--format-version", "1"]);
        let text = command::stdout_of(&mut cargo)?;
        serde_json::from_str(&text).context("cargo metadata printed no JSON")
    }

    /// Where cargo puts what it builds, `CARGO_TARGET_DIR` included.
    pub fn target_dir(&self) -> Result<PathBuf> {
        let metadata = self.metadata()?;
        let folder =
            metadata["target_directory"].as_str().context("cargo metadata has no target_directory")?;
        Ok(PathBuf::from(folder))
    }

    /// The version of a dependency as `Cargo.lock` pins it.
    pub fn locked_version(&self, package: &str) -> Result<String> {
        let path = self.root.join("Cargo.lock");
        let lock = fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))?;
        locked_version_in(&lock, package)
            .with_context(|| format!("{} does not pin {package}", path.display()))
    }
}

/// Variables in which `cargo run` tells a program about its own package.
fn is_of_a_package(name: &str) -> bool {
    let prefixes = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"];
    prefixes.iter().any(|prefix| name.starts_with(prefix))
        || matches!(name, "CARGO_CRATE_NAME" | "CARGO_PRIMARY_PACKAGE" | "OUT_DIR")
}

/// The folder that outlives clones and target folders.
pub fn cache_dir() -> Result<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(own) = variable("PACELINE_CACHE_DIR") {
        return std::path::absolute(&own).with_context(|| format!("PACELINE_CACHE_DIR={}", own.display()));
    }
    // The XDG rules say that a relative path is to be ignored.
    if let Some(xdg) = variable("XDG_CACHE_HOME").filter(|path| path.is_absolute()) {
        return Ok(xdg.join("paceline"));
    }
    match variable("HOME") {
        Some(home) => Ok(home.join(".cache").join("paceline")),
        None => bail!("no place for the cache: set PACELINE_CACHE_DIR (HOME is not set either)"),
    }
}

/// The target triple that builds on this machine are for.
pub fn host_triple() -> Result<String> {
    let text = command::stdout_of(Command::new("rustc").arg("-vV"))?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("`rustc -vV` names no host")?.to_owned())
}

fn locked_version_in(lock: &str, package: &str) -> Option<String> {
    let name = format!("name = \"{package}\"");
    let mut lines = lock.lines().skip_while(|line| *line != name);
    let version = lines.nth(1)?.strip_prefix("version = \"")?.strip_suffix('"')?;
    Some(version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = "version = 4\n\n[[package]]\nname = \"alpha\"\nversion = \"1.2.3\"\n\n\
                        [[package]]\nname = \"alpha-sys\"\nversion = \"0.19.0+11.8.1\"\nsource = \"x\"\n";

    #[test]
    fn locked_versions_are_read_by_exact_name() {
        assert_eq!(locked_version_in(LOCK, "alpha").as_deref(), Some("1.2.3"));
        assert_eq!(locked_version_in(LOCK, "alpha-sys").as_deref(), Some("0.19.0+11.8.1"));
        assert_eq!(locked_version_in(LOCK, "alph"), None);
    }

    #[test]
    fn cargo_is_started_without_what_cargo_says_about_this_package() {
        let cargo = Workspace::locate().unwrap().cargo();
        // Set for this test as for any program that cargo runs.
        assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
        let removed: Vec<_> =
            cargo.get_envs().filter(|(_, value)| value.is_none()).map(|(name, _)| name).collect();
        assert!(removed.contains(&std::ffi::OsStr::new("CARGO_MANIFEST_DIR")), "{removed:?}");
        assert!(!is_of_a_package("CARGO_TARGET_DIR") && !is_of_a_package("CARGO_HOME"));
    }

    #[test]
    fn the_root_holds_this_crate() {
        let workspace = Workspace::locate().unwrap();
        assert!(workspace.root.join("crates/xtask/src/workspace.rs").is_file());
    }
}
