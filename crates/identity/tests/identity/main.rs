//! The identity crate from outside: real folders, real TLS on loopback, real gRPC and HTTP.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a test binary: nobody reads its docs, unwrap is its report"
)]

mod fixture;
mod folders;
mod gate;
mod handshake;
mod server;
mod signed;
mod table;
