//! The agent as a whole: real TLS on loopback, a real data folder, a fake shard and a fake runtime.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends where it stands")]

mod fake_runtime;
mod fake_shard;
mod rig;

mod leaving;
mod linking;
mod logs;
mod running;
mod simulated;
