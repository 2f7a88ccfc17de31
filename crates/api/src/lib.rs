//! The wire contract of a cell: `proto/paceline/v1` and its total conversions.
//!
//! The only crate that sees generated types. [`v1`] holds them, with clients and servers; everything else here
//! turns them into values of `rules`, `link` and `types` and back, so that nothing malformed gets past the rim:
//! a conversion either yields a value or names what is wrong with which field.
//! What a request may do is decided in `cell`, who may send it in `identity`.
//!
//! ```text
//! bytes ◄─ prost ─► v1::… ◄─ TryFrom / From ─► types, rules::JobSpec, link::message::…
//!                     └─► DecodeError (links, requests) · Vec<Violation> (specifications)
//! ```

mod fault;
mod limits;
mod members;
mod status;

mod ids;
mod indices;
mod states;

mod request;
mod spec;

mod agent_link;
mod master_link;
mod orders;
mod reports;
mod shards;
mod simulate;

pub use fault::DecodeError;
pub use limits::{FRAME_BYTES_MAX, LOG_PIECE_BYTES_MAX, TASKS_PER_PAGE_MAX, WATCH_MESSAGE_BYTES_MAX};
pub use master_link::Known;
pub use members::MEMBERS_HEADER;
pub use request::{CallId, JobRef};
pub use spec::{SpecDecodeError, checked_spec, decode_spec, encode_spec};
pub use states::{job_state, operator, reason, task_state};
pub use status::{DETAIL_BYTES_MAX, detail_of, error_detail, status_code, status_from};

/// Generated from `proto/paceline/v1`, comments included.
#[allow(missing_docs, clippy::large_enum_variant, reason = "generated: the contract is documented in proto/")]
pub mod v1 {
    tonic::include_proto!("paceline.v1");
}

/// The compiled contract, for reflection and for tests that list every call.
pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("paceline.v1");
