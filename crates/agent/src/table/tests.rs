//! The table against a fake runtime: the rules one by one, then all of them under random histories.

mod acknowledging;
mod fake;
mod fencing;
mod histories;
mod leases;
mod restarting;
mod starting;
