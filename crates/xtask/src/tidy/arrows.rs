//! Which crate may name which: the table in ARCHITECTURE.md against `cargo metadata`.
//!
//! An edge that is not listed is a problem, and so are a crate without a row and a row or a name
//! without a crate. A listed edge that nothing uses yet is fine. Only normal dependencies count: tests
//! may name what they like.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde_json::Value;

/// Stands where a crate names nothing of ours; such a crate may not even name [`SHARED`].
const NOTHING: &str = "nothing";
/// The crate that every other may name without saying so.
const SHARED: &str = "types";

/// Crate folder name to the names of its normal dependencies, ours (by folder name) and foreign ones.
pub type Crates = BTreeMap<String, Dependencies>;

/// What one crate depends on in a normal build.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Dependencies {
    /// Crates of this workspace, without the `paceline-` prefix.
    pub own: BTreeSet<String>,
    /// Packages from elsewhere.
    pub foreign: BTreeSet<String>,
}

/// The members and their normal dependencies.
pub fn crates_of(metadata: &Value) -> Result<Crates> {
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    let names: BTreeSet<&str> = packages.iter().filter_map(|package| package["name"].as_str()).collect();
    let mut crates = Crates::new();
    for package in packages {
        let name = package["name"].as_str().context("a package has no name")?;
        let dependencies = package["dependencies"].as_array().context("a package has no dependencies")?;
        let mut sorted = Dependencies::default();
        for dependency in dependencies.iter().filter(|dependency| dependency["kind"].is_null()) {
            let dependency = dependency["name"].as_str().context("a dependency has no name")?;
            if names.contains(dependency) {
                sorted.own.insert(short(dependency).to_owned());
            } else {
                sorted.foreign.insert(dependency.to_owned());
            }
        }
        crates.insert(short(name).to_owned(), sorted);
    }
    Ok(crates)
}

/// Everything in which the table and the tree differ.
pub fn problems(architecture: &str, crates: &Crates) -> Vec<String> {
    let table = parse(architecture);
    if table.is_empty() {
        return vec!["docs/ARCHITECTURE.md has no fenced block with arrows (`a → b c`)".into()];
    }
    let mut problems = Vec::new();
    for (from, allowed) in &table {
        for name in std::iter::once(from).chain(allowed).filter(|name| *name != NOTHING) {
            if !crates.contains_key(name) {
                problems.push(format!("the arrow table names `{name}`, which is no crate"));
            }
        }
    }
    for (from, dependencies) in crates {
        match table.get(from) {
            None => problems.push(format!("crate `{from}` has no row in the arrow table")),
            Some(allowed) => {
                let forbidden = dependencies.own.iter().filter(|to| !is_allowed(allowed, to));
                problems.extend(forbidden.map(|to| format!("`{from} → {to}` is not in the arrow table")));
            }
        }
    }
    problems
}

fn is_allowed(allowed: &BTreeSet<String>, to: &str) -> bool {
    allowed.contains(to) || (to == SHARED && !allowed.contains(NOTHING))
}

fn short(package: &str) -> &str {
    package.strip_prefix("paceline-").unwrap_or(package)
}

/// The rows of every fenced block that has an arrow in it. Several rows may stand on one line, and
/// several crates, separated by commas, before one arrow.
fn parse(architecture: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut table: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut fenced = false;
    for line in architecture.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        } else if fenced && line.contains('→') {
            for (subjects, targets) in rows(line) {
                for subject in subjects {
                    table.entry(subject).or_default().extend(targets.iter().cloned());
                }
            }
        }
    }
    table
}

fn rows(line: &str) -> Vec<(Vec<String>, Vec<String>)> {
    let spaced = line.replace('→', " → ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let arrows: Vec<usize> = (0..words.len()).filter(|&at| words[at] == "→").collect();
    let starts: Vec<usize> = arrows.iter().map(|&arrow| first_subject(&words, arrow)).collect();
    let plain = |words: &[&str]| words.iter().map(|word| word.trim_end_matches(',').to_owned()).collect();
    arrows
        .iter()
        .enumerate()
        .map(|(row, &arrow)| {
            let end = starts.get(row + 1).copied().unwrap_or(words.len());
            (plain(&words[starts[row]..arrow]), plain(&words[arrow + 1..end]))
        })
        .collect()
}

/// One word before the arrow, and before it every word that ends in a comma.
fn first_subject(words: &[&str], arrow: usize) -> usize {
    let mut start = arrow.saturating_sub(1);
    while start > 0 && words[start - 1].ends_with(',') {
        start -= 1;
    }
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn tree(edges: &[(&str, &[&str])]) -> Crates {
        edges
            .iter()
            .map(|(from, to)| ((*from).to_owned(), Dependencies { own: set(to), ..Default::default() }))
            .collect()
    }

    const PAGE: &str = "text a → b\n```text\nmaster → cell link\ncell → types    link → types\n\
                        types, xtask → nothing\n```\n";

    #[test]
    fn several_rows_and_subjects_on_a_line_are_read() {
        let table = parse(PAGE);
        assert_eq!(table["master"], set(&["cell", "link"]));
        assert_eq!(table["cell"], set(&["types"]));
        assert_eq!(table["link"], set(&["types"]));
        assert_eq!(table["xtask"], set(&["nothing"]));
        assert_eq!(table.len(), 5, "prose outside a fence is no row: {table:?}");
    }

    #[test]
    fn a_tree_within_its_arrows_has_no_problem() {
        let crates = tree(&[
            ("master", &["cell", "types"]),
            ("cell", &["types"]),
            ("link", &[]),
            ("types", &[]),
            ("xtask", &[]),
        ]);
        assert_eq!(problems(PAGE, &crates), Vec::<String>::new());
    }

    #[test]
    fn an_unlisted_edge_a_crate_without_row_and_a_row_without_crate_are_named() {
        let crates = tree(&[
            ("master", &["cell"]),
            ("cell", &["link"]),
            ("types", &[]),
            ("xtask", &["types"]),
            ("new", &[]),
        ]);
        assert_eq!(
            problems(PAGE, &crates),
            [
                "the arrow table names `link`, which is no crate",
                "the arrow table names `link`, which is no crate",
                "`cell → link` is not in the arrow table",
                "crate `new` has no row in the arrow table",
                "`xtask → types` is not in the arrow table",
            ]
        );
    }

    #[test]
    fn only_normal_dependencies_count_and_prefixes_go() {
        let metadata = serde_json::json!({"packages": [
            {"name": "paceline-cell", "dependencies": [
                {"name": "paceline-types", "kind": null},
                {"name": "paceline-sim", "kind": "dev"},
                {"name": "imbl", "kind": null},
            ]},
            {"name": "paceline-types", "dependencies": []},
            {"name": "paceline-sim", "dependencies": []},
        ]});
        let crates = crates_of(&metadata).unwrap();
        assert_eq!(crates["cell"], Dependencies { own: set(&["types"]), foreign: set(&["imbl"]) });
    }
}
