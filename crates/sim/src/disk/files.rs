//! The bytes of files: what is seen, what is safe, and the writes between the two, a sector at a time.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::SECTOR_BYTES;
use crate::draw::Draw;

/// A file, whatever its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(u64);

/// A change that is not safe yet.
#[derive(Debug, Clone)]
pub enum Pending {
    /// Bytes at an offset.
    Write {
        /// Where they begin.
        at: usize,
        /// What they are.
        bytes: Vec<u8>,
    },
    /// The file was emptied.
    Truncate,
}

/// One file.
#[derive(Debug, Clone, Default)]
pub struct File {
    pub visible: Vec<u8>,
    pub safe: Vec<u8>,
    pub pending: Vec<Pending>,
}

/// How the pending writes of one file fare at a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    None,
    All,
    /// The first sectors in the order of writing.
    Prefix,
    /// Each sector by itself: later ones survive where earlier ones do not.
    Scattered,
}

impl File {
    fn write(&mut self, at: usize, bytes: &[u8]) {
        put(&mut self.visible, at, bytes);
        self.pending.push(Pending::Write { at, bytes: bytes.to_vec() });
    }

    fn truncate(&mut self) {
        self.visible.clear();
        self.pending.push(Pending::Truncate);
    }

    fn sync(&mut self) {
        for pending in self.pending.drain(..) {
            match pending {
                Pending::Write { at, bytes } => put(&mut self.safe, at, &bytes),
                Pending::Truncate => self.safe.clear(),
            }
        }
    }

    /// What a power cut leaves, and how many pending sectors there were and survived.
    pub fn cut(&mut self, draw: &mut Draw) -> (usize, usize) {
        let pending = std::mem::take(&mut self.pending);
        // A truncation that did not survive takes everything after it along.
        let truncations = pending.iter().filter(|change| matches!(change, Pending::Truncate)).count();
        let survived = draw.position(truncations + 1);
        let (mut sectors, mut kept, mut seen) = (0, 0, 0);
        let fate = draw.one_of(&[Fate::None, Fate::All, Fate::Prefix, Fate::Scattered]);
        let mut prefix_ended = false;
        for change in pending {
            match change {
                Pending::Truncate => {
                    seen += 1;
                    if seen <= survived {
                        self.safe.clear();
                    }
                }
                Pending::Write { at, bytes } => {
                    for (at, piece) in pieces(at, &bytes) {
                        sectors += 1;
                        prefix_ended |= fate == Fate::Prefix && draw.chance(250);
                        let survives = seen <= survived
                            && match fate {
                                Fate::None => false,
                                Fate::All => true,
                                Fate::Prefix => !prefix_ended,
                                Fate::Scattered => draw.chance(500),
                            };
                        if survives {
                            put(&mut self.safe, at, piece);
                            kept += 1;
                        }
                    }
                }
            }
        }
        let grown = self.visible.len().saturating_sub(self.safe.len());
        if fate != Fate::None && survived == truncations && grown > 0 && draw.chance(500) {
            // The length is metadata of its own and may be ahead of the bytes.
            self.safe.resize(self.safe.len() + draw.position(grown + 1), 0);
        }
        self.visible = self.safe.clone();
        (sectors, kept)
    }
}

fn put(content: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = at + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[at..end].copy_from_slice(bytes);
}

/// A write as the disk sees it: split where sectors end.
fn pieces(at: usize, bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut from = 0;
    std::iter::from_fn(move || {
        if from >= bytes.len() {
            return None;
        }
        let start = at + from;
        let until = bytes.len().min(from + SECTOR_BYTES - start % SECTOR_BYTES);
        let piece = &bytes[from..until];
        from = until;
        Some((start, piece))
    })
}

/// Every file of one disk.
#[derive(Debug, Clone, Default)]
pub struct Files {
    files: BTreeMap<FileId, File>,
    minted: u64,
}

impl Files {
    pub fn create(&mut self) -> FileId {
        self.minted += 1;
        let id = FileId(self.minted);
        self.files.insert(id, File::default());
        id
    }

    pub fn write(&mut self, id: FileId, at: usize, bytes: &[u8]) {
        self.get_mut(id).write(at, bytes);
    }

    pub fn truncate(&mut self, id: FileId) {
        self.get_mut(id).truncate();
    }

    pub fn read(&self, id: FileId, offset_bytes: u64, max_bytes: usize) -> Bytes {
        let content = &self.get(id).visible;
        let start = usize::try_from(offset_bytes).unwrap_or(usize::MAX).min(content.len());
        let end = start.saturating_add(max_bytes).min(content.len());
        Bytes::copy_from_slice(&content[start..end])
    }

    pub fn length_bytes(&self, id: FileId) -> u64 {
        self.get(id).visible.len() as u64
    }

    pub fn sync(&mut self, id: FileId) {
        self.get_mut(id).sync();
    }

    /// A sync that failed: some of what it was to save is safe, and nobody will ever save the rest.
    pub fn sync_failed(&mut self, id: FileId, draw: &mut Draw) {
        let file = self.get_mut(id);
        let visible = file.visible.clone();
        file.cut(draw);
        file.visible = visible;
    }

    pub fn get(&self, id: FileId) -> &File {
        self.files.get(&id).expect("files live as long as a name or a handle of this life")
    }

    pub fn get_mut(&mut self, id: FileId) -> &mut File {
        self.files.get_mut(&id).expect("files live as long as a name or a handle of this life")
    }

    /// Drops every file that has no name.
    pub fn retain(&mut self, named: impl Fn(FileId) -> bool) {
        self.files.retain(|id, _| named(*id));
    }

    pub fn ids(&self) -> Vec<FileId> {
        self.files.keys().copied().collect()
    }
}
