//! A library to preload that writes down, in order, everything a process does to the files below one folder.
//!
//! It stands before the C library's file calls, lets each one through unchanged, and appends a [`record`] of it to a
//! trace. Calls on that folder are made one at a time, so the order in the trace is the order in which they happened.
//! It judges nothing: what a power cut leaves of such a trace is `store`'s power-cut test's business. Nothing links it.
//!
//! ```text
//!   LD_PRELOAD=libpaceline_diskshim.so
//!   DISKSHIM_ROOT=/folder    what is recorded: files and folders below it
//!   DISKSHIM_MARKS=/file     what is written to this file goes into the trace as marks
//!   DISKSHIM_TRACE=/file     where the trace is appended
//! ```

#![expect(unsafe_code, reason = "it stands in for functions of the C library, which take raw pointers")]

mod calls;
mod files;
mod names;
mod real;
mod record;
mod session;
