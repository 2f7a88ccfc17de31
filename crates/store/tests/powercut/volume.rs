//! A file system in memory that keeps apart what is durable and what a power cut may take.
//!
//! A write is durable once its file was synced, a name once its folder was synced: what POSIX promises and no more.
//! What is pending is kept in order, and [`Volume::after_cut`] says which of it survived.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Context, Result};

use crate::machine::hash_of;
use crate::random::Random;

/// What a disk writes whole or not at all.
const SECTOR_BYTES: u64 = 512;
/// What a file system writes back on its own.
const PAGE_BYTES: u64 = 4096;

/// A file or folder, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(usize);

/// Names and contents that a person would find after the power is back.
pub type Tree = BTreeMap<String, Node>;

/// What is under a name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Node {
    Folder,
    File(Arc<Vec<u8>>),
}

/// What survived of what was pending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Survival {
    /// Only what was synced.
    Nothing,
    /// Everything.
    Everything,
    /// All names and no content: files are there and empty.
    NamesOnly,
    /// All content and no names.
    ContentOnly,
    /// All up to some moment.
    Prefix(u64),
    /// Everything, but the last write only up to a sector; the rest of it is absent, or zeros.
    Torn { seed: u64, zeros: bool },
    /// Of each file all up to a moment of its own; and of the names.
    Reordered(u64),
    /// Of each file some pages and not others.
    Pages(u64),
}

#[derive(Debug, Clone)]
enum Pending {
    Write { file: FileId, at: u64, content: Arc<[u8]> },
    Truncate { file: FileId, length: u64 },
    Name(Naming),
}

#[derive(Debug, Clone)]
enum Naming {
    Set { name: String, file: FileId },
    Move { from: String, to: String },
    Remove { name: String },
}

#[derive(Debug, Clone)]
struct File {
    folder: bool,
    durable: Arc<Vec<u8>>,
    /// The length that the process sees.
    length: u64,
}

/// The file system.
#[derive(Debug, Clone)]
pub struct Volume {
    files: Vec<File>,
    names: BTreeMap<String, FileId>,
    durable_names: BTreeMap<String, FileId>,
    pending: Vec<Pending>,
}

impl Default for Volume {
    /// The recorded folder itself is there.
    fn default() -> Self {
        let root = File { folder: true, durable: Arc::default(), length: 0 };
        let names = BTreeMap::from([(String::new(), FileId(0))]);
        Self { files: vec![root], durable_names: names.clone(), names, pending: Vec::new() }
    }
}

fn parent(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(parent, _)| parent)
}

impl Naming {
    fn is_in(&self, folder: &str) -> bool {
        match self {
            Naming::Set { name, .. } | Naming::Remove { name } => parent(name) == folder,
            Naming::Move { from, to } => parent(from) == folder || parent(to) == folder,
        }
    }

    fn apply(&self, names: &mut BTreeMap<String, FileId>) {
        match self {
            Naming::Set { name, file } => drop(names.insert(name.clone(), *file)),
            Naming::Move { from, to } => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
            Naming::Remove { name } => drop(names.remove(name)),
        }
    }
}

impl Volume {
    /// What is found after the power is back, all of it durable.
    pub fn of(tree: &Tree) -> Self {
        let mut volume = Self::default();
        for (name, node) in tree.iter().filter(|(name, _)| !name.is_empty()) {
            let (folder, durable) = match node {
                Node::Folder => (true, Arc::default()),
                Node::File(content) => (false, Arc::clone(content)),
            };
            volume.names.insert(name.clone(), FileId(volume.files.len()));
            volume.files.push(File { folder, length: durable.len() as u64, durable });
        }
        volume.durable_names = volume.names.clone();
        volume
    }

    pub fn find(&self, name: &str) -> Option<FileId> {
        self.names.get(name).copied()
    }

    pub fn names_of(&self, file: FileId) -> impl Iterator<Item = &str> {
        self.names.iter().filter(move |(_, of)| **of == file).map(|(name, _)| name.as_str())
    }

    pub fn length(&self, file: FileId) -> u64 {
        self.files[file.0].length
    }

