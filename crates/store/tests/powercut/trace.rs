//! Reads a recorded trace and brings it, call by call, to the [`Volume`].

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use crate::record::{CREATED, HEADER_BYTES, Kind, TRUNCATED};
use crate::volume::{FileId, Tree, Volume};

/// One recorded call.
#[derive(Debug, Clone)]
pub struct Call {
    pub kind: Kind,
    fd: i32,
    a: u64,
    pub path: String,
    data: Vec<u8>,
}

/// How far the script had come at some call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// The highest step that had begun, as a count of steps: 0 is none.
    pub begun: usize,
    /// Steps whose log was durable, as a count.
    pub durable: usize,
    /// Steps that the high-water mark was said to promise, as a count.
    pub marked: usize,
    /// Steps whose snapshot and history were durable, as a count.
    pub settled: usize,
    /// A recorded opening has come so far that what it found may have been told to others.
    pub opened: bool,
}

impl Progress {
    fn promises_more_than(self, before: Self) -> bool {
        let promises = |of: Self| (of.durable, of.marked, of.settled, of.opened);
        promises(self) != promises(before)
    }
}

/// Reads a trace; paths lose the recorded folder.
pub fn read(trace: &Path, root: &Path) -> Result<Vec<Call>> {
    let bytes = std::fs::read(trace).with_context(|| format!("the trace {}", trace.display()))?;
    let root = root.to_str().context("the recorded folder is named in UTF-8")?;
    let mut calls = Vec::new();
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let (call, after) = decode(rest, root).context("the trace ends within a record")??;
        calls.push(call);
        rest = after;
    }
    Ok(calls)
}

fn decode<'a>(bytes: &'a [u8], root: &str) -> Option<Result<(Call, &'a [u8])>> {
    let u32_at = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let u64_at = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    let end = 4 + u32_at(0)? as usize;
    let path_end = HEADER_BYTES + u32_at(25)? as usize;
    let (fd, a) = (u32_at(5)? as i32, u64_at(9)?);
    let path = String::from_utf8_lossy(bytes.get(HEADER_BYTES..path_end)?).into_owned();
    let data = bytes.get(path_end..end)?.to_vec();
    let Some(kind) = kind_of(*bytes.get(4)?) else { return Some(Err(anyhow::anyhow!("an unknown record"))) };
    let inside = |path: &str| path.strip_prefix(root).unwrap_or(path).trim_matches('/').to_owned();
    let data = match kind {
        Kind::Rename | Kind::Link => inside(&String::from_utf8_lossy(&data)).into_bytes(),
        _ => data,
    };
    Some(Ok((Call { kind, fd, a, path: inside(&path), data }, &bytes[end..])))
}

fn kind_of(code: u8) -> Option<Kind> {
    use Kind::*;
    let kinds = [
        Start,
        Open,
        Close,
        Write,
        Truncate,
        Allocate,
        Sync,
        Rename,
        Remove,
        Link,
        MakeFolder,
        RemoveFolder,
        Mark,
        Unsupported,
    ];
    kinds.into_iter().find(|kind| *kind as u8 == code)
}

/// A volume on its way through a trace.
#[derive(Default)]
pub struct Replay {
    pub volume: Volume,
    pub progress: Progress,
    open: HashMap<i32, FileId>,
}

impl Replay {
    /// Goes on from what a cut left, as far as the script had come then.
    pub fn after(tree: &Tree, progress: Progress) -> Self {
        Self { volume: Volume::of(tree), progress, open: HashMap::new() }
    }

