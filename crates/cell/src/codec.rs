//! The bytes of everything that is stored (`proto/cell.proto`), in both directions.
//!
//! Encoding is canonical: equal values have equal bytes. Decoding checks everything, gives an error that names the
//! field, and never panics or takes more memory than its limits allow, whatever the bytes are.

mod assignments;
mod body;
mod columns;
mod entry;
mod records;
mod refusal;
mod reply;
mod reports;
mod settings;
mod spec;
mod tasks;
mod values;

pub(crate) use body::body_hash;
pub use entry::{ENTRY_BYTES_MAX, TooLarge};
pub(crate) use records::{client_record, header_record, job_record, node_record, shard_record};
pub(crate) use records::{read_client, read_config, read_job, read_node, read_shard};
pub(crate) use tasks::{read_tasks, task_columns};

/// The stored messages, as generated.
pub(crate) mod proto {
    include!(concat!(env!("OUT_DIR"), "/paceline.cell.v1.rs"));
}

/// Why bytes are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not the message at all.
    #[error("not a protobuf message of the expected kind")]
    Protobuf(#[from] prost::DecodeError),
    /// Written by a newer build.
    #[error("version {found} of {what} is not known: this build reads versions up to {known}")]
    Version {
        /// What.
        what: &'static str,
        /// In the bytes.
        found: u32,
        /// The highest this build reads.
        known: u32,
    },
    /// A field holds what it may not.
    #[error("{field} is not {expected}")]
    Field {
        /// Which.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// More than a message may hold.
    #[error("more than {limit} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
}

type Decoded<T> = Result<T, DecodeError>;

const fn wrong(field: &'static str, expected: &'static str) -> DecodeError {
    DecodeError::Field { field, expected }
}

/// A message that must be there.
fn present<T>(field: &'static str, value: Option<T>) -> Decoded<T> {
    value.ok_or(wrong(field, "present"))
}
