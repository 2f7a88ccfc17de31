//! The access table against the protocol files of the tree: no call without a line, no line without a call.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use paceline_identity::RULES;

fn protocol_files() -> Vec<PathBuf> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut files = vec![crates.join("replica/proto/peer.proto")];
    for entry in fs::read_dir(crates.parent().unwrap().join("proto/paceline/v1")).unwrap() {
        files.push(entry.unwrap().path());
    }
    files
}

/// `/package.Service/Method` of every `rpc` line.
fn calls_of(text: &str) -> Vec<String> {
    let (mut package, mut service, mut calls) = ("", "", Vec::new());
    for line in text.lines().map(str::trim) {
        let word = |prefix: &str| {
            let rest = line.strip_prefix(prefix)?;
            Some(rest.split(|c: char| !c.is_alphanumeric() && c != '.').next().unwrap_or_default())
        };
        if let Some(name) = word("package ") {
            package = name;
        } else if let Some(name) = word("service ") {
            service = name;
        } else if let Some(name) = word("rpc ") {
            calls.push(format!("/{package}.{service}/{name}"));
        }
    }
    calls
}

#[test]
fn every_call_of_ours_has_a_line_and_every_line_a_call() {
    let declared: BTreeSet<String> =
        protocol_files().iter().flat_map(|path| calls_of(&fs::read_to_string(path).unwrap())).collect();
    let listed: BTreeSet<String> =
        RULES.iter().map(|rule| rule.rpc.to_owned()).filter(|rpc| rpc.starts_with("/paceline.")).collect();
    assert_eq!(declared, listed);
}
