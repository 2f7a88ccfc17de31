//! What has been shown so far, kept over sessions: a file for each state of the sources, a line for each chunk of seeds.
//!
//! It lies in the machine's cache folder, because it outlives clones and target folders there, and because it is true of
//! the sources whichever clone they lie in. It is not committed: each line would belong to sources that the commit itself
//! leaves behind. What is committed is the summary that `cargo xtask sim report` writes.
//!
//! A line is appended when its seeds have ended, so whatever ends a campaign takes no more than one chunk. A last line that
//! was torn is dropped.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::tally::Tally;
use crate::workspace;

/// States of the sources that are remembered: those of a few weeks of work. Older files go when a new one begins.
const FILES_MAX: usize = 64;

/// What the lines of one file say together.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Campaign {
    /// By the simulation's word.
    pub sweeps: BTreeMap<String, Tally>,
    /// What became of planted bugs, by simulation and name.
    pub mutants: BTreeMap<(String, String), Value>,
}

/// An open ledger; nobody else appends to it meanwhile.
#[derive(Debug)]
pub struct Ledger {
    file: File,
    path: PathBuf,
    sources: String,
    pub campaign: Campaign,
}

/// Where ledgers lie.
pub fn folder() -> Result<PathBuf> {
    Ok(workspace::cache_dir()?.join("simulation"))
}

impl Ledger {
    /// That of these sources, with what it says so far.
    pub fn open(folder: &Path, sources: &str) -> Result<Self> {
        let path = folder.join(format!("{sources}.jsonl"));
        let shown = || format!("the ledger {}", path.display());
        fs::create_dir_all(folder).with_context(shown)?;
        if !path.exists() {
            forget_oldest(folder, FILES_MAX - 1).with_context(shown)?;
        }
        let options = OpenOptions::new().read(true).append(true).create(true).clone();
        let mut file = options.open(&path).with_context(shown)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!("{}: another campaign appends to it", shown()),
            Err(TryLockError::Error(error)) => return Err(error).with_context(shown),
        }
        let mut text = String::new();
        file.read_to_string(&mut text).with_context(shown)?;
        let whole = whole_lines(&text);
        if whole.len() < text.len() {
            eprintln!("{}: its last line was torn and is dropped", shown());
            file.set_len(whole.len() as u64).with_context(shown)?;
            file.seek(SeekFrom::End(0)).with_context(shown)?;
        }
        let campaign = Campaign::parse(whole, sources).with_context(shown)?;
        Ok(Self { file, path, sources: sources.to_owned(), campaign })
    }

    /// A chunk of seeds has ended.
    pub fn append_seeds(&mut self, simulation: &str, profile: &str, chunk: &Tally) -> Result<()> {
        self.append(json!({
            "sources": self.sources, "simulation": simulation, "profile": profile, "tally": chunk.to_json(),
        }))
    }

    /// It is known what becomes of a planted bug.
    pub fn append_mutant(&mut self, simulation: &str, plant: &str, mutant: &Value) -> Result<()> {
        self.append(
            json!({ "sources": self.sources, "simulation": simulation, "plant": plant, "mutant": mutant }),
        )
    }

    fn append(&mut self, line: Value) -> Result<()> {
        self.campaign.add(&line, &self.sources)?;
        // One write, so that a reader beside us sees whole lines.
        let written = self.file.write_all(format!("{line}\n").as_bytes());
        written.with_context(|| format!("could not append to the ledger {}", self.path.display()))
    }
}

impl Campaign {
    /// What the ledger of these sources says, without a claim on it; nothing where there is none.
    pub fn read(folder: &Path, sources: &str) -> Result<Self> {
        let path = folder.join(format!("{sources}.jsonl"));
        match fs::read_to_string(&path) {
            Ok(text) => Self::parse(whole_lines(&text), sources),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error.into()),
        }
        .with_context(|| format!("the ledger {}", path.display()))
    }

    fn parse(text: &str, sources: &str) -> Result<Self> {
        let mut campaign = Self::default();
        for (at, line) in text.lines().enumerate() {
            let wrong = || format!("line {} cannot be read; delete the file to begin anew", at + 1);
            let line: Value = serde_json::from_str(line).with_context(wrong)?;
            campaign.add(&line, sources).with_context(wrong)?;
        }
        Ok(campaign)
    }

    fn add(&mut self, line: &Value, sources: &str) -> Result<()> {
        if line["sources"] != sources {
            bail!("`sources` is {}: {sources} is expected", line["sources"]);
        }
        let simulation = line["simulation"].as_str().context("`simulation` is missing")?.to_owned();
        match line["plant"].as_str() {
            Some(plant) => {
                self.mutants.insert((simulation, plant.to_owned()), line["mutant"].clone());
            }
            None => self.sweeps.entry(simulation).or_default().merge(&Tally::from_json(&line["tally"])?),
        }
        Ok(())
    }
}

