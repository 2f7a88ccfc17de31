//! Who may call what, against running roles: the page `docs/RPC.md`, the table in `identity`, the compiled
//! descriptors and the servers must say the same, and strangers get nowhere.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a test binary: nobody reads its docs, unwrap is its report"
)]

mod calls;
mod cell;
mod claims;
mod descriptors;
mod full;
mod matrix;
mod page;
mod strangers;
mod telemetry;
