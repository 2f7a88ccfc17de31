//! A copy of this process: the one thing here that neither std nor rustix offers.

use std::io;

#[expect(
    unsafe_code,
    reason = "std has no fork; what it saves stands in docs/adr/2026-11-22-nursery-of-supervisors.md"
)]
mod system {
    unsafe extern "C" {
        // SAFETY: fork(2) takes nothing and asks one thing of the caller: that no other thread is in the middle of
        // something, because the copy has only the thread that called. This program never starts a second one, so
        // its copy is whole. The C library, which std is linked to anyhow, does its own part.
        pub safe fn fork() -> i32;
    }
}

/// Which of the two we are.
pub enum Forked {
    /// The one that was there.
    Parent,
    /// The new one.
    Child,
}

/// Forks.
///
/// # Errors
/// When the machine has no room for a process.
pub fn fork() -> io::Result<Forked> {
    match system::fork() {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Forked::Child),
        _ => Ok(Forked::Parent),
    }
}