    /// Whether a power cut could take a write to this file.
    pub fn has_unsynced_write(&self, file: FileId) -> bool {
        self.pending.iter().any(|change| matches!(change, Pending::Write { file: of, .. } if *of == file))
    }

    /// How much a power cut could take now.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    pub fn create(&mut self, name: &str) -> FileId {
        self.add(name, false)
    }

    pub fn make_folder(&mut self, name: &str) {
        self.add(name, true);
    }

    fn add(&mut self, name: &str, folder: bool) -> FileId {
        let file = FileId(self.files.len());
        self.files.push(File { folder, durable: Arc::default(), length: 0 });
        self.naming(Naming::Set { name: name.to_owned(), file });
        file
    }

    fn naming(&mut self, naming: Naming) {
        naming.apply(&mut self.names);
        self.pending.push(Pending::Name(naming));
    }

    pub fn rename(&mut self, from: &str, to: &str) -> Result<()> {
        self.find(from).with_context(|| format!("{from} was renamed and is not there"))?;
        self.naming(Naming::Move { from: from.to_owned(), to: to.to_owned() });
        Ok(())
    }

    pub fn link(&mut self, from: &str, to: &str) -> Result<()> {
        let file = self.find(from).with_context(|| format!("{from} was linked and is not there"))?;
        self.naming(Naming::Set { name: to.to_owned(), file });
        Ok(())
    }

    pub fn remove(&mut self, name: &str) -> Result<()> {
        self.find(name).with_context(|| format!("{name} was removed and is not there"))?;
        self.naming(Naming::Remove { name: name.to_owned() });
        Ok(())
    }

    pub fn write(&mut self, file: FileId, at: u64, content: &[u8]) {
        let length = &mut self.files[file.0].length;
        *length = (*length).max(at + content.len() as u64);
        self.pending.push(Pending::Write { file, at, content: content.into() });
    }

    pub fn truncate(&mut self, file: FileId, length: u64) {
        self.files[file.0].length = length;
        self.pending.push(Pending::Truncate { file, length });
    }

    /// Of a file: its content. Of a folder: the names in it.
    pub fn sync(&mut self, file: FileId) {
        let pending = std::mem::take(&mut self.pending);
        let folder = self.files[file.0].folder.then(|| {
            let named = self.names.iter().find(|(_, at)| **at == file);
            named.map_or_else(String::new, |(name, _)| name.clone())
        });
        let mut durable = Arc::clone(&self.files[file.0].durable);
        for change in pending {
            match &change {
                Pending::Name(naming) if folder.as_ref().is_some_and(|folder| naming.is_in(folder)) => {
                    naming.apply(&mut self.durable_names);
                }
                Pending::Write { file: of, .. } | Pending::Truncate { file: of, .. } if *of == file => {
                    change.apply(Arc::make_mut(&mut durable));
                }
                _ => self.pending.push(change),
            }
        }
        self.files[file.0].durable = durable;
    }

    /// What is there after the power was cut now.
    pub fn after_cut(&self, survival: Survival) -> Tree {
        let survivors = self.survivors(survival);
        let mut names = self.durable_names.clone();
        let mut contents: BTreeMap<FileId, Arc<Vec<u8>>> = BTreeMap::new();
        for change in &survivors {
            match change {
                Pending::Name(naming) => naming.apply(&mut names),
                Pending::Write { file, .. } | Pending::Truncate { file, .. } => {
                    let content = contents.entry(*file).or_insert_with(|| self.files[file.0].durable.clone());
                    change.apply(Arc::make_mut(content));
                }
            }
        }
        self.tree(&names, &contents)
    }

    fn tree(&self, names: &BTreeMap<String, FileId>, contents: &BTreeMap<FileId, Arc<Vec<u8>>>) -> Tree {
        let folders: BTreeSet<&str> = names
            .iter()
            .filter(|(_, file)| self.files[file.0].folder)
            .map(|(name, _)| name.as_str())
            .collect();
        // What lies in a folder whose own name did not survive cannot be reached.
        let reachable = |name: &str| {
            let mut at = name;
            while !at.is_empty() {
                at = parent(at);
                if !folders.contains(at) {
                    return false;
                }
            }
            true
        };
        let reached = names.iter().filter(|(name, _)| reachable(name));
        let nodes = reached.map(|(name, file)| {
            let of = &self.files[file.0];
            let content = contents.get(file).unwrap_or(&of.durable).clone();
            (name.clone(), if of.folder { Node::Folder } else { Node::File(content) })
        });
        nodes.collect()
    }

    fn survivors(&self, survival: Survival) -> Vec<Pending> {
        let all = &self.pending;
        let keep =
            |wanted: &dyn Fn(&Pending) -> bool| all.iter().filter(|change| wanted(change)).cloned().collect();
        match survival {
            Survival::Nothing => Vec::new(),
            Survival::Everything => all.clone(),
            Survival::NamesOnly => keep(&|change| change.file().is_none()),
            Survival::ContentOnly => keep(&|change| change.file().is_some()),
            Survival::Prefix(seed) => {
                let length = Random::new(seed).below(all.len() as u64 + 1) as usize;
                all[..length].to_vec()
            }
            Survival::Torn { seed, zeros } => torn(all.clone(), seed, zeros),
            Survival::Reordered(seed) => self.reordered(seed),
            Survival::Pages(seed) => pages(all, seed),
        }
    }

    fn reordered(&self, seed: u64) -> Vec<Pending> {
        let mut counts: BTreeMap<Option<FileId>, u64> = BTreeMap::new();
        for change in &self.pending {
            *counts.entry(change.file()).or_default() += 1;
        }
        let mut random = Random::new(seed);
        let mut left: BTreeMap<_, _> =
            counts.into_iter().map(|(file, count)| (file, random.below(count + 1))).collect();
        let survives = |change: &&Pending| {
            let left = left.entry(change.file()).or_default();
            let survives = *left > 0;
            *left = left.saturating_sub(1);
            survives
        };
        self.pending.iter().filter(survives).cloned().collect()
    }
}

