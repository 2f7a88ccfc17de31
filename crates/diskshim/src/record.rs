//! One recorded call as bytes. The reader of traces includes this file by path, so that there is one definition.
//!
//! ```text
//!  byte 0..4           4     5..9   9..17  17..25  25..29       29..
//!      length of rest  kind  fd     a      b       path length  path, then data until the end
//! ```
//! Integers are little-endian.

/// What was done. `a`, `b` and `data` mean what the variant says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A process began; the descriptors of the one before are closed.
    Start = 1,
    /// A file or folder was opened; `a`: [`CREATED`] and [`TRUNCATED`].
    Open = 2,
    /// A descriptor was closed.
    Close = 3,
    /// `data` was written at offset `a`.
    Write = 4,
    /// The file got the length `a`.
    Truncate = 5,
    /// Room for `b` bytes at offset `a` was set aside without changing what can be read.
    Allocate = 6,
    /// Content and length are durable; of a folder: its names.
    Sync = 7,
    /// `path` became `data`.
    Rename = 8,
    /// The name went away.
    Remove = 9,
    /// `data` became another name of `path`.
    Link = 10,
    /// A folder was made.
    MakeFolder = 11,
    /// A folder went away.
    RemoveFolder = 12,
    /// `data` was written to the file of marks.
    Mark = 13,
    /// Something was done that this library cannot describe; `path` says what. Such a trace proves nothing.
    Unsupported = 14,
}

/// The call made the file.
pub const CREATED: u64 = 1;
/// The call emptied the file.
pub const TRUNCATED: u64 = 2;

/// Bytes before the path, the length itself included.
pub const HEADER_BYTES: usize = 29;

/// Encodes a record.
#[allow(dead_code, reason = "the reader only decodes")]
pub fn encode(kind: Kind, fd: i32, a: u64, b: u64, path: &[u8], data: &[u8]) -> Vec<u8> {
    let length = HEADER_BYTES - 4 + path.len() + data.len();
    let mut bytes = Vec::with_capacity(4 + length);
    bytes.extend_from_slice(&(length as u32).to_le_bytes());
    bytes.push(kind as u8);
    bytes.extend_from_slice(&fd.to_le_bytes());
    bytes.extend_from_slice(&a.to_le_bytes());
    bytes.extend_from_slice(&b.to_le_bytes());
    bytes.extend_from_slice(&(path.len() as u32).to_le_bytes());
    bytes.extend_from_slice(path);
    bytes.extend_from_slice(data);
    bytes
}
