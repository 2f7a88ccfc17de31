//! The pure crates stay pure: no dependency that brings a clock, randomness, threads or I/O, a
//! crate-local `clippy.toml` that bans them, and none of their names in the sources.
//!
//! Clippy resolves names and is the real check, but only `cargo xtask ci` runs it; reading the text
//! costs nothing and runs with the tests. Test code is left alone.

use super::arrows::Crates;
use super::files::TextFile;

/// Crates that decide and do nothing. Those that do not exist yet are skipped.
const PURE: [&str; 8] = ["types", "rules", "cell", "schedule", "link", "fairshare", "placement", "verify"];

/// Packages, by the start of their names, that have no place in a pure crate.
const IMPURE_PACKAGES: [&str; 24] = [
    "async-",
    "chrono",
    "crossbeam",
    "fastrand",
    "futures",
    "getrandom",
    "hyper",
    "jiff",
    "libc",
    "mio",
    "openraft",
    "parking_lot",
    "rand",
    "rayon",
    "reqwest",
    "rocksdb",
    "rustix",
    "signal-hook",
    "socket2",
    "tempfile",
    "time",
    "tokio",
    "tonic",
    "uuid",
];

/// Paths that the crate-local `clippy.toml` must ban at least.
const BANNED_PATHS: [&str; 6] = [
    "std::time::Instant::now",
    "std::time::SystemTime::now",
    "std::thread::spawn",
    "std::env::var",
    "std::collections::HashMap",
    "std::collections::HashSet",
];

/// Text that a pure source does not contain outside comments and tests.
const BANNED_TEXT: [&str; 11] = [
    "Instant::now",
    "SystemTime::now",
    "thread::spawn",
    "std::fs",
    "std::env",
    "std::net",
    "std::process",
    "HashMap",
    "HashSet",
    "async fn",
    "println!",
];

/// What keeps something between two calls, so that the same input could give another answer.
const KEPT_BETWEEN_CALLS: [&str; 4] = ["thread_local!", "OnceLock", "LazyLock", "Atomic"];

/// The one pure file that keeps something: the switch of planted bugs, which no build of the product has. And atomics
/// are how placement shares its columns.
const MAY_KEEP: [&str; 2] = ["crates/types/src/plant.rs", "crates/placement/"];

/// The workspace's settings; clippy reads only the nearest file, so each local one must repeat them.
const SHARED_SETTINGS: &str = ".clippy.toml";

/// What is impure about the pure crates.
pub fn problems(files: &[TextFile], crates: &Crates) -> Vec<String> {
    let mut problems = Vec::new();
    for (name, dependencies) in crates.iter().filter(|(name, _)| PURE.contains(&name.as_str())) {
        let impure = dependencies.foreign.iter().filter(|package| is_impure(package));
        problems.extend(impure.map(|package| format!("pure crate `{name}` depends on {package}")));
        problems.extend(settings_problems(files, name));
        let sources = format!("crates/{name}/src/");
        let sources = files.iter().filter(|file| file.is_rust() && file.path.starts_with(&sources));
        problems.extend(sources.flat_map(source_problems));
    }
    problems
}

fn is_impure(package: &str) -> bool {
    IMPURE_PACKAGES.iter().any(|start| package.starts_with(start))
}

fn settings_problems(files: &[TextFile], name: &str) -> Vec<String> {
    let path = format!("crates/{name}/clippy.toml");
    let Some(local) = files.iter().find(|file| file.path == path) else {
        return vec![format!("pure crate `{name}` has no clippy.toml")];
    };
    let shared = files.iter().find(|file| file.path == SHARED_SETTINGS).map_or("", |file| &file.text);
    let settings = shared.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let repeated = settings
        .filter(|setting| !local.text.lines().any(|line| line == *setting))
        .map(|setting| format!("{path} does not repeat `{setting}` of {SHARED_SETTINGS}"));
    let banned = BANNED_PATHS
        .iter()
        .filter(|banned| !local.text.contains(&format!("\"{banned}\"")))
        .map(|banned| format!("{path} does not ban {banned}"));
    repeated.chain(banned).collect()
}

fn source_problems(file: &TextFile) -> Vec<String> {
    if file.path.ends_with("/tests.rs") || file.path.contains("/tests/") {
        return Vec::new();
    }
    let mut problems = Vec::new();
    let code = file.text.lines().enumerate().take_while(|(_, line)| line.trim() != "#[cfg(test)]");
    let keeps = MAY_KEEP.iter().any(|path| file.path.starts_with(path));
    let kept: &[&str] = if keeps { &[] } else { &KEPT_BETWEEN_CALLS };
    for (number, line) in code.filter(|(_, line)| !line.trim_start().starts_with("//")) {
        for banned in BANNED_TEXT.iter().chain(kept).filter(|banned| line.contains(**banned)) {
            problems.push(format!("{}:{}: `{banned}` in a pure crate", file.path, number + 1));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::super::arrows::Dependencies;
    use super::*;

    fn file(path: &str, text: &str) -> TextFile {
        TextFile { path: path.into(), text: text.into() }
    }

    fn complete_settings() -> String {
        let paths: String = BANNED_PATHS.iter().map(|path| format!("{{ path = \"{path}\" }},\n")).collect();
        format!("allow-unwrap-in-tests = true\n{paths}")
    }

    fn cell_with(dependency: &str) -> Crates {
        let foreign = [dependency.to_owned()].into();
        Crates::from([("cell".to_owned(), Dependencies { foreign, ..Default::default() })])
    }

    #[test]
    fn a_clean_pure_crate_has_no_problem() {
        let files = [
            file(SHARED_SETTINGS, "# why\nallow-unwrap-in-tests = true\n"),
            file("crates/cell/clippy.toml", &complete_settings()),
            file(
                "crates/cell/src/lib.rs",
                "//! no HashMap\nfn f() {}\n#[cfg(test)]\nmod tests { /* HashMap */ }\n",
            ),
        ];
        assert_eq!(problems(&files, &cell_with("imbl")), Vec::<String>::new());
    }

    #[test]
    fn impure_packages_settings_and_sources_are_named() {
        let files = [
            file(SHARED_SETTINGS, "allow-unwrap-in-tests = true\n"),
            file("crates/cell/clippy.toml", "disallowed-methods = []\n"),
            file("crates/cell/src/lib.rs", "//! x\nuse std::collections::HashMap;\n"),
        ];
        let problems = problems(&files, &cell_with("tokio-stream"));
        assert_eq!(problems.len(), 1 + 1 + BANNED_PATHS.len() + 1, "{problems:#?}");
        assert!(problems.contains(&"crates/cell/src/lib.rs:2: `HashMap` in a pure crate".to_owned()));
    }

    #[test]
    fn nothing_is_kept_between_calls_but_which_bug_is_planted() {
        let text = "//! x\nstatic KEPT: AtomicU8 = AtomicU8::new(0);\n";
        let files = ["crates/types/src/plant.rs", "crates/types/src/other.rs"].map(|path| file(path, text));
        let problems: Vec<_> = files.iter().flat_map(source_problems).collect();
        assert_eq!(problems, ["crates/types/src/other.rs:2: `Atomic` in a pure crate"]);
    }

    #[test]
    fn only_pure_crates_are_looked_at() {
        let crates = Crates::from([("master".to_owned(), Dependencies::default())]);
        assert!(problems(&[file("crates/master/src/lib.rs", "use std::fs;\n")], &crates).is_empty());
    }
}
