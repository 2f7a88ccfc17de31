//! The contract as peers see it: what is said is read back the same, and what was said once is read for ever.

mod samples;

mod fuzz;
mod golden;
mod round_trip;

/// Decoders are held to what they may allocate.
#[global_allocator]
static METER: paceline_fuzz::Meter = paceline_fuzz::Meter;
