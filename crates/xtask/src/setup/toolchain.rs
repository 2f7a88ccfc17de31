//! The C++ compiler and libclang: found, installed with apt-get where that is possible, or asked for.
//!
//! The compiler builds RocksDB; libclang reads its header (bindgen). Looks where bindgen will look, so
//! that "found" here means found there.

use std::env;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::command;

/// What the RocksDB header and sources need at least; also proves that the C++ headers are there.
const PROBE: &str = "#include <memory>\n#include <span>\nint main() { return 0; }\n";

/// Where Debian, Ubuntu and the llvm packages put libclang; `*` stands for any one folder name part.
const LIBCLANG_FOLDERS: [&str; 7] = [
    "/usr/lib/llvm-*/lib",
    "/usr/lib/*-linux-gnu",
    "/usr/lib",
    "/usr/lib64",
    "/usr/lib64/llvm*/lib",
    "/usr/local/lib",
    "/usr/local/llvm*/lib",
];

/// Something the machine lacks, and the Debian package that has it.
#[derive(Debug, PartialEq, Eq)]
struct Missing {
    what: &'static str,
    package: &'static str,
}

/// Succeeds once both are present; installs what is missing if that needs no password.
pub fn ensure() -> Result<()> {
    let missing = find_missing();
    if missing.is_empty() {
        return Ok(());
    }
    for Missing { what, .. } in &missing {
        eprintln!("missing: {what}");
    }
    let packages: Vec<&str> = missing.iter().map(|missing| missing.package).collect();
    install(&packages)?;
    let left: Vec<&str> = find_missing().iter().map(|missing| missing.what).collect();
    if !left.is_empty() {
        bail!("still missing after installing {}: {}", packages.join(" "), left.join(", "));
    }
    Ok(())
}

fn find_missing() -> Vec<Missing> {
    let mut missing = Vec::new();
    if !compiler_works() {
        missing.push(Missing { what: "a C++ compiler that understands C++20", package: "g++" });
    }
    match libclang_folder() {
        None => missing.push(Missing { what: "libclang", package: "libclang-dev" }),
        Some(folder) if !has_builtin_headers(&folder) => {
            missing.push(Missing { what: "the C headers that belong to libclang", package: "libclang-dev" });
        }
        Some(_) => {}
    }
    missing
}

/// Compiles the probe with the compiler that the build of RocksDB will use.
fn compiler_works() -> bool {
    let compiler = env::var("CXX").unwrap_or_else(|_| "c++".into());
    let mut words = compiler.split_whitespace();
    let Some(program) = words.next() else { return false };
    let child = Command::new(program)
        .args(words)
        .args(["-std=c++20", "-fsyntax-only", "-x", "c++", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = child else { return false };
    let written = child.stdin.take().is_some_and(|mut stdin| stdin.write_all(PROBE.as_bytes()).is_ok());
    child.wait().is_ok_and(|status| status.success()) && written
}

fn libclang_folder() -> Option<PathBuf> {
    if let Some(own) = env::var_os("LIBCLANG_PATH").map(PathBuf::from) {
        let folder = if own.is_file() { own.parent().map(Path::to_owned) } else { Some(own) };
        return folder.filter(|folder| holds_libclang(folder));
    }
    let from_llvm_config = command::stdout_of(Command::new("llvm-config").arg("--libdir"))
        .ok()
        .map(|folder| PathBuf::from(folder.trim()));
    let usual = LIBCLANG_FOLDERS.iter().flat_map(|pattern| folders_matching(pattern));
    from_llvm_config.into_iter().chain(usual).find(|folder| holds_libclang(folder))
}

fn holds_libclang(folder: &Path) -> bool {
    let Ok(entries) = fs::read_dir(folder) else { return false };
    entries.filter_map(Result::ok).any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        // libclang.so, libclang.so.14, libclang-14.so, libclang-14.so.1; not libclang-cpp, which is another.
        name.strip_prefix("libclang")
            .and_then(|rest| rest.split_once(".so"))
            .is_some_and(|(version, _)| version.bytes().all(|byte| b"-.0123456789".contains(&byte)))
    })
}

/// A libclang without `stddef.h` cannot read any header. A folder that the user named is trusted.
fn has_builtin_headers(libclang: &Path) -> bool {
    if env::var_os("LIBCLANG_PATH").is_some() {
        return true;
    }
    let beside = libclang.join("clang/*/include");
    let places = [beside.to_string_lossy().into_owned(), "/usr/lib/llvm-*/lib/clang/*/include".into()];
    places
        .iter()
        .chain(&["/usr/lib/clang/*/include".to_owned()])
        .flat_map(|pattern| folders_matching(pattern))
        .any(|folder| folder.join("stddef.h").is_file())
}

/// Every folder that a pattern with at most one `*` per part names.
fn folders_matching(pattern: &str) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::from("/")];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        found = match part.split_once('*') {
            None => found.into_iter().map(|folder| folder.join(part)).collect(),
            Some((start, end)) => {
                found.iter().flat_map(|folder| children_matching(folder, start, end)).collect()
            }
        };
    }
    found.retain(|folder| folder.is_dir());
    found
}

fn children_matching(folder: &Path, start: &str, end: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let names = entries.filter_map(Result::ok).map(|entry| entry.file_name());
    let fits = |name: &std::ffi::OsString| {
        let name = name.to_string_lossy();
        name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end)
    };
    names.filter(fits).map(|name| folder.join(name)).collect()
}

fn install(packages: &[&str]) -> Result<()> {
    let typed = format!("sudo apt-get update && sudo apt-get install -y {}", packages.join(" "));
    if !on_path("apt-get") {
        bail!(
            "this machine has no apt-get; install the equivalents of {} with its own package manager \
             (on Debian and Ubuntu: {typed})",
            packages.join(" and "),
        );
    }
    let Some(prefix) = privilege() else {
        bail!("this machine lacks what the build needs; type this, then try again:\n\n    {typed}\n");
    };
    let apt = |arguments: &[&str]| {
        let mut words = prefix.to_vec();
        // `env` because sudo clears the environment.
        words.extend(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        words.extend(arguments);
        command::run(Command::new(words[0]).args(&words[1..]).stdin(Stdio::null()))
    };
    apt(&["update"])?;
    let mut arguments = vec!["install", "-y", "--no-install-recommends"];
    arguments.extend(packages);
    apt(&arguments).with_context(|| format!("could not install; the command is\n\n    {typed}\n"))
}

/// How to become root without a question: not at all (root already), by sudo, or `None`.
fn privilege() -> Option<&'static [&'static str]> {
    if rustix::process::geteuid().is_root() {
        return Some(&[]);
    }
    let sudo = Command::new("sudo").args(["-n", "true"]).stdin(Stdio::null()).stderr(Stdio::null()).status();
    sudo.is_ok_and(|status| status.success()).then_some(&["sudo", "-n"])
}

fn on_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_name_existing_folders_only() {
        assert_eq!(folders_matching("/us*"), [PathBuf::from("/usr")]);
        assert_eq!(folders_matching("/nonexistent-*/lib"), Vec::<PathBuf>::new());
    }

    #[test]
    fn libclang_is_told_from_its_namesakes() {
        let folder = env::temp_dir().join(format!("xtask-libclang-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("libclang-cpp.so.14"), "").unwrap();
        fs::write(folder.join("libclangAST.a"), "").unwrap();
        assert!(!holds_libclang(&folder));
        fs::write(folder.join("libclang-14.so.14.0.6"), "").unwrap();
        assert!(holds_libclang(&folder));
        fs::remove_dir_all(&folder).unwrap();
    }
}
