//! The agent's part of its data folder: who it is, its sessions, its fence, what was ordered.
//!
//! ```text
//! DIR/agent/lock      held while an agent uses the folder
//! DIR/agent/instance  cell, node, instance id; written once
//! DIR/agent/place     where the folder lies; a copy of it is refused within one boot
//! DIR/agent/session   the last link session; synced before each connection
//! DIR/agent/fence     highest token and epoch; synced whenever generation, term or epoch rise
//! DIR/agent/orders    attempts: a base and appended changes, of one boot
//! ```
//!
//! Every file carries checksums; one that does not hold is refused, by name, and nothing is started.
//! `orders` is written before it is acted upon and never synced: it only has to outlive the agent. After
//! the machine was booted anew, or lost its power, nothing that stands in it runs any more, so it is begun
//! afresh; the revision part of the fence with it, because connections that carried older ones are gone.
//! Attempts themselves, their output and their ends are kept by the runtime.

mod encoding;
mod frame;
mod journal;
mod place;

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use paceline_types::{AgentInstance, BootId, LinkSession, NodeName};
use rustix::fs::{FlockOperation, flock};

use crate::table::{Change, Stored};
use encoding::{FenceFile, InstanceFile, SessionFile};
use journal::Journal;

/// Tasks pass through the data folder to their own, and list nothing on the way.
const PASS_THROUGH_MODE: u32 = 0o711;
/// What the agent keeps is nobody else's business.
const PRIVATE_MODE: u32 = 0o700;

/// What an agent needs to keep. Simulation gives it a disk of its own.
pub trait Storage: Send + 'static {
    /// The id of this folder.
    fn instance(&self) -> AgentInstance;

    /// What was stored, as of now.
    fn stored(&self) -> &Stored;

    /// A session higher than any before, durable before it is returned.
    ///
    /// # Errors
    /// The folder cannot be written: the agent must end.
    fn next_session(&mut self) -> Result<LinkSession, FolderError>;

    /// Stores changes before they are acted upon.
    ///
    /// # Errors
    /// The folder cannot be written: the agent must end.
    fn store(&mut self, changes: &[Change]) -> Result<(), FolderError>;
}

/// Why a data folder cannot be used. Each says what a person can do.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The file system refuses.
    #[error("cannot use {}", path.display())]
    Access {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another agent runs in it.
    #[error("{} is held by another agent; stop that one, or give this one a data folder of its own", path.display())]
    InUse {
        /// The lock.
        path: PathBuf,
    },
    /// It belongs to somebody else.
    #[error(
        "the data folder {} belongs to node {node} of cell {cell}, and this agent is node {own_node} of cell \
         {own_cell}; give it a data folder of its own", path.display()
    )]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// The cell that it belongs to.
        cell: String,
        /// The node that it belongs to.
        node: String,
        /// Our cell.
        own_cell: String,
        /// Our node.
        own_node: NodeName,
    },
    /// It was copied from one that may still be in use.
    #[error(
        "the data folder {} is a copy, made since this machine was booted: the agent of the original may run, and would \
         be taken for this one. Give this agent an empty data folder; if the original is gone for good, remove the file \
         `place` from this one", path.display()
    )]
    Copied {
        /// The folder.
        path: PathBuf,
    },
    /// What is in a file is not what was written.
    #[error(
        "{} is damaged: {fault}. Nothing was started. Restore the file, or start the agent with an empty data \
         folder after `paceline node replace`, which ends what the cell believes to run here", path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not hold.
        fault: String,
    },
}

/// A data folder that is open, and ours alone.
#[derive(Debug)]
pub struct Folder {
    dir: PathBuf,
    instance: AgentInstance,
    session: LinkSession,
    journal: Journal,
    _lock: File,
}

impl Folder {
    /// Opens `dir`, or begins it with `fresh` as its instance id if nothing is there.
    ///
    /// # Errors
    /// [`FolderError`]: in use, of another cell or node, damaged, or refused by the file system.
    pub fn open(
        dir: &Path,
        cell: &str,
        node: &NodeName,
        boot: BootId,
        fresh: AgentInstance,
    ) -> Result<Self, FolderError> {
        let (data_dir, dir) = (dir, dir.join("agent"));
        let made = DirBuilder::new().recursive(true).mode(PASS_THROUGH_MODE).create(data_dir);
        made.map_err(|source| access(data_dir, source))?;
        let made = DirBuilder::new().recursive(true).mode(PRIVATE_MODE).create(&dir);
        made.map_err(|source| access(&dir, source))?;
        let lock = lock(&dir)?;
        let instance = open_instance(&dir, cell, node, fresh)?;
        place::check(&dir, &lock, boot)?;
        let session: SessionFile = read(&dir, "session")?;
        let fence: FenceFile = read(&dir, "fence")?;
        let stored = Stored { fence: fence.token(), epoch: fence.epoch(), ..Stored::default() };
        let journal = Journal::open(&dir, boot, stored)?;
        Ok(Self { dir, instance, session: LinkSession(session.session), journal, _lock: lock })
    }
}

