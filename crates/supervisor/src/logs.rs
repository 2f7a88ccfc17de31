//! Output of a task on disk: bounded files per stream, named by the position of their first byte.
//!
//! ```text
//! log/stdout.0   log/stdout.1048576   log/stdout.2097152 ◄─ appended to
//! ```
//!
//! Positions count from the first byte that the task wrote, so a reader keeps its place when old files go.
//! A stream that stays empty leaves no file. It leaves who may read a log to the agent.

use std::collections::VecDeque;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::record::order::LogLimits;

/// How often a reader lists the files again when one was removed under it.
const LIST_ATTEMPTS: u32 = 3;

/// One of the two streams of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl LogStream {
    /// The word in file names, the API and the CLI.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

impl fmt::Display for LogStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for LogStream {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "stdout" => Ok(Self::Stdout),
            "stderr" => Ok(Self::Stderr),
            other => Err(format!("`{other}` is not a stream: expected `stdout` or `stderr`")),
        }
    }
}

/// Appends to a stream and keeps it within its bounds.
#[derive(Debug)]
pub struct LogWriter {
    folder: PathBuf,
    stream: LogStream,
    limits: LogLimits,
    /// Starts of the files on disk; the last one is `current`.
    starts: VecDeque<u64>,
    current: Option<File>,
    end: u64,
}

impl LogWriter {
    /// A stream without a byte yet; nothing is created before the first one.
    #[must_use]
    pub fn new(folder: &Path, stream: LogStream, limits: LogLimits) -> Self {
        let folder = folder.to_owned();
        Self { folder, stream, limits, starts: VecDeque::new(), current: None, end: 0 }
    }

    /// Appends.
    ///
    /// # Errors
    /// When the file system refuses. What was not written is lost; the next call goes on behind it.
    pub fn append(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let room = self.room()?;
            let (now, later) = bytes.split_at(bytes.len().min(room));
            let file = self.current.as_mut().expect("room() opened a file");
            if let Err(error) = file.write_all(now) {
                // What the file holds is unknown: close it, and let the next one start where we stand.
                self.current = None;
                return Err(error);
            }
            self.end += now.len() as u64;
            bytes = later;
        }
        Ok(())
    }

    /// Bytes that fit the current file, which is opened or replaced when there is no room.
    fn room(&mut self) -> io::Result<usize> {
        let segment_bytes = self.limits.segment_bytes.max(1);
        let used = self.starts.back().map_or(0, |start| self.end - start);
        if self.current.is_some() && used < segment_bytes {
            return Ok(usize::try_from(segment_bytes - used).unwrap_or(usize::MAX));
        }
        self.open_next()?;
        Ok(usize::try_from(segment_bytes).unwrap_or(usize::MAX))
    }

    fn open_next(&mut self) -> io::Result<()> {
        if self.starts.is_empty() {
            fs::create_dir_all(&self.folder)?;
        }
        let path = segment_path(&self.folder, self.stream, self.end);
        self.current = Some(File::create(path)?);
        if self.starts.back() != Some(&self.end) {
            self.starts.push_back(self.end);
        }
        while self.starts.len() > self.limits.segments.max(1) as usize {
            let oldest = self.starts.pop_front().expect("the loop condition says there is one");
            fs::remove_file(segment_path(&self.folder, self.stream, oldest))?;
        }
        Ok(())
    }
}

/// A piece of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogChunk {
    /// Position of the first byte; above the one asked for when older bytes are gone.
    pub offset: u64,
    /// The bytes; empty when there are none yet.
    pub bytes: Vec<u8>,
}

impl LogChunk {
    /// The position to go on from.
    #[must_use]
    pub fn next_offset(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }
}

