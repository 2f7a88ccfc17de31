//! What an operator may choose about a node's tasks. Everything has a default that is safe.

use std::collections::BTreeSet;

use paceline_supervisor::LogLimits;

use crate::process::task_uids::TaskUids;

/// Output kept per stream of a task: eight files of 1 MiB. Enough to see how something went wrong, little
/// enough that a node of a hundred tasks that all write without pause stays below 2 GiB.
const LOG_LIMITS: LogLimits = LogLimits { segment_bytes: 1 << 20, segments: 8 };

/// Output kept of forgotten attempts: what people ask for is the latest failure.
const LOG_RETENTION: LogRetention = LogRetention { bytes: 256 << 20, attempts: 1000 };

/// The user that tasks run as when the agent is root.
const DEFAULT_USER: &str = "nobody";

/// The folder of all our cgroups, below each hierarchy's mount.
const CGROUP_PARENT: &str = "paceline";

/// Files of a task: all for its user, reading for its group, nothing for others.
const UMASK: u32 = 0o027;

/// Which users a job may name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedUsers {
    /// These.
    Listed(BTreeSet<String>),
    /// Accounts of people, not of the system: user ids from 1000 on.
    Ordinary,
    /// Any, root too.
    Any,
}

/// How much output of forgotten attempts is kept; the oldest goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogRetention {
    /// Of all of them together.
    pub bytes: u64,
    /// How many.
    pub attempts: usize,
}

/// How a node runs its tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessOptions {
    /// The cell's name.
    pub cell: String,
    /// The node's name.
    pub node: String,
    /// Who tasks run as that name nobody, when the agent is root. Otherwise the agent's own user.
    pub default_user: String,
    /// Instead of the default user, a user id of its own for each attempt that names nobody; only for an agent
    /// that is root.
    pub task_uids: Option<TaskUids>,
    /// Whom they may name, when the agent is root.
    pub allowed_users: AllowedUsers,
    /// File mode bits that tasks' files do not get.
    pub umask: u32,
    /// Output kept per stream.
    pub logs: LogLimits,
    /// Output kept of forgotten attempts.
    pub retention: LogRetention,
    /// The folder of all our cgroups; nothing: no cgroups are used.
    pub cgroup_parent: Option<String>,
}

impl ProcessOptions {
    /// The defaults for a node of a cell.
    #[must_use]
    pub fn new(cell: &str, node: &str) -> Self {
        Self {
            cell: cell.to_owned(),
            node: node.to_owned(),
            default_user: DEFAULT_USER.to_owned(),
            task_uids: None,
            allowed_users: AllowedUsers::Ordinary,
            umask: UMASK,
            logs: LOG_LIMITS,
            retention: LOG_RETENTION,
            cgroup_parent: Some(CGROUP_PARENT.to_owned()),
        }
    }
}