fn whole_lines(text: &str) -> &str {
    &text[..text.rfind('\n').map_or(0, |at| at + 1)]
}

/// Deletes the ledgers that were longest not written to, until so many are left.
fn forget_oldest(folder: &Path, keep: usize) -> std::io::Result<()> {
    let mut ledgers: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.path().extension().is_some_and(|extension| extension == "jsonl") {
            ledgers.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    ledgers.sort();
    let surplus = ledgers.len().saturating_sub(keep);
    ledgers.iter().take(surplus).try_for_each(|(_, path)| fs::remove_file(path))
}

#[cfg(test)]
mod tests {
    use super::super::tally::tests::outcome;
    use super::*;

    /// A folder of one test, gone after it.
    struct Folder(PathBuf);

    impl Folder {
        fn new(test: &str) -> Self {
            let path = std::env::temp_dir().join(format!("paceline-ledger-{}-{test}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn chunk(seeds: impl IntoIterator<Item = u64>) -> Tally {
        let mut chunk = Tally::default();
        seeds.into_iter().for_each(|seed| chunk.add(&outcome(seed, "held", 5)));
        chunk
    }

    #[test]
    fn what_was_appended_is_there_at_the_next_opening_and_only_for_these_sources() {
        let folder = Folder::new("reopen");
        let mut ledger = Ledger::open(&folder.0, "aa").unwrap();
        assert_eq!(ledger.campaign, Campaign::default());
        ledger.append_seeds("cell", "dev", &chunk(1..=50)).unwrap();
        ledger.append_seeds("cell", "sim", &chunk(51..=60)).unwrap();
        ledger.append_seeds("consensus", "dev", &chunk([7])).unwrap();
        ledger.append_mutant("cell", "bug", &json!({"caught": 3})).unwrap();
        let said = ledger.campaign.clone();
        drop(ledger);
        let again = Ledger::open(&folder.0, "aa").unwrap();
        assert_eq!(again.campaign, said);
        assert_eq!(again.campaign.sweeps["cell"].seeds.to_string(), "1-60");
        assert_eq!(again.campaign.sweeps["consensus"].held(), 1);
        assert_eq!(again.campaign.mutants[&("cell".into(), "bug".into())]["caught"], 3);
        assert_eq!(Campaign::read(&folder.0, "aa").unwrap(), said);
        assert_eq!(Campaign::read(&folder.0, "ab").unwrap(), Campaign::default());
        assert_eq!(Ledger::open(&folder.0, "ab").unwrap().campaign, Campaign::default());
    }

    #[test]
    fn two_campaigns_do_not_append_to_one_ledger() {
        let folder = Folder::new("lock");
        let first = Ledger::open(&folder.0, "aa").unwrap();
        let error = format!("{:#}", Ledger::open(&folder.0, "aa").unwrap_err());
        assert!(error.contains("another campaign"), "{error}");
        drop(first);
        assert!(Ledger::open(&folder.0, "aa").is_ok());
    }

    #[test]
    fn a_torn_last_line_is_dropped_and_a_damaged_one_is_named() {
        let folder = Folder::new("torn");
        let path = folder.0.join("aa.jsonl");
        Ledger::open(&folder.0, "aa").unwrap().append_seeds("cell", "dev", &chunk([1])).unwrap();
        let whole = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{whole}{}", &whole[..whole.len() / 2])).unwrap();
        let mut ledger = Ledger::open(&folder.0, "aa").unwrap();
        ledger.append_seeds("cell", "dev", &chunk([2])).unwrap();
        drop(ledger);
        let read = Campaign::read(&folder.0, "aa").unwrap();
        assert_eq!(read.sweeps["cell"].seeds.to_string(), "1-2");
        for damage in ["{}\n", "x\n", &whole.replace("\"aa\"", "\"bb\""), &whole.replace("seeds", "needs")] {
            fs::write(&path, format!("{whole}{damage}{whole}")).unwrap();
            let error = format!("{:#}", Ledger::open(&folder.0, "aa").unwrap_err());
            assert!(error.contains("line 2") && error.contains("aa.jsonl"), "{error}");
        }
    }

    #[test]
    fn the_oldest_ledgers_are_forgotten() {
        let folder = Folder::new("old");
        for name in ["aa", "bb", "cc"] {
            let ledger = Ledger::open(&folder.0, name).unwrap();
            let age = std::time::Duration::from_secs(if name == "bb" { 9_000 } else { 10 });
            ledger.file.set_modified(SystemTime::now() - age).unwrap();
        }
        fs::write(folder.0.join("other"), "x").unwrap();
        forget_oldest(&folder.0, 2).unwrap();
        let there = |name: &str| folder.0.join(name).exists();
        assert!(there("aa.jsonl") && !there("bb.jsonl") && there("cc.jsonl") && there("other"));
    }
}
