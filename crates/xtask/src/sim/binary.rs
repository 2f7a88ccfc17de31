//! The program that runs the seeds: built, its sources summed up, and set aside, so that a build during a long campaign
//! changes nothing under it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::sources::Sources;
use crate::command;
use crate::setup;
use crate::workspace::Workspace;

/// How it is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// As tests and demo are, so that nothing is compiled twice.
    Dev,
    /// For long campaigns: minutes of building, then more seeds an hour.
    Sim,
}

impl Profile {
    /// Cargo's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Sim => "sim",
        }
    }

    const fn folder(self) -> &'static str {
        match self {
            Self::Dev => "debug",
            Self::Sim => "sim",
        }
    }
}

/// Set aside for one campaign, and gone with it.
#[derive(Debug)]
pub struct Binary {
    pub path: PathBuf,
    pub profile: Profile,
    /// Hash of what it was built from.
    pub sources: String,
}

impl Binary {
    /// Builds it.
    pub fn build(workspace: &Workspace, profile: Profile) -> Result<Self> {
        let before = Sources::read(workspace)?;
        let environment = setup::ensure(workspace)?;
        let mut build = environment.cargo(workspace);
        match profile {
            // The packages of tests and demo; the one test brings the tests' features in, as for the demo.
            Profile::Dev => build.args(["build", "--workspace", "--locked", "--bins", "--test", "tree"]),
            Profile::Sim => {
                build.args(["build", "--profile", "sim", "--locked", "--package", "paceline-sim", "--bins"])
            }
        };
        command::run(&mut build)?;
        let binary = Self::of_last_build(workspace, profile)?;
        ensure!(binary.sources == before.hash, "sources were changed while they were built: start again");
        Ok(binary)
    }

    /// Takes the one that was just built from the sources as they are.
    pub fn of_last_build(workspace: &Workspace, profile: Profile) -> Result<Self> {
        let target = workspace.target_dir()?;
        let built = target.join(profile.folder()).join("paceline-sim");
        let sources = Sources::read(workspace)?;
        sources.cover_what_was_built(workspace, &built.with_extension("d"))?;
        let path = set_aside(&built, &target.join("simulation"))?;
        Ok(Self { path, profile, sources: sources.hash })
    }

    /// The lines of `points` or `plants` of a simulation.
    pub fn list(&self, what: &str, simulation: &str) -> Result<Vec<String>> {
        let text = command::stdout_of(Command::new(&self.path).args([what, simulation]))?;
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        ensure!(!lines.is_empty(), "the simulation names no {what} of {simulation}");
        Ok(lines)
    }
}

impl Drop for Binary {
    fn drop(&mut self) {
        // The next campaign clears away what is left.
        let _ = fs::remove_file(&self.path);
    }
}

/// Copies it under the number of this process; copies of processes that are gone go.
fn set_aside(built: &Path, folder: &Path) -> Result<PathBuf> {
    let shown = || format!("could not copy {} to {}", built.display(), folder.display());
    fs::create_dir_all(folder).with_context(shown)?;
    for entry in fs::read_dir(folder).with_context(shown)? {
        let path = entry.with_context(shown)?.path();
        let process = path.extension().and_then(|number| number.to_str()?.parse::<u32>().ok());
        if process.is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists()) {
            fs::remove_file(&path).with_context(shown)?;
        }
    }
    let copy = folder.join(format!("paceline-sim.{}", std::process::id()));
    fs::copy(built, &copy).with_context(shown)?;
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_of_this_process_and_those_of_dead_ones_are_cleared_away() {
        let folder = std::env::temp_dir().join(format!("paceline-aside-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        // No process has a number this high (pid_max is 2^22 at most).
        let (built, dead, living) =
            (folder.join("built"), folder.join("paceline-sim.4294967295"), folder.join("paceline-sim.1"));
        for path in [&built, &dead, &living] {
            fs::write(path, "x").unwrap();
        }
        let copy = set_aside(&built, &folder).unwrap();
        assert!(copy.exists() && built.exists() && living.exists() && !dead.exists());
        let binary = Binary { path: copy.clone(), profile: Profile::Dev, sources: String::new() };
        drop(binary);
        assert!(!copy.exists());
        fs::remove_dir_all(&folder).unwrap();
    }
}
