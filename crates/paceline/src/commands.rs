//! What a cell is asked from the command line: one file per noun, and how each answer reads.

pub mod cell;
mod connect;
pub mod job;
mod logs;
mod member;
pub mod node;
mod part;
pub mod shard;
mod show;
mod simulated;
mod wait;
mod waiting;
