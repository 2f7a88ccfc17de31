//! The bytes of a snapshot file. Integers are little-endian.
//!
//! ```text
//!  header  "PACESNAP"  version u32  length u32  SnapshotHeader message  checksum u32
//!  chunk   length u32 (> 0)  checksum u32  content                                    ... any number
//!  footer  0 u32  chunks u64  content bytes u64  total checksum u32  checksum u32  "PACEDONE"
//! ```
//! Each chunk's checksum is the CRC-32C of the content continued from the checksum before it, the first from the
//! header's, so a chunk that is missing, doubled or out of order is seen; the last one is the total checksum.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;

use super::SnapshotError;
use crate::disk::{DiskError, DiskFile};
use crate::machine::SNAPSHOT_CHUNK_LIMIT_BYTES;
use crate::raft::SnapshotMeta;
use crate::wire::{self, proto};

const MAGIC: &[u8; 8] = b"PACESNAP";
const END_MAGIC: &[u8; 8] = b"PACEDONE";
const VERSION: u32 = 1;
const PREAMBLE_BYTES: usize = 16;
const CHUNK_HEADER_BYTES: usize = 8;
const FOOTER_BYTES: usize = 36;
/// A header holds a membership of at most a few hundred members.
const HEADER_LIMIT_BYTES: usize = 1024 * 1024;

/// A complete snapshot file.
pub struct SnapshotFile {
    file: Arc<dyn DiskFile>,
    /// The full name for people.
    place: String,
    /// The name in the folder.
    name: String,
    meta: SnapshotMeta,
    cell: String,
    body_at: u64,
    header_checksum: u32,
    length_bytes: u64,
    total_checksum: u32,
}

/// Writes the header; returns its length and its checksum.
pub fn write_header(file: &dyn DiskFile, meta: &SnapshotMeta, cell: &str) -> Result<(u64, u32), DiskError> {
    let message = proto::SnapshotHeader {
        last_log_id: meta.last_log_id.as_ref().map(wire::log_id),
        membership: Some(wire::stored_membership(&meta.last_membership)),
        cell: cell.to_owned(),
        compression: 0,
    };
    let mut header = BytesMut::new();
    header.put_slice(MAGIC);
    header.put_u32_le(VERSION);
    header.put_u32_le(u32::try_from(message.encoded_len()).expect("a membership is far below 4 GiB"));
    message.encode(&mut header).expect("the buffer grows as needed");
    let checksum = crc32c::crc32c(&header);
    header.put_u32_le(checksum);
    file.write_at(0, &header)?;
    Ok((header.len() as u64, checksum))
}

/// Appends chunks and the footer to a header.
pub struct ChunkWriter<'a> {
    file: &'a dyn DiskFile,
    at: u64,
    chunks: u64,
    content_bytes: u64,
    checksum: u32,
}

impl<'a> ChunkWriter<'a> {
    pub fn new(file: &'a dyn DiskFile, (at, checksum): (u64, u32)) -> Self {
        Self { file, at, chunks: 0, content_bytes: 0, checksum }
    }

    pub fn chunk(&mut self, content: &[u8]) -> Result<(), SnapshotError> {
        if content.is_empty() || content.len() > SNAPSHOT_CHUNK_LIMIT_BYTES {
            let (bytes, limit) = (content.len(), SNAPSHOT_CHUNK_LIMIT_BYTES);
            return Err(SnapshotError::ChunkSize { bytes, limit });
        }
        self.checksum = crc32c::crc32c_append(self.checksum, content);
        let mut framed = BytesMut::with_capacity(CHUNK_HEADER_BYTES + content.len());
        framed.put_u32_le(u32::try_from(content.len()).expect("a chunk is below the limit"));
        framed.put_u32_le(self.checksum);
        framed.put_slice(content);
        self.file.write_at(self.at, &framed)?;
        self.at += framed.len() as u64;
        self.chunks += 1;
        self.content_bytes += content.len() as u64;
        Ok(())
    }