/// Reads at most `bytes_max` of a stream from a position.
///
/// # Errors
/// When the file system refuses.
pub fn read_log(folder: &Path, stream: LogStream, offset: u64, bytes_max: usize) -> io::Result<LogChunk> {
    let mut tries = 1;
    loop {
        match read_once(folder, stream, offset, bytes_max) {
            Err(e) if e.kind() == ErrorKind::NotFound && tries < LIST_ATTEMPTS => tries += 1,
            other => return other,
        }
    }
}

fn read_once(folder: &Path, stream: LogStream, offset: u64, bytes_max: usize) -> io::Result<LogChunk> {
    let starts = segment_starts(folder, stream)?;
    let offset = starts.first().map_or(offset, |oldest| offset.max(*oldest));
    let mut chunk = LogChunk { offset, bytes: Vec::new() };
    let first = starts.partition_point(|start| *start <= offset).saturating_sub(1);
    for start in starts.iter().skip(first) {
        let position = chunk.next_offset();
        let room = (bytes_max - chunk.bytes.len()) as u64;
        if position < *start || room == 0 {
            break;
        }
        let mut file = File::open(segment_path(folder, stream, *start))?;
        file.seek(SeekFrom::Start(position - start))?;
        file.take(room).read_to_end(&mut chunk.bytes)?;
    }
    Ok(chunk)
}

/// Starts of the files of a stream, in order; none when the folder was never made.
fn segment_starts(folder: &Path, stream: LogStream) -> io::Result<Vec<u64>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut starts = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let start = name.to_str().and_then(|name| name.strip_prefix(stream.as_str())?.strip_prefix('.'));
        starts.extend(start.and_then(|start| start.parse::<u64>().ok()));
    }
    starts.sort_unstable();
    Ok(starts)
}

fn segment_path(folder: &Path, stream: LogStream, start: u64) -> PathBuf {
    folder.join(format!("{stream}.{start}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::testing::scratch;

    const LIMITS: LogLimits = LogLimits { segment_bytes: 10, segments: 3 };

    fn on_disk(folder: &Path) -> u64 {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
    }

    #[test]
    fn a_long_stream_stays_within_its_bound_and_keeps_positions() {
        let folder = scratch("rotation");
        let mut log = LogWriter::new(&folder, LogStream::Stdout, LIMITS);
        let all: Vec<u8> = (0..97).map(|i| b'a' + i % 26).collect();
        for piece in all.chunks(7) {
            log.append(piece).unwrap();
            assert!(on_disk(&folder) <= 30);
        }
        let chunk = read_log(&folder, LogStream::Stdout, 0, 1000).unwrap();
        assert_eq!((chunk.offset, chunk.next_offset()), (70, 97));
        assert_eq!(chunk.bytes, all[70..]);
        for offset in 70..97 {
            let chunk = read_log(&folder, LogStream::Stdout, offset, 5).unwrap();
            let from = offset as usize;
            assert_eq!((chunk.offset, &chunk.bytes[..]), (offset, &all[from..(from + 5).min(97)]));
        }
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn an_empty_stream_reads_as_empty_and_leaves_no_file() {
        let folder = scratch("empty-stream").join("log");
        let mut log = LogWriter::new(&folder, LogStream::Stderr, LIMITS);
        log.append(b"").unwrap();
        assert!(!folder.exists());
        let chunk = read_log(&folder, LogStream::Stderr, 4, 10).unwrap();
        assert_eq!(chunk, LogChunk { offset: 4, bytes: Vec::new() });
    }

    #[test]
    fn the_streams_do_not_mix() {
        let folder = scratch("two-streams");
        for (stream, text) in [(LogStream::Stdout, b"out"), (LogStream::Stderr, b"err")] {
            LogWriter::new(&folder, stream, LIMITS).append(text).unwrap();
        }
        assert_eq!(read_log(&folder, LogStream::Stderr, 0, 10).unwrap().bytes, b"err");
        assert_eq!(read_log(&folder, LogStream::Stdout, 1, 10).unwrap().bytes, b"ut");
        fs::remove_dir_all(&folder).unwrap();
    }
}
