//! The contract as peers see it: what is said is read back the same, and what was said once is read for ever.

mod samples;

mod golden;
mod round_trip;
