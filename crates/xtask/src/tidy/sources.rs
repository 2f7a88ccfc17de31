//! Rules for single files: the opening comment, the length, text that must not be there.
//!
//! The forbidden texts are put together from halves, so that this file passes its own check.

use super::files::TextFile;

/// A longer file does two things; see the house style. Above it the check fails.
const LINES_MAX: usize = 700;
/// Above it the file is named, so that it is split before it must be.
const LINES_NOTED: usize = 500;

/// Text that may stand in no file: folders of somebody's machine and the hosts of package registries.
const FORBIDDEN_ANYWHERE: [(&str, &str); 11] = [
    ("/ro", "ot/"),
    ("/wo", "rk/"),
    ("/var/cac", "he/paceline"),
    ("index.crat", "es.io"),
    ("static.crat", "es.io"),
    ("py", "pi.org"),
    ("pythonhos", "ted.org"),
    ("registry.np", "mjs.org"),
    ("deb.deb", "ian.org"),
    ("archive.ubu", "ntu.com"),
    ("proxy.gol", "ang.org"),
];

/// Text that may stand in no Rust file: what is unfinished or switched off.
const FORBIDDEN_IN_RUST: [(&str, &str); 5] =
    [("tod", "o!("), ("unimple", "mented!("), ("#[ign", "ore"), ("TO", "DO"), ("FIX", "ME")];

/// Every file that breaks a rule, with its line where there is one.
pub fn problems(files: &[TextFile]) -> Vec<String> {
    files.iter().flat_map(problems_of).collect()
}

/// Files that are still allowed but near the limit.
pub fn notes(files: &[TextFile]) -> Vec<String> {
    let long = files.iter().filter(|file| file.is_rust()).map(|file| (file, file.text.lines().count()));
    long.filter(|(_, lines)| (LINES_NOTED + 1..=LINES_MAX).contains(lines))
        .map(|(file, lines)| format!("{} has {lines} lines (limit {LINES_MAX})", file.path))
        .collect()
}

fn problems_of(file: &TextFile) -> Vec<String> {
    let mut problems = Vec::new();
    if file.is_rust() {
        if !file.text.starts_with("//!") {
            problems.push(format!("{} does not begin with `//!`", file.path));
        }
        let lines = file.text.lines().count();
        if lines > LINES_MAX {
            problems.push(format!("{} has {lines} lines, the limit is {LINES_MAX}", file.path));
        }
    }
    for (number, line) in file.text.lines().enumerate() {
        for found in forbidden_in(line, file.is_rust()) {
            problems.push(format!("{}:{} contains `{found}`", file.path, number + 1));
        }
    }
    problems
}

fn forbidden_in(line: &str, rust: bool) -> Vec<String> {
    let in_rust: &[(&str, &str)] = if rust { &FORBIDDEN_IN_RUST } else { &[] };
    let needles = FORBIDDEN_ANYWHERE.iter().chain(in_rust).map(|(start, end)| format!("{start}{end}"));
    let mut found: Vec<String> = needles.filter(|needle| contains(line, needle)).collect();
    let home = ["/ho", "me/"].concat();
    // The bare word may be explained; a name after it is somebody's folder.
    let named = |at: usize| line[at + home.len()..].starts_with(|first: char| first.is_ascii_alphanumeric());
    if line.match_indices(&home).any(|(at, _)| begins_path(line, at) && named(at)) {
        found.push(home);
    }
    found
}

/// A path counts only where it begins: the same folder name inside a longer path is another folder.
fn contains(line: &str, needle: &str) -> bool {
    line.match_indices(needle).any(|(at, _)| !needle.starts_with('/') || begins_path(line, at))
}

fn begins_path(line: &str, at: usize) -> bool {
    !line[..at].ends_with(|last: char| last.is_ascii_alphanumeric() || "-_.~})".contains(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: String) -> TextFile {
        TextFile { path: path.into(), text }
    }

    #[test]
    fn a_source_without_its_opening_comment_is_named() {
        let problems = problems(&[file("a.rs", "use std::fs;\n".into()), file("b.rs", "//! fine\n".into())]);
        assert_eq!(problems, ["a.rs does not begin with `//!`"]);
    }

    #[test]
    fn length_is_noted_first_and_refused_later() {
        let of_lines = |lines: usize| [file("a.rs", "//! x\n".repeat(lines))];
        assert!(notes(&of_lines(LINES_NOTED)).is_empty() && problems(&of_lines(LINES_NOTED)).is_empty());
        assert_eq!(notes(&of_lines(LINES_MAX)).len(), 1);
        assert!(problems(&of_lines(LINES_MAX)).is_empty());
        assert_eq!(problems(&of_lines(LINES_MAX + 1)).len(), 1);
    }

    #[test]
    fn every_forbidden_text_is_found_with_its_line() {
        for (start, end) in FORBIDDEN_ANYWHERE {
            let text = format!("fine\nsee {start}{end}x\n");
            let problems = problems(&[file("a.md", text)]);
            assert_eq!(problems.len(), 1, "{start}{end}");
            assert!(problems[0].starts_with("a.md:2 "), "{}", problems[0]);
        }
        for (start, end) in FORBIDDEN_IN_RUST {
            let text = format!("//! x\n{start}{end}\n");
            assert_eq!(problems(&[file("a.rs", text.clone())]).len(), 1, "{start}{end}");
            assert!(problems(&[file("a.md", text)]).is_empty(), "{start}{end} may stand in prose");
        }
    }

    #[test]
    fn somebodys_home_is_found_but_not_the_bare_word() {
        let home = ["/ho", "me/"].concat();
        assert_eq!(problems(&[file("a.md", format!("{home}ann/x"))]).len(), 1);
        assert!(problems(&[file("a.md", format!("everything under {home} is"))]).is_empty());
    }

    #[test]
    fn a_folder_of_that_name_inside_another_path_is_not_meant() {
        for (start, end) in FORBIDDEN_ANYWHERE.iter().filter(|(start, _)| start.starts_with('/')) {
            assert!(problems(&[file("a.md", format!("prod{start}{end}n1"))]).is_empty(), "{start}{end}");
        }
    }
}
