//! Bounds of the wire that both ends must agree on.

/// Largest message that a service accepts but for the watch: tonic's own default, named so that both ends say it.
pub const FRAME_BYTES_MAX: usize = 4 << 20;

/// Largest message of a watch. One revision is never split, and an entry of 2 MiB can say more in events
/// than it held in ranges.
pub const WATCH_MESSAGE_BYTES_MAX: usize = 16 << 20;

/// Largest piece of a task's output in one message: small enough that a reader of logs never holds up a link.
pub const LOG_PIECE_BYTES_MAX: usize = 256 << 10;

/// Most tasks on one page: about half a megabyte.
pub const TASKS_PER_PAGE_MAX: u32 = 10_000;
