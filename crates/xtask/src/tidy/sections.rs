//! ARCHITECTURE.md has exactly one section for every crate, under `crates/` or beside it, and none for a crate that
//! is not there.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// The folders that hold a package: those under `crates/`, and those at the root such as `chaos`.
pub fn crate_folders(root: &Path) -> Result<Vec<String>> {
    let mut folders = packages_in(root, "")?;
    folders.extend(packages_in(root, "crates/")?);
    folders.sort();
    Ok(folders)
}

/// The packages right in a folder, which is named by its path from the root with a `/` at the end.
fn packages_in(root: &Path, folder: &str) -> Result<Vec<String>> {
    let wrong = || format!("could not list {}", root.join(folder).display());
    let mut packages = Vec::new();
    for entry in fs::read_dir(root.join(folder)).with_context(wrong)? {
        let entry = entry.with_context(wrong)?;
        if entry.path().join("Cargo.toml").is_file() {
            packages.push(format!("{folder}{}", entry.file_name().to_string_lossy()));
        }
    }
    Ok(packages)
}

/// Crates without a section, sections without a crate, and sections that come twice.
pub fn problems(architecture: &str, folders: &[String]) -> Vec<String> {
    let mut sections: BTreeMap<&str, usize> = BTreeMap::new();
    for name in architecture.lines().filter_map(section_of) {
        *sections.entry(name).or_default() += 1;
    }
    let mut problems = Vec::new();
    for folder in folders {
        match sections.remove(folder.as_str()) {
            None => problems.push(format!("docs/ARCHITECTURE.md has no section `{folder}`")),
            Some(1) => {}
            Some(count) => problems.push(format!("docs/ARCHITECTURE.md has {count} sections `{folder}`")),
        }
    }
    let gone = sections.keys();
    problems.extend(gone.map(|name| format!("docs/ARCHITECTURE.md describes `{name}`, which is not there")));
    problems
}

/// The folder that a heading such as "### `crates/cell`: the state machine" is about: a heading that begins with
/// code is one about a crate.
fn section_of(line: &str) -> Option<&str> {
    let title = line.strip_prefix('#')?.trim_start_matches('#').trim_start();
    let (name, _) = title.strip_prefix('`')?.split_once('`')?;
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str =
        "# Map\n### `crates/cell`: the state\nsee `crates/rules`\n### `crates/gone`\n### `chaos`\n";

    #[test]
    fn sections_and_folders_are_held_against_each_other() {
        let folders = ["chaos", "crates/cell", "crates/rules"].map(str::to_owned);
        assert_eq!(
            problems(PAGE, &folders),
            [
                "docs/ARCHITECTURE.md has no section `crates/rules`",
                "docs/ARCHITECTURE.md describes `crates/gone`, which is not there",
            ]
        );
    }

    #[test]
    fn a_section_that_comes_twice_is_named() {
        let twice = format!("{PAGE}### `crates/cell` again\n");
        let problems = problems(&twice, &["chaos", "crates/cell", "crates/gone"].map(str::to_owned));
        assert_eq!(problems, ["docs/ARCHITECTURE.md has 2 sections `crates/cell`"]);
    }

    #[test]
    fn packages_beside_the_crates_are_found_too() {
        let root = std::env::temp_dir().join(format!("xtask-sections-{}", std::process::id()));
        for folder in ["crates/cell", "crates/empty", "chaos", "docs"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        for package in ["crates/cell", "chaos"] {
            fs::write(root.join(package).join("Cargo.toml"), "").unwrap();
        }
        let found = crate_folders(&root).unwrap();
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(found, ["chaos", "crates/cell"]);
    }
}
