//! How agent and supervisor wake each other: a pipe one way, a datagram the other.
//! Neither carries anything that counts; what counts is in the records.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixDatagram;

use rustix::pipe::{PipeFlags, pipe_with};

/// Wake-ups that are read at once; more of them mean the same.
const WAKE_BYTES: usize = 64;

/// Our pipe. It has no name: an agent opens it through `/proc`, which costs a launch no file.
pub struct Control {
    wakes: OwnedFd,
    /// Held, so that the pipe does not end when an agent goes.
    _own: OwnedFd,
}

impl Control {
    /// Makes the pipe.
    pub fn open() -> io::Result<Self> {
        let (wakes, own) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
        Ok(Self { wakes, _own: own })
    }

    /// Its number among our open files, for the intent.
    pub fn number(&self) -> RawFd {
        self.wakes.as_raw_fd()
    }

    /// Forgets the wake-ups that have come.
    pub fn clear(&self) -> io::Result<()> {
        let mut bytes = [0; WAKE_BYTES];
        match rustix::io::read(&self.wakes, &mut bytes).map_err(io::Error::from) {
            Err(e) if e.kind() != ErrorKind::WouldBlock => Err(e),
            _ => Ok(()),
        }
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wakes.as_fd()
    }
}

/// Tells the agent that something changed. It may be away or flooded; it looks by itself every second.
pub fn nudge(socket: &str, attempt: &str) {
    let Ok(sender) = UnixDatagram::unbound() else { return };
    if sender.set_nonblocking(true).is_ok() {
        _ = sender.send_to(attempt.as_bytes(), socket);
    }
}