impl Pending {
    /// The file whose content it changes; names have none.
    fn file(&self) -> Option<FileId> {
        match self {
            Pending::Write { file, .. } | Pending::Truncate { file, .. } => Some(*file),
            Pending::Name(_) => None,
        }
    }

    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Pending::Write { at, content: written, .. } => {
                let (from, to) = (*at as usize, *at as usize + written.len());
                if content.len() < to {
                    content.resize(to, 0);
                }
                content[from..to].copy_from_slice(written);
            }
            Pending::Truncate { length, .. } => content.resize(*length as usize, 0),
            Pending::Name(_) => {}
        }
    }
}

fn torn(mut all: Vec<Pending>, seed: u64, zeros: bool) -> Vec<Pending> {
    let last = all.iter_mut().rev().find_map(|change| match change {
        Pending::Write { at, content, .. } => Some((*at, content)),
        _ => None,
    });
    if let Some((at, content)) = last {
        let end = at + content.len() as u64;
        // Whole sectors survive, so it ends at one of their bounds within the write, or at its very beginning.
        let bounds: Vec<u64> =
            (at / SECTOR_BYTES + 1..=(end - 1) / SECTOR_BYTES).map(|of| of * SECTOR_BYTES).collect();
        let cut = match Random::new(seed).below(bounds.len() as u64 + 1) as usize {
            0 => at,
            nth => bounds[nth - 1],
        };
        let mut survived = content[..(cut - at) as usize].to_vec();
        if zeros {
            survived.resize(content.len(), 0);
        }
        *content = survived.into();
    }
    all
}

/// Cuts every write at pages, and lets each page of a file survive or not, up to a moment of its own.
fn pages(all: &[Pending], seed: u64) -> Vec<Pending> {
    let mut survivors = Vec::new();
    for change in all {
        match change {
            Pending::Write { file, at, content } => {
                let mut from = *at;
                let end = at + content.len() as u64;
                while from < end {
                    let to = end.min((from / PAGE_BYTES + 1) * PAGE_BYTES);
                    if hash_of((seed, file, from / PAGE_BYTES)).is_multiple_of(2) {
                        let piece = &content[(from - at) as usize..(to - at) as usize];
                        survivors.push(Pending::Write { file: *file, at: from, content: piece.into() });
                    }
                    from = to;
                }
            }
            other => survivors.push(other.clone()),
        }
    }
    survivors
}