impl Storage for Folder {
    fn instance(&self) -> AgentInstance {
        self.instance
    }

    fn stored(&self) -> &Stored {
        self.journal.stored()
    }

    fn next_session(&mut self) -> Result<LinkSession, FolderError> {
        let next = self.session.next();
        write(&self.dir, "session", &SessionFile::new(next))?;
        self.session = next;
        Ok(next)
    }

    fn store(&mut self, changes: &[Change]) -> Result<(), FolderError> {
        if changes.is_empty() {
            return Ok(());
        }
        let before = self.journal.stored();
        let mut fence = (before.fence, before.epoch);
        for change in changes {
            match *change {
                Change::Fence(token) => fence.0 = token,
                Change::Epoch(epoch) => fence.1 = epoch,
                _ => {}
            }
        }
        let leads = |token: paceline_types::FenceToken| (token.generation, token.term);
        if leads(fence.0) != leads(before.fence) || fence.1 != before.epoch {
            write(&self.dir, "fence", &FenceFile::new(fence.0, fence.1))?;
        }
        self.journal.append(changes)
    }
}

/// An agent that is killed while it starts a supervisor leaves its lock to that process until it executes,
/// and its own end takes a moment: whoever comes back at once must not take that for a second agent.
const LOCK_TRIES: u32 = 200;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

fn lock(dir: &Path) -> Result<File, FolderError> {
    let path = dir.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|source| access(&path, source))?;
    for _ in 0..LOCK_TRIES {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) => sleep(LOCK_PAUSE),
            Err(error) => return Err(access(&path, error.into())),
        }
    }
    Err(FolderError::InUse { path })
}

/// The instance file is written last: without it the folder is new.
fn open_instance(
    dir: &Path,
    cell: &str,
    node: &NodeName,
    fresh: AgentInstance,
) -> Result<AgentInstance, FolderError> {
    let path = dir.join("instance");
    if path.try_exists().map_err(|source| access(&path, source))? {
        let found: InstanceFile = read(dir, "instance")?;
        if found.cell != cell || found.node != node.as_str() {
            return Err(FolderError::Foreign {
                path: dir.to_owned(),
                cell: found.cell,
                node: found.node,
                own_cell: cell.to_owned(),
                own_node: node.clone(),
            });
        }
        let fault = |error: paceline_types::ParseIdError| damaged(&path, error.to_string());
        return found.instance.parse().map_err(fault);
    }
    // A first start that was cut short leaves a session and a fence that say nothing yet, but never orders.
    if dir.join("orders").exists() {
        return Err(damaged(&path, "it is missing, and orders is there"));
    }
    write(dir, "session", &SessionFile::new(LinkSession(0)))?;
    write(dir, "fence", &FenceFile::default())?;
    write(dir, "instance", &InstanceFile::new(cell, node, fresh))?;
    Ok(fresh)
}

fn access(path: &Path, source: io::Error) -> FolderError {
    FolderError::Access { path: path.to_owned(), source }
}

fn damaged(path: &Path, fault: impl Into<String>) -> FolderError {
    FolderError::Damaged { path: path.to_owned(), fault: fault.into() }
}

/// Reads a file of one frame.
fn read<T: serde::de::DeserializeOwned>(dir: &Path, name: &str) -> Result<T, FolderError> {
    let path = dir.join(name);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(damaged(&path, "it is missing")),
        Err(source) => return Err(access(&path, source)),
    };
    let frames = frame::read(&bytes).map_err(|fault| damaged(&path, fault.to_string()))?;
    match (&frames.payloads[..], frames.torn_bytes) {
        ([payload], 0) => serde_json::from_slice(payload).map_err(|error| damaged(&path, error.to_string())),
        _ => Err(damaged(&path, format!("its {} bytes are not one whole record", bytes.len()))),
    }
}

/// Replaces a file of one frame, durably.
fn write<T: serde::Serialize>(dir: &Path, name: &str, value: &T) -> Result<(), FolderError> {
    let payload = serde_json::to_vec(value).expect("plain structs of texts and numbers encode");
    let mut bytes = Vec::new();
    frame::append(&mut bytes, frame::CHAIN_START, &payload);
    replace(dir, name, &bytes).map(drop)
}

/// Writes a file beside, syncs it, and puts it in place; the file is returned open for appending.
fn replace(dir: &Path, name: &str, bytes: &[u8]) -> Result<File, FolderError> {
    let (path, beside) = (dir.join(name), dir.join(format!("{name}.new")));
    let written = || -> io::Result<File> {
        let mut file = File::create(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, &path)?;
        File::open(dir)?.sync_all()?;
        Ok(file)
    };
    written().map_err(|source| access(&path, source))
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
