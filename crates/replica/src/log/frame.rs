//! One log entry on the disk, with a checksum that covers its predecessor's checksum.
//!
//! ```text
//!  byte  0        1      2..4      4..8            8..16   16..24   24..n-4    n-4..n
//!      version  kind   reserved  previous chain   term    index    payload    chain
//! ```
//! Integers are little-endian. `chain` is the CRC-32C of everything before it, previous chain included, so an entry that
//! was dropped, swapped or taken from an older log breaks the chain at its successor.

use bytes::{Bytes, BytesMut};
use openraft::EntryPayload;
use openraft::entry::RaftEntry;
use prost::Message;

use crate::raft::{self, Entry, LogId, Payload};
use crate::wire;

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 24;
const CHAIN_BYTES: usize = 4;

const KIND_BLANK: u8 = 0;
const KIND_NORMAL: u8 = 1;
const KIND_MEMBERSHIP: u8 = 2;

/// The checksum of an entry, which its successor repeats.
pub type Chain = u32;

/// What is wrong with a stored entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Shorter than its header.
    #[error("it is only {length} bytes long")]
    Short {
        /// The length found.
        length: usize,
    },
    /// The bytes changed since they were written.
    #[error("its checksum is {found:08x}, it should be {computed:08x}")]
    Checksum {
        /// What is stored.
        found: Chain,
        /// What the bytes give.
        computed: Chain,
    },
    /// Written by a later version.
    #[error("its format version is {0}, this build reads version 1")]
    Version(u8),
    /// Not a kind of entry.
    #[error("its kind is {0}")]
    Kind(u8),
    /// The membership inside does not decode.
    #[error("its membership does not decode: {0}")]
    Membership(String),
}

/// A stored entry, read back.
pub struct Frame {
    pub entry: Entry,
    pub previous: Chain,
    pub chain: Chain,
}

/// Encodes `entry` as the successor of an entry whose checksum is `previous`.
pub fn encode(entry: &Entry, previous: Chain) -> (Bytes, Chain) {
    let (kind, payload) = match &entry.payload {
        EntryPayload::Blank => (KIND_BLANK, Bytes::new()),
        EntryPayload::Normal(Payload(bytes)) => (KIND_NORMAL, bytes.clone()),
        EntryPayload::Membership(of) => (KIND_MEMBERSHIP, wire::membership(of).encode_to_vec().into()),
    };
    let id = entry.log_id();
    let mut frame = BytesMut::with_capacity(HEADER_BYTES + payload.len() + CHAIN_BYTES);
    frame.extend_from_slice(&[VERSION, kind, 0, 0]);
    frame.extend_from_slice(&previous.to_le_bytes());
    frame.extend_from_slice(&raft::term(&id).to_le_bytes());
    frame.extend_from_slice(&id.index().to_le_bytes());
    frame.extend_from_slice(&payload);
    let chain = crc32c::crc32c(&frame);
    frame.extend_from_slice(&chain.to_le_bytes());
    (frame.freeze(), chain)
}

/// The bytes that an entry takes in the log, framing included.
pub fn size_bytes(entry: &Entry) -> usize {
    let payload = match &entry.payload {
        EntryPayload::Blank => 0,
        EntryPayload::Normal(Payload(bytes)) => bytes.len(),
        EntryPayload::Membership(of) => wire::membership(of).encoded_len(),
    };
    HEADER_BYTES + payload + CHAIN_BYTES
}

/// Reads a stored entry and checks its own checksum; the chain is the caller's to compare.
pub fn decode(frame: Bytes) -> Result<Frame, FrameError> {
    if frame.len() < HEADER_BYTES + CHAIN_BYTES {
        return Err(FrameError::Short { length: frame.len() });
    }
    let body = frame.len() - CHAIN_BYTES;
    let found = u32_at(&frame, body);
    let computed = crc32c::crc32c(&frame[..body]);
    if found != computed {
        return Err(FrameError::Checksum { found, computed });
    }
    if frame[0] != VERSION {
        return Err(FrameError::Version(frame[0]));
    }
    let payload = frame.slice(HEADER_BYTES..body);
    let payload = match frame[1] {
        KIND_BLANK => EntryPayload::Blank,
        KIND_NORMAL => EntryPayload::Normal(Payload(payload)),
        KIND_MEMBERSHIP => EntryPayload::Membership(decode_membership(payload)?),
        other => return Err(FrameError::Kind(other)),
    };
    let id: LogId = raft::log_id(u64_at(&frame, 8), u64_at(&frame, 16));
    Ok(Frame { entry: Entry::new(id, payload), previous: u32_at(&frame, 4), chain: found })
}

fn decode_membership(bytes: Bytes) -> Result<raft::Membership, FrameError> {
    let message =
        wire::proto::Membership::decode(bytes).map_err(|e| FrameError::Membership(e.to_string()))?;
    wire::membership_from(message).map_err(|e| FrameError::Membership(e.to_string()))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes were sliced"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes were sliced"))
}

/// The key of the entry at `index`.
pub fn key(index: u64) -> [u8; 8] {
    index.to_be_bytes()
}

/// The index in a key.
pub fn index_of(key: &[u8]) -> Option<u64> {
    key.try_into().ok().map(u64::from_be_bytes)
}
