//! One stream of the task, from its pipe into its log.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use paceline_supervisor::LOG_FOLDER;
use paceline_supervisor::LogLimits;
use paceline_supervisor::logs::{LogStream, LogWriter};

/// One read: what a pipe holds by default.
const READ_BYTES: usize = 64 * 1024;

/// Reads per turn, so that a task that writes without pause does not keep us from its time limit.
const READS_PER_TURN: usize = 16;

/// What is read after the end: a pipe holds at most this much unless root enlarged it, and a writer that
/// got away must not keep us for ever.
const READS_AFTER_END: usize = 1024 * 1024 / READ_BYTES;

/// A pipe and its log.
pub struct Output {
    pipe: Option<OwnedFd>,
    log: LogWriter,
    lost_bytes: u64,
    lost_to: Option<io::Error>,
}

impl Output {
    /// Takes the reading end.
    pub fn new(folder: &Path, stream: LogStream, limits: LogLimits, pipe: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&pipe, true)?;
        let log = LogWriter::new(&folder.join(LOG_FOLDER), stream, limits);
        Ok(Self { pipe: Some(pipe), log, lost_bytes: 0, lost_to: None })
    }

    /// What to poll; nothing once every writer is gone.
    pub fn source(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Moves what is there, within a turn.
    pub fn pump(&mut self, buffer: &mut Vec<u8>) {
        self.read_some(buffer, READS_PER_TURN);
    }

    /// Moves what is left and closes.
    pub fn finish(&mut self, buffer: &mut Vec<u8>) {
        self.read_some(buffer, READS_AFTER_END);
        self.pipe = None;
    }

    /// What could not be kept, in words. A full disk does not end a task.
    pub fn loss(&self) -> Option<String> {
        let error = self.lost_to.as_ref()?;
        Some(format!("{} bytes of output were lost: {error}", self.lost_bytes))
    }

    /// The buffer grows to what there is to read: most tasks write little, and memory that is never touched costs
    /// their supervisors nothing.
    fn read_some(&mut self, buffer: &mut Vec<u8>, reads_max: usize) {
        for _ in 0..reads_max {
            let Some(pipe) = &self.pipe else { return };
            let waiting = rustix::io::ioctl_fionread(pipe).unwrap_or_default();
            let wanted = usize::try_from(waiting).unwrap_or(READ_BYTES).clamp(1, READ_BYTES);
            buffer.resize(wanted.max(buffer.len()), 0);
            match rustix::io::read(pipe, &mut *buffer).map_err(io::Error::from) {
                Ok(0) => self.pipe = None,
                Ok(count) => self.keep(&buffer[..count]),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.pipe = None,
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        if let Err(error) = self.log.append(bytes) {
            self.lost_bytes += bytes.len() as u64;
            self.lost_to = Some(error);
        }
    }
}