    pub fn finish(self) -> Result<(), DiskError> {
        let mut footer = BytesMut::with_capacity(FOOTER_BYTES);
        footer.put_u32_le(0);
        footer.put_u64_le(self.chunks);
        footer.put_u64_le(self.content_bytes);
        footer.put_u32_le(self.checksum);
        footer.put_u32_le(crc32c::crc32c(&footer));
        footer.put_slice(END_MAGIC);
        self.file.write_at(self.at, &footer)
    }
}

impl SnapshotFile {
    /// Reads header and footer. The chunks are checked as they are read.
    pub fn open(file: Arc<dyn DiskFile>, name: String, place: String) -> Result<Self, SnapshotError> {
        let damaged = |problem: &str| SnapshotError::Damaged { file: place.clone(), problem: problem.into() };
        let preamble = file.read_at(0, PREAMBLE_BYTES)?;
        if preamble.len() < PREAMBLE_BYTES || &preamble[..8] != MAGIC {
            return Err(damaged("it does not begin like a snapshot"));
        }
        let version = u32_at(&preamble, 8);
        if version != VERSION {
            return Err(damaged(&format!("its format version is {version}, this build reads version 1")));
        }
        let header_bytes = u32_at(&preamble, 12) as usize;
        if header_bytes > HEADER_LIMIT_BYTES {
            return Err(damaged("its header is impossibly long"));
        }
        let header = file.read_at(0, PREAMBLE_BYTES + header_bytes + 4)?;
        let body_at = PREAMBLE_BYTES + header_bytes + 4;
        if header.len() < body_at {
            return Err(damaged("it ends within its header"));
        }
        let header_checksum = u32_at(&header, body_at - 4);
        if crc32c::crc32c(&header[..body_at - 4]) != header_checksum {
            return Err(damaged("the checksum of its header is wrong"));
        }
        let (meta, cell) =
            decode_header(header.slice(PREAMBLE_BYTES..body_at - 4)).map_err(|e| damaged(&e))?;
        let length_bytes = file.length_bytes()?;
        let total_checksum =
            read_footer(file.as_ref(), length_bytes, body_at as u64).map_err(|e| match e {
                FooterError::Disk(e) => SnapshotError::Disk(e),
                FooterError::Damaged => damaged("its end is missing or damaged"),
            })?;
        let body_at = body_at as u64;
        Ok(Self { file, place, name, meta, cell, body_at, header_checksum, length_bytes, total_checksum })
    }

    /// What it covers.
    pub fn meta(&self) -> &SnapshotMeta {
        &self.meta
    }

    /// The cell whose state it holds.
    pub fn cell(&self) -> &str {
        &self.cell
    }

    /// Its name in the folder.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its full name for people.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The length of the file.
    pub fn length_bytes(&self) -> u64 {
        self.length_bytes
    }

    /// The checksum over header and all chunks.
    pub fn total_checksum(&self) -> u32 {
        self.total_checksum
    }

    /// A piece of the file, for sending.
    pub fn read_at(&self, offset_bytes: u64, max_bytes: usize) -> Result<Bytes, DiskError> {
        self.file.read_at(offset_bytes, max_bytes)
    }

    /// The chunks, each checked; ends after the footer was found to agree.
    pub fn chunks(&self) -> Chunks<'_> {
        let (at, checksum) = (self.body_at, self.header_checksum);
        Chunks { snapshot: self, at, checksum, chunks: 0, content_bytes: 0, ended: false }
    }

    /// Reads everything once.
    pub fn verify(&self) -> Result<(), SnapshotError> {
        self.chunks().try_for_each(|chunk| chunk.map(drop))
    }

    /// The open file.
    pub(super) fn file(&self) -> Arc<dyn DiskFile> {
        self.file.clone()
    }
}

