//! How agent and supervisor wake each other: a pipe with a name one way, a datagram the other.
//! Neither carries anything that counts; what counts is in the records.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use paceline_supervisor::CONTROL_FIFO;
use rustix::fs::{CWD, FileType, Mode, OFlags};

/// Wake-ups that are read at once; more of them mean the same.
const WAKE_BYTES: usize = 64;

/// Our end of the pipe.
pub struct Control(OwnedFd);

impl Control {
    /// Makes the pipe and holds it open, for writing too: it must not end when an agent goes.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let path = folder.join(CONTROL_FIFO);
        rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::open(&path, flags, Mode::empty())?))
    }

    /// Forgets the wake-ups that have come.
    pub fn clear(&self) -> io::Result<()> {
        let mut bytes = [0; WAKE_BYTES];
        match rustix::io::read(&self.0, &mut bytes).map_err(io::Error::from) {
            Err(e) if e.kind() != ErrorKind::WouldBlock => Err(e),
            _ => Ok(()),
        }
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Tells the agent that something changed. It may be away or flooded; it looks by itself every second.
pub fn nudge(socket: &str, attempt: &str) {
    let Ok(sender) = UnixDatagram::unbound() else { return };
    if sender.set_nonblocking(true).is_ok() {
        _ = sender.send_to(attempt.as_bytes(), socket);
    }
}
