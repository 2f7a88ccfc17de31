//! Damage at rest: bits that flip, pages that read as zeros, ends that are missing, older copies that come back.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use paceline_replica::{Folder, Space};

use super::device::Device;
use super::keys;
use super::names::path;

/// What a device loses at once when a page of it goes.
const PAGE_BYTES: usize = 4096;

/// Something that can be damaged.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// A stored value.
    Value {
        /// Its key space.
        space: Space,
        /// Its key.
        key: Vec<u8>,
    },
    /// A file.
    File {
        /// Its folder.
        folder: Folder,
        /// Its name.
        name: String,
    },
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value { space: Space::Log, key } => match <[u8; 8]>::try_from(key.as_slice()) {
                Ok(index) => write!(f, "log entry {}", u64::from_be_bytes(index)),
                Err(_) => write!(f, "log key {key:?}"),
            },
            Self::Value { key, .. } => f.write_str(&String::from_utf8_lossy(key)),
            Self::File { folder, name } => f.write_str(&path(*folder, name)),
        }
    }
}

/// What is done to it. Positions are taken modulo the length.
#[derive(Debug, Clone)]
pub enum Damage {
    /// One bit flips.
    FlipBit {
        /// Which.
        bit: u64,
    },
    /// The end is missing.
    Truncate {
        /// How much stays.
        keep: u64,
    },
    /// A page reads as zeros.
    ZeroPage {
        /// Which.
        page: u64,
    },
    /// An older copy comes back.
    StaleCopy(RestPoint),
    /// It is gone.
    Vanish,
}

/// What was safe at some moment.
#[derive(Debug, Clone, Default)]
pub struct RestPoint {
    keys: keys::Map,
    files: BTreeMap<(Folder, String), Vec<u8>>,
}

impl Damage {
    /// The damaged content; `None` for gone.
    fn of(&self, target: &Target, content: &[u8]) -> Option<Vec<u8>> {
        let mut damaged = content.to_vec();
        let length = damaged.len().max(1) as u64;
        match self {
            Self::FlipBit { bit } => {
                let bit = bit % (length * 8);
                if let Some(byte) = damaged.get_mut((bit / 8) as usize) {
                    *byte ^= 1 << (bit % 8);
                }
            }
            Self::Truncate { keep } => damaged.truncate((keep % length) as usize),
            Self::ZeroPage { page } => {
                let pages = damaged.len().div_ceil(PAGE_BYTES).max(1) as u64;
                let from = (page % pages) as usize * PAGE_BYTES;
                let until = damaged.len().min(from + PAGE_BYTES);
                damaged[from..until].fill(0);
            }
            Self::StaleCopy(point) => return point.content(target).or(Some(damaged)),
            Self::Vanish => return None,
        }
        Some(damaged)
    }

    fn words(&self) -> String {
        match self {
            Self::FlipBit { bit } => format!("bit {bit} flipped in"),
            Self::Truncate { keep } => format!("cut off at {keep}:"),
            Self::ZeroPage { page } => format!("page {page} zeroed in"),
            Self::StaleCopy(_) => "older copy of".into(),
            Self::Vanish => "gone:".into(),
        }
    }
}

impl RestPoint {
    fn content(&self, target: &Target) -> Option<Vec<u8>> {
        match target {
            Target::Value { space, key } => self.keys.get(&(*space, key.clone())).map(|value| value.to_vec()),
            Target::File { folder, name } => self.files.get(&(*folder, name.clone())).cloned(),
        }
    }
}

impl Device {
    pub fn rest_point(&self) -> RestPoint {
        let files = self
            .names
            .all()
            .map(|(folder, name, id)| ((folder, name.to_owned()), self.files.get(id).safe.clone()));
        RestPoint { keys: self.keys.safe.clone(), files: files.collect() }
    }

    pub fn targets(&self) -> Vec<Target> {
        let values = self.keys.visible.keys();
        let values = values.map(|(space, key)| Target::Value { space: *space, key: key.clone() });
        let files = self.names.all();
        let files = files.map(|(folder, name, _)| Target::File { folder, name: name.to_owned() });
        values.chain(files).collect()
    }

    pub fn damage(&mut self, target: &Target, damage: &Damage) -> Option<String> {
        let changed = match target {
            Target::Value { space, key } => {
                let key = (*space, key.clone());
                let content = self.keys.visible.get(&key)?.clone();
                let damaged = damage.of(target, &content);
                for map in [&mut self.keys.visible, &mut self.keys.safe] {
                    match &damaged {
                        Some(damaged) => map.insert(key.clone(), Bytes::from(damaged.clone())),
                        None => map.remove(&key),
                    };
                }
                damaged.as_deref() != Some(&content[..])
            }
            Target::File { folder, name } => {
                let id = self.names.find(*folder, name)?;
                let content = self.files.get(id).visible.clone();
                match damage.of(target, &content) {
                    Some(damaged) => {
                        let changed = damaged != content;
                        let file = self.files.get_mut(id);
                        file.pending.clear();
                        (file.visible, file.safe) = (damaged.clone(), damaged);
                        changed
                    }
                    None => {
                        let removal = super::names::Pending::Remove { folder: *folder, name: name.clone() };
                        self.names.change(removal);
                        self.names.sync_folder(*folder);
                        true
                    }
                }
            }
        };
        changed.then(|| format!("{} {target}", damage.words()))
    }
}