impl std::fmt::Debug for SnapshotFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnapshotFile").field("place", &self.place).field("bytes", &self.length_bytes).finish()
    }
}

/// The chunks of one snapshot file, in order.
pub struct Chunks<'a> {
    snapshot: &'a SnapshotFile,
    at: u64,
    checksum: u32,
    chunks: u64,
    content_bytes: u64,
    ended: bool,
}

impl Chunks<'_> {
    fn damaged<T>(&self, problem: String) -> Result<T, SnapshotError> {
        Err(SnapshotError::Damaged { file: self.snapshot.place.clone(), problem })
    }

    fn read_next(&mut self) -> Result<Option<Bytes>, SnapshotError> {
        let header = self.snapshot.file.read_at(self.at, CHUNK_HEADER_BYTES)?;
        if header.len() < CHUNK_HEADER_BYTES {
            return self.damaged(format!("it ends after chunk {}", self.chunks));
        }
        let length = u32_at(&header, 0) as usize;
        if length == 0 {
            return self.read_end();
        }
        if length > SNAPSHOT_CHUNK_LIMIT_BYTES {
            return self.damaged(format!("chunk {} is impossibly long", self.chunks));
        }
        let content = self.snapshot.file.read_at(self.at + CHUNK_HEADER_BYTES as u64, length)?;
        let checksum = crc32c::crc32c_append(self.checksum, &content);
        if content.len() < length || checksum != u32_at(&header, 4) {
            return self.damaged(format!("the checksum of chunk {} is wrong", self.chunks));
        }
        self.at += (CHUNK_HEADER_BYTES + length) as u64;
        self.checksum = checksum;
        self.chunks += 1;
        self.content_bytes += length as u64;
        Ok(Some(content))
    }

    fn read_end(&mut self) -> Result<Option<Bytes>, SnapshotError> {
        let footer = self.snapshot.file.read_at(self.at, FOOTER_BYTES)?;
        let agrees = footer.len() == FOOTER_BYTES
            && u64_at(&footer, 4) == self.chunks
            && u64_at(&footer, 12) == self.content_bytes
            && u32_at(&footer, 20) == self.checksum
            && self.at + FOOTER_BYTES as u64 == self.snapshot.length_bytes;
        if agrees { Ok(None) } else { self.damaged("its footer does not agree with its chunks".into()) }
    }
}

impl Iterator for Chunks<'_> {
    type Item = Result<Bytes, SnapshotError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.read_next().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

fn decode_header(bytes: Bytes) -> Result<(SnapshotMeta, String), String> {
    let header = proto::SnapshotHeader::decode(bytes).map_err(|e| e.to_string())?;
    if header.compression != 0 {
        return Err(format!("its compression {} is unknown to this build", header.compression));
    }
    let membership = header.membership.ok_or("its header has no membership")?;
    let last_membership = wire::stored_membership_from(membership).map_err(|e| e.to_string())?;
    let last_log_id = header.last_log_id.map(wire::log_id_from);
    Ok((SnapshotMeta { last_log_id, last_membership }, header.cell))
}

enum FooterError {
    Disk(DiskError),
    Damaged,
}

fn read_footer(file: &dyn DiskFile, length_bytes: u64, body_at: u64) -> Result<u32, FooterError> {
    let at = length_bytes.checked_sub(FOOTER_BYTES as u64).filter(|at| *at >= body_at);
    let at = at.ok_or(FooterError::Damaged)?;
    let footer = file.read_at(at, FOOTER_BYTES).map_err(FooterError::Disk)?;
    let valid = footer.len() == FOOTER_BYTES
        && u32_at(&footer, 0) == 0
        && crc32c::crc32c(&footer[..24]) == u32_at(&footer, 24)
        && &footer[28..] == END_MAGIC;
    if valid { Ok(u32_at(&footer, 20)) } else { Err(FooterError::Damaged) }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes were sliced"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes were sliced"))
}
