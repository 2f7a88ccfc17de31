//! The file `orders`: a header that names the boot, a base, and changes appended to it.
//!
//! It is rewritten when it is opened and when the changes have outgrown the base.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use paceline_types::BootId;

use super::encoding::{self, OrdersHeader};
use super::{FolderError, access, damaged, frame, replace};
use crate::table::{Change, Stored};

const NAME: &str = "orders";
/// Changes below this are not worth a rewrite: about seven thousand tasks, and a synced write each.
const APPENDED_BYTES_MIN: u64 = 1 << 20;
/// Rewritten when the changes are this many times the base: then writing costs at most a quarter more.
const APPENDED_PER_BASE: u64 = 4;

#[derive(Debug)]
pub(super) struct Journal {
    dir: PathBuf,
    boot: BootId,
    stored: Stored,
    file: File,
    chain: u32,
    base_bytes: u64,
    appended_bytes: u64,
}

impl Journal {
    /// Reads what was stored on this boot over `stored`, which holds what outlives a boot.
    pub(super) fn open(dir: &Path, boot: BootId, mut stored: Stored) -> Result<Self, FolderError> {
        let path = dir.join(NAME);
        match fs::read(&path) {
            Ok(bytes) => fold_file(&path, &bytes, boot, &mut stored)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(access(&path, source)),
        }
        let (file, chain, base_bytes) = begin(dir, boot, &stored)?;
        Ok(Self { dir: dir.to_owned(), boot, stored, file, chain, base_bytes, appended_bytes: 0 })
    }

    pub(super) const fn stored(&self) -> &Stored {
        &self.stored
    }

    pub(super) fn append(&mut self, changes: &[Change]) -> Result<(), FolderError> {
        let mut bytes = Vec::new();
        let chain = frame::append(&mut bytes, self.chain, &encoding::encode(changes));
        self.file.write_all(&bytes).map_err(|source| access(&self.dir.join(NAME), source))?;
        self.chain = chain;
        self.appended_bytes += bytes.len() as u64;
        changes.iter().for_each(|change| self.stored.apply(change));
        if self.appended_bytes > APPENDED_BYTES_MIN.max(APPENDED_PER_BASE * self.base_bytes) {
            (self.file, self.chain, self.base_bytes) = begin(&self.dir, self.boot, &self.stored)?;
            self.appended_bytes = 0;
        }
        Ok(())
    }
}

/// Writes a file with nothing but a base.
fn begin(dir: &Path, boot: BootId, stored: &Stored) -> Result<(File, u32, u64), FolderError> {
    let header = serde_json::to_vec(&OrdersHeader::new(boot)).expect("a struct of texts encodes");
    let mut bytes = Vec::new();
    let chain = frame::append(&mut bytes, frame::CHAIN_START, &header);
    let chain = frame::append(&mut bytes, chain, &encoding::encode_base(stored));
    let file = replace(dir, NAME, &bytes)?;
    Ok((file, chain, bytes.len() as u64))
}

fn fold_file(path: &Path, bytes: &[u8], boot: BootId, stored: &mut Stored) -> Result<(), FolderError> {
    // Of another boot nothing but the header is looked at: a power cut may have left anything behind it.
    let header = frame::read_first(bytes).map_err(|fault| damaged(path, fault.to_string()))?;
    let header = header.ok_or_else(|| damaged(path, "it has no header"))?;
    let header: OrdersHeader =
        serde_json::from_slice(header).map_err(|error| damaged(path, error.to_string()))?;
    if !header.is_of(boot) {
        tracing::info!(file = %path.display(), "the machine was booted anew: attempts of before are over");
        return Ok(());
    }
    let frames = frame::read(bytes).map_err(|fault| damaged(path, fault.to_string()))?;
    if frames.payloads.len() < 2 {
        return Err(damaged(path, "it has no base"));
    }
    if frames.torn_bytes > 0 {
        let torn_bytes = frames.torn_bytes;
        tracing::info!(file = %path.display(), torn_bytes, "the last record was not finished and is dropped");
    }
    let mut payloads = frames.payloads.iter().skip(1);
    payloads.try_for_each(|payload| encoding::fold(payload, stored)).map_err(|fault| damaged(path, fault))
}
