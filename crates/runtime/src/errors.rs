//! What can go wrong, one enum per operation. What happens to a task is no error but an [`crate::Exit`].

use std::io;
use std::path::PathBuf;

use paceline_supervisor::RecordError;
use paceline_types::{AttemptId, ParseIdError};

/// Why a runtime could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A name that goes into paths is not one.
    #[error("a name of this node cannot be used")]
    Name(#[source] ParseIdError),
    /// The data folder cannot be used.
    #[error("cannot use the data folder {}", path.display())]
    Folder {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Tasks get its path in their environment.
    #[error("the path of the data folder {} is not UTF-8; choose another", path.display())]
    PathNotUtf8 {
        /// The folder.
        path: PathBuf,
    },
    /// Another agent works in it.
    #[error("the data folder {} is in use by another agent", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// There is no supervisor where it should be.
    #[error("there is no supervisor at {}; it is installed beside the paceline binary", path.display())]
    NoSupervisor {
        /// Where it should be.
        path: PathBuf,
    },
    /// The kernel does not say what is needed.
    #[error("cannot read the facts of this machine from /proc")]
    Facts(#[source] io::Error),
    /// The accounts of this machine cannot be read.
    #[error("cannot read the accounts of this machine")]
    Accounts(#[source] io::Error),
    /// The user that tasks run as is not known on this machine.
    #[error("the default user for tasks cannot be used: {0}")]
    DefaultUser(String),
    /// The range of user ids for tasks cannot be used.
    #[error("the user ids for tasks cannot be used: {0}")]
    TaskUids(String),
    /// No thread to watch with.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

/// Why an attempt could not be started. It did not start; to try again is safe.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// Its folder or its order cannot be written.
    #[error("cannot write {} for attempt {attempt}", path.display())]
    Write {
        /// The attempt.
        attempt: AttemptId,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The accounts of this machine cannot be read.
    #[error("cannot read the accounts of this machine for attempt {attempt}")]
    Accounts {
        /// The attempt.
        attempt: AttemptId,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Its script says so.
    #[error("attempt {attempt} is scripted to meet {of} faults of its node at launch; this is fault {fault}")]
    Scripted {
        /// The attempt.
        attempt: AttemptId,
        /// Which of them, from 1.
        fault: u32,
        /// How many there will be.
        of: u32,
    },
    /// There is no user id left for it.
    #[error("there is no user id for attempt {attempt}: {cause}")]
    NoUid {
        /// The attempt.
        attempt: AttemptId,
        /// Which are taken.
        cause: String,
    },
    /// The supervisor cannot be started.
    #[error("cannot start the supervisor {} for attempt {attempt}", supervisor.display())]
    Spawn {
        /// The attempt.
        attempt: AttemptId,
        /// The binary.
        supervisor: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Why an attempt could not be told to stop.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// It is not on this node, or was forgotten.
    #[error("attempt {attempt} is not on this node")]
    Unknown {
        /// The attempt.
        attempt: AttemptId,
    },
    /// The stop record cannot be written, or its supervisor not be woken.
    #[error("cannot pass the stop of attempt {attempt} on through {}", path.display())]
    Write {
        /// The attempt.
        attempt: AttemptId,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Its state cannot be read.
    #[error(transparent)]
    Observe(#[from] ObserveError),
}

/// Why the state of an attempt is not known, or it could not be forgotten.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// It is not on this node, or was forgotten and its logs have gone too.
    #[error("attempt {attempt} is not on this node")]
    Unknown {
        /// The attempt.
        attempt: AttemptId,
    },
    /// Only what has ended can be forgotten.
    #[error("attempt {attempt} has not ended, so it cannot be forgotten")]
    NotEnded {
        /// The attempt.
        attempt: AttemptId,
    },
    /// A record cannot be read or is damaged.
    #[error("the state of attempt {attempt} is not known")]
    Record {
        /// The attempt.
        attempt: AttemptId,
        /// Names the file.
        #[source]
        source: RecordError,
    },
    /// The file system refuses.
    #[error("cannot use {}", path.display())]
    Folder {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}
