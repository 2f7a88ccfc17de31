//! The names of files: what is seen, what is safe, and the changes between the two, in order within a folder.

use std::collections::BTreeMap;
use std::fmt;

use paceline_replica::Folder;

use super::files::FileId;
use crate::draw::Draw;

type Map = BTreeMap<(Folder, String), FileId>;

/// A change of a folder that is not safe yet.
#[derive(Debug, Clone)]
pub enum Pending {
    Create { folder: Folder, name: String, id: FileId },
    Rename { folder: Folder, from: String, to: String },
    Remove { folder: Folder, name: String },
}

impl Pending {
    fn folder(&self) -> Folder {
        match self {
            Self::Create { folder, .. } | Self::Rename { folder, .. } | Self::Remove { folder, .. } => {
                *folder
            }
        }
    }

    fn apply(&self, names: &mut Map) {
        match self {
            Self::Create { folder, name, id } => {
                names.insert((*folder, name.clone()), *id);
            }
            Self::Rename { folder, from, to } => {
                if let Some(id) = names.remove(&(*folder, from.clone())) {
                    names.insert((*folder, to.clone()), id);
                }
            }
            Self::Remove { folder, name } => {
                names.remove(&(*folder, name.clone()));
            }
        }
    }
}

impl fmt::Display for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { folder, name, .. } => write!(f, "creation of {}", path(*folder, name)),
            Self::Rename { folder, from, to } => write!(f, "rename of {} to {to}", path(*folder, from)),
            Self::Remove { folder, name } => write!(f, "removal of {}", path(*folder, name)),
        }
    }
}

/// A file's name as people see it.
pub fn path(folder: Folder, name: &str) -> String {
    match folder {
        Folder::Root => name.to_owned(),
        Folder::Snapshots => format!("snapshots/{name}"),
    }
}

/// Every name of one disk.
#[derive(Debug, Clone, Default)]
pub struct Names {
    visible: Map,
    safe: Map,
    pending: Vec<Pending>,
}

impl Names {
    pub fn find(&self, folder: Folder, name: &str) -> Option<FileId> {
        self.visible.get(&(folder, name.to_owned())).copied()
    }

    pub fn change(&mut self, change: Pending) {
        change.apply(&mut self.visible);
        self.pending.push(change);
    }

    pub fn list(&self, folder: Folder) -> Vec<String> {
        let named = self.visible.keys().filter(|(at, _)| *at == folder);
        named.map(|(_, name)| name.clone()).collect()
    }

    pub fn all(&self) -> impl Iterator<Item = (Folder, &str, FileId)> {
        self.visible.iter().map(|((folder, name), id)| (*folder, name.as_str(), *id))
    }

    pub fn sync_folder(&mut self, folder: Folder) {
        for change in &self.pending {
            if change.folder() == folder {
                change.apply(&mut self.safe);
            }
        }
        self.pending.retain(|change| change.folder() != folder);
    }

    /// What a power cut leaves: in each folder a prefix of its changes. Returns those that are gone.
    pub fn cut(&mut self, draw: &mut Draw) -> Vec<Pending> {
        let pending = std::mem::take(&mut self.pending);
        let mut lost = Vec::new();
        for folder in [Folder::Root, Folder::Snapshots] {
            let changes: Vec<_> = pending.iter().filter(|change| change.folder() == folder).collect();
            let kept = draw.position(changes.len() + 1);
            for change in &changes[..kept] {
                change.apply(&mut self.safe);
            }
            lost.extend(changes[kept..].iter().map(|change| (*change).clone()));
        }
        self.visible = self.safe.clone();
        lost
    }

    /// The file's name as people see it.
    pub fn path_of(&self, id: FileId) -> String {
        let named = self.visible.iter().chain(&self.safe).find(|(_, named)| **named == id);
        named.map_or_else(|| "a removed file".into(), |((folder, name), _)| path(*folder, name))
    }

    pub fn names_file(&self, id: FileId) -> bool {
        self.visible.values().chain(self.safe.values()).any(|named| *named == id)
    }
}