    /// Takes the next call. Returns whether a power cut now may be judged otherwise than one before: the disk may look
    /// different, or more was acknowledged. The latter on its own finds what is acknowledged and only then synced.
    pub fn take(&mut self, call: &Call) -> Result<bool> {
        let target = || std::str::from_utf8(&call.data).context("a name is not UTF-8");
        match call.kind {
            Kind::Start => self.open.clear(),
            Kind::Mark => {
                let before = self.progress;
                self.mark(std::str::from_utf8(&call.data)?)?;
                return Ok(self.progress.promises_more_than(before));
            }
            Kind::Open => return self.opened(call),
            Kind::Close => drop(self.open.remove(&call.fd)),
            Kind::Write => self.volume.write(self.file(call)?, call.a, &call.data),
            Kind::Truncate => self.volume.truncate(self.file(call)?, call.a),
            Kind::Allocate => {
                let length = self.volume.length(self.file(call)?);
                ensure!(call.path != "punch" || call.a >= length, "a hole was punched into what is written");
                return Ok(false);
            }
            Kind::Sync => self.volume.sync(self.file(call)?),
            Kind::Rename => self.volume.rename(&call.path, target()?)?,
            Kind::Link => self.volume.link(&call.path, target()?)?,
            Kind::Remove | Kind::RemoveFolder => self.volume.remove(&call.path)?,
            Kind::MakeFolder => self.volume.make_folder(&call.path),
            Kind::Unsupported => bail!("the process did what a trace cannot describe: {}", call.path),
        }
        Ok(!matches!(call.kind, Kind::Start | Kind::Close))
    }

    /// Whether a call writes behind a write that was not synced, in a write-ahead log of the Raft log: then more than the
    /// last record of it can be torn, and what `tail` takes for damage may be none.
    pub fn overtakes_a_sync(&self, call: &Call) -> bool {
        let is_log = |name: &str| name.starts_with("log/") && name.ends_with(".log");
        let unsynced = self.open.get(&call.fd).is_some_and(|file| self.volume.has_unsynced_write(*file));
        call.kind == Kind::Write && unsynced && self.is_of(call, is_log)
    }

    /// Whether a call is on a file or folder with such a name.
    pub fn is_of(&self, call: &Call, such: impl Fn(&str) -> bool) -> bool {
        self.open.get(&call.fd).is_some_and(|file| self.volume.names_of(*file).any(such))
    }

    fn file(&self, call: &Call) -> Result<FileId> {
        let file = self.open.get(&call.fd).copied();
        file.with_context(|| format!("{:?} on descriptor {}, which nobody opened", call.kind, call.fd))
    }

    fn opened(&mut self, call: &Call) -> Result<bool> {
        let created = call.a & CREATED != 0;
        let file = match self.volume.find(&call.path) {
            Some(file) => file,
            None if created => self.volume.create(&call.path),
            None => bail!("{} was opened and is not there", call.path),
        };
        self.open.insert(call.fd, file);
        let empties = call.a & TRUNCATED != 0 && self.volume.length(file) > 0;
        if empties {
            self.volume.truncate(file, 0);
        }
        Ok(created || empties)
    }

    fn mark(&mut self, line: &str) -> Result<()> {
        let (kind, step) = line.trim().split_once(' ').context("a mark is two words")?;
        let count = step.parse::<usize>().context("a mark names a step")? + 1;
        match kind {
            "s" => self.progress.begun = self.progress.begun.max(count),
            "d" => self.progress.durable = self.progress.durable.max(count),
            "m" => self.progress.marked = self.progress.marked.max(count),
            "o" => self.progress.opened = true,
            "h" => self.progress.settled = self.progress.settled.max(count),
            "e" => {}
            _ => bail!("an unknown mark: {line}"),
        }
        Ok(())
    }
}

/// A process that acknowledges before its sync is to be found out, so there must be a boundary between the two.
pub fn check_that_acknowledgements_are_boundaries() -> Result<()> {
    let call =
        |kind, a, path: &str, data: &[u8]| Call { kind, fd: 3, a, path: path.into(), data: data.into() };
    let calls = [
        call(Kind::Open, CREATED, "log", b""),
        call(Kind::Write, 0, "", b"entry"),
        call(Kind::Mark, 0, "", b"s 0"),
        call(Kind::Mark, 0, "", b"d 0"),
        call(Kind::Sync, 0, "", b""),
    ];
    let mut replay = Replay::default();
    let mut boundaries = Vec::new();
    for call in &calls {
        if replay.take(call)? {
            boundaries.push((call.kind as u8, replay.progress.durable, replay.volume.pending()));
        }
    }
    let between = (Kind::Mark as u8, 1, 2);
    ensure!(
        boundaries.contains(&between),
        "no cut between an acknowledgement and a later sync: {boundaries:?}"
    );
    Ok(())
}
