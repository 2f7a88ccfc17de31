//! Every metric of the table is set by some role: a line that nobody moves is a dashboard that lies.

#![allow(clippy::unwrap_used, reason = "a test binary: unwrap is its report")]

use std::fs;
use std::path::{Path, PathBuf};

use paceline_telemetry::TABLE;

/// The source of every crate but this one, without blanks, so that a chain over several lines reads as one.
fn sources() -> String {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned();
    let mut folders: Vec<PathBuf> = fs::read_dir(crates)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| !path.ends_with("telemetry"))
        .map(|path| path.join("src"))
        .filter(|path| path.is_dir())
        .collect();
    let mut text = String::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let source = fs::read_to_string(path).unwrap();
                text.extend(
                    source
                        .lines()
                        .filter(|line| !line.trim_start().starts_with("//"))
                        .flat_map(str::split_whitespace),
                );
            }
        }
    }
    text
}

/// Whether a role names the handle `PART.FIELD` and moves it, at once or under the field's own name as a variable.
fn is_moved(sources: &str, part: &str, field: &str) -> bool {
    let verbs = ["set(", "set_u64(", "add(", "inc(", "observe(", "advance_to(", "of("];
    let moves = |rest: &str| {
        rest.strip_prefix('.').is_some_and(|rest| verbs.iter().any(|verb| rest.starts_with(verb)))
    };
    let handle = format!("{part}.{field}");
    sources.match_indices(&handle).any(|(at, _)| {
        let whole_word = !sources[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let rest = &sources[at + handle.len()..];
        let bound = rest.starts_with(';')
            && rest.match_indices(field).any(|(at, _)| moves(&rest[at + field.len()..]));
        whole_word && (moves(rest) || bound)
    })
}

#[test]
fn every_metric_of_the_table_is_moved_by_a_role() {
    let sources = sources();
    let dead: Vec<&str> = TABLE
        .iter()
        .map(|line| line.name)
        // Set where certificates are looked at, and where messages are left out, which is in this crate.
        .filter(|name| !["paceline_identity_certificate_left_days", "paceline_link_skipped"].contains(name))
        .filter(|name| {
            let path = name.strip_prefix("paceline_").unwrap();
            let (part, field) = path.split_once('_').unwrap();
            !is_moved(&sources, part, field)
        })
        .collect();
    assert!(dead.is_empty(), "metrics that no role sets: {dead:?}");
    for call in [".observe_certificate(", ".observe_certificates(", ".skipped_messages("] {
        assert!(sources.contains(call), "{call}");
    }
}

#[test]
fn a_metric_that_is_only_mentioned_counts_as_dead() {
    assert!(is_moved("self.metrics.raft.term.set(1)", "raft", "term"));
    assert!(is_moved("letraft=&metrics.raft;raft.term.set(1)", "raft", "term"));
    assert!(is_moved("letterm=&metrics.raft.term;term.set(1)", "raft", "term"));
    assert!(!is_moved("letterm=&metrics.raft.term;term.value()", "raft", "term"));
    assert!(!is_moved("self.metrics.raft.term.value()", "raft", "term"));
    assert!(!is_moved("craft.term.set(1)", "raft", "term"));
    assert!(!is_moved("raft.terms.set(1)", "raft", "term"));
}
