//! What a machine needs before the workspace can be built: a C++ compiler, libclang, RocksDB.
//!
//! ```text
//! compiler, libclang ── missing? ── apt-get (root or passwordless sudo) ── or: the command to type
//! RocksDB ── ROCKSDB_LIB_DIR set? use it ── in the cache? use it ── else build it once
//! ```
//! RocksDB is compiled by its own crate's build script, which cargo runs again for every profile and
//! every change of flags, twenty minutes each time. So it is built once per machine and version into the
//! cache folder, and every build afterwards links that file. Touches nothing inside the tree.

mod rocksdb;
mod toolchain;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::workspace::Workspace;

/// The variables under which cargo must run so that nothing compiles RocksDB again.
#[derive(Debug)]
pub struct BuildEnvironment {
    variables: Vec<(&'static str, PathBuf)>,
}

impl BuildEnvironment {
    /// Cargo in the workspace's root with these variables set.
    pub fn cargo(&self, workspace: &Workspace) -> Command {
        let mut cargo = workspace.cargo();
        for (name, value) in &self.variables {
            cargo.env(name, value);
        }
        cargo
    }
}

/// Makes the machine ready and says how to build on it. Quick when everything is there already.
pub fn ensure(workspace: &Workspace) -> Result<BuildEnvironment> {
    toolchain::ensure()?;
    if let Some(folder) = std::env::var_os("ROCKSDB_LIB_DIR") {
        let folder = PathBuf::from(folder);
        check_own_library(&folder, std::env::var_os("ROCKSDB_STATIC").is_some())?;
        eprintln!("RocksDB: ROCKSDB_LIB_DIR={} (set by you)", folder.display());
        return Ok(BuildEnvironment { variables: Vec::new() });
    }
    let folder = rocksdb::ensure(workspace)?;
    Ok(BuildEnvironment { variables: vec![("ROCKSDB_LIB_DIR", folder), ("ROCKSDB_STATIC", "1".into())] })
}

/// `cargo xtask setup`: progress goes to stderr, stdout is for `eval`.
pub fn print_environment(workspace: &Workspace) -> Result<()> {
    for (name, value) in ensure(workspace)?.variables {
        println!("export {name}='{}'", value.display().to_string().replace('\'', r"'\''"));
    }
    Ok(())
}

/// A folder named by the user is used as it is; a missing library is said now, not by the linker later.
fn check_own_library(folder: &Path, linked_statically: bool) -> Result<()> {
    let names: &[&str] =
        if linked_statically { &["librocksdb.a"] } else { &["librocksdb.so", "librocksdb.dylib"] };
    if names.iter().any(|name| folder.join(name).is_file()) {
        return Ok(());
    }
    let linking = if linked_statically { "ROCKSDB_STATIC is set" } else { "ROCKSDB_STATIC is not set" };
    bail!(
        "ROCKSDB_LIB_DIR={} holds no {} ({linking}); unset ROCKSDB_LIB_DIR to have RocksDB built for you",
        folder.display(),
        names.join(" or "),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_folder_without_a_library_is_refused_by_name() {
        let error = check_own_library(Path::new("/nonexistent"), true).unwrap_err().to_string();
        assert!(error.contains("/nonexistent") && error.contains("librocksdb.a"), "{error}");
    }
}
