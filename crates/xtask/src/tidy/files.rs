//! Reads the text files of the tree. Knows which folders are not ours, nothing about what is in a file.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// A file of the tree.
#[derive(Debug)]
pub struct TextFile {
    /// Path from the root, with `/`.
    pub path: String,
    /// Its content.
    pub text: String,
}

impl TextFile {
    /// Whether it is Rust source.
    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }
}

/// Folders that hold no sources: git's own, and what a build in the clone leaves.
const SKIPPED: [&str; 2] = [".git", "target"];

/// Written by cargo, and full of the registry's name.
const GENERATED: &str = "Cargo.lock";

/// Every readable text file, sorted by path. Binary files (golden bytes) are left out.
pub fn read_tree(root: &Path) -> Result<Vec<TextFile>> {
    let mut files = Vec::new();
    collect(root, "", &mut files)?;
    files.sort_by(|left, right| left.path.cmp(&right.path));
    Ok(files)
}

fn collect(folder: &Path, prefix: &str, files: &mut Vec<TextFile>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("could not list {}", folder.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("could not list {}", folder.display()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        let kind = entry.file_type().with_context(|| format!("could not look at {path}"))?;
        if kind.is_dir() && !SKIPPED.contains(&name.as_str()) {
            collect(&entry.path(), &format!("{path}/"), files)?;
        } else if kind.is_file() && path != GENERATED {
            let bytes = fs::read(entry.path()).with_context(|| format!("could not read {path}"))?;
            if let Ok(text) = String::from_utf8(bytes) {
                files.push(TextFile { path, text });
            }
        }
    }
    Ok(())
}
