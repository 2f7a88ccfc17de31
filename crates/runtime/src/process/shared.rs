//! What every thread of the runtime shares, and the operations on it.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use paceline_supervisor::cgroup::Mounts;
use paceline_supervisor::logs::{self, LogStream};
use paceline_supervisor::{
    Intent, LOG_FOLDER, Lease, ProcessIdentity, Record, RecordError, Stop, boot_id, is_gone, read, replace,
};
use paceline_types::{AttemptId, check_name};
use rustix::fs::OFlags;

use crate::errors::{ObserveError, OpenError, StopError};
use crate::process::bury;
use crate::process::cgroups::Cgroups;
use crate::process::kept_groups::Shelves;
use crate::process::layout::{Layout, closed_ancestor};
use crate::process::nursery::Nursery;
use crate::process::options::ProcessOptions;
use crate::process::retention::Retention;
use crate::process::sight::{Sight, look};
use crate::process::spares::Spares;
use crate::process::table::{Seen, Supervisor, Table};
use crate::process::task_uids::Pool;
use crate::process::users::Users;
use crate::runtime::{Capability, CapabilityCode, LogChunk, Observed};

/// The runtime without its threads.
pub struct Shared {
    pub(super) layout: Layout,
    pub(super) table: Table,
    pub(super) options: ProcessOptions,
    pub(super) users: Users,
    pub(super) task_uids: Pool,
    pub(super) cgroups: Cgroups,
    pub(super) kept_groups: Shelves,
    pub(super) boot: String,
    retention: Retention,
    pub(super) spares: Spares,
    pub(super) nursery: Nursery,
}

impl Shared {
    /// Opens everything and takes up what is on disk.
    pub fn open(data_dir: &Path, supervisor: PathBuf, options: ProcessOptions) -> Result<Self, OpenError> {
        check_name("cell name", &options.cell).map_err(OpenError::Name)?;
        check_name("node name", &options.node).map_err(OpenError::Name)?;
        let supervisor =
            supervisor.canonicalize().map_err(|_| OpenError::NoSupervisor { path: supervisor })?;
        let users = Users::new(rustix::process::geteuid().as_raw(), &options);
        let default = users.resolve(None).map_err(OpenError::Accounts)?;
        default.map_err(OpenError::DefaultUser)?;
        users.check_task_uids().map_err(OpenError::TaskUids)?;
        let boot = boot_id().map_err(OpenError::Facts)?;
        let layout = Layout::open(data_dir, &boot)?;
        let tag = layout.tag().map_err(OpenError::Facts)?;
        let cgroups = Cgroups::probe(&options, &Mounts::discover().map_err(OpenError::Facts)?, &tag);
        let logs = layout.logs();
        let retention = Retention::open(logs.clone(), options.retention)
            .map_err(|source| OpenError::Folder { path: logs, source })?;
        let (table, task_uids) = (Table::default(), Pool::new(options.task_uids));
        let (spares, nursery) = (Spares::new(layout.spares()), Nursery::new(supervisor));
        let kept_groups = Shelves::new();
        let shared = Self {
            layout,
            table,
            options,
            users,
            task_uids,
            cgroups,
            kept_groups,
            boot,
            retention,
            spares,
            nursery,
        };
        shared.take_up()?;
        Ok(shared)
    }

    /// What it can enforce.
    pub fn capabilities(&self) -> Vec<Capability> {
        let mut explanation = self.users.describe();
        if let Some(closed) = closed_ancestor(self.layout.root()).filter(|_| self.users.switches()) {
            let closed = closed.display();
            explanation += &format!("; {closed} is closed to them, so their folder has no usable path");
        }
        let enforced = self.users.switches();
        let mut all = self.cgroups.capabilities();
        all.push(Capability { code: CapabilityCode::UserSwitch, enforced, explanation });
        all.push(self.users.own_user());
        all
    }

    /// See [`crate::Runtime::stop`].
    pub fn stop(&self, attempt: &AttemptId, grace_ms: u64) -> Result<(), StopError> {
        match self.observe(attempt)? {
            None => return Err(StopError::Unknown { attempt: *attempt }),
            Some(Observed::Exited(_)) => return Ok(()),
            Some(_) => {}
        }
        let folder = self.layout.attempt(attempt);
        let failed = |path, source| StopError::Write { attempt: *attempt, path, source };
        replace(&folder, &Stop { grace_ms }).map_err(|source| failed(folder.join(Stop::NAME), source))?;
        wake(&folder, &self.boot).map_err(|(path, source)| failed(path, source))
    }

    /// See [`crate::Runtime::renew_lease`].
    pub fn renew_lease(&self, attempt: &AttemptId, lease: Lease) -> Result<(), StopError> {
        let glance = self.table.glance(attempt).ok_or(StopError::Unknown { attempt: *attempt })?;
        if glance.exit.is_some() {
            return Ok(());
        }
        let failed = |path, source| StopError::Write { attempt: *attempt, path, source };
        let written = replace(&glance.folder, &lease);
        written.map_err(|source| failed(glance.folder.join(Lease::NAME), source))?;
        wake(&glance.folder, &self.boot).map_err(|(path, source)| failed(path, source))
    }

    /// See [`crate::Runtime::observe`].
    pub fn observe(&self, attempt: &AttemptId) -> Result<Option<Observed>, ObserveError> {
        let Some(glance) = self.table.glance(attempt) else { return Ok(None) };
        let observed = match glance.exit {
            Some(exit) => Observed::Exited(exit),
            None => self.look(attempt, &glance.folder, glance.supervisor)?,
        };
        if let Observed::Exited(exit) = &observed {
            self.table.ended(attempt, exit);
        }
        self.table.told(attempt, Seen::from(&observed));
        Ok(Some(observed))
    }

    /// Whether the end of an attempt is known without a look.
    pub fn has_ended(&self, attempt: &AttemptId) -> bool {
        self.table.glance(attempt).is_some_and(|glance| glance.exit.is_some())
    }

    /// See [`crate::Runtime::forget`].
    pub fn forget(&self, attempt: &AttemptId) -> Result<(), ObserveError> {
        let exit = match self.observe(attempt)? {
            None => return Ok(()),
            Some(Observed::Exited(exit)) => exit,
            Some(_) => return Err(ObserveError::NotEnded { attempt: *attempt }),
        };
        let Some(glance) = self.table.glance(attempt) else { return Ok(()) };
        let failed = |path: &Path, source| ObserveError::Folder { path: path.to_owned(), source };
        let output = glance.folder.join(LOG_FOLDER);
        self.retention.keep(attempt, &output).map_err(|source| failed(&output, source))?;
        let trash = self.layout.new_trash(attempt);
        // Where something is to be said of the end, a process of it may still be there.
        let went_whole = exit.message.is_empty();
        let moved = match went_whole {
            true => self.spares.put(&glance.folder, &trash),
            false => fs::rename(&glance.folder, trash),
        };
        moved.map_err(|source| failed(&glance.folder, source))?;
        self.table.remove(attempt);
        self.task_uids.give_back(attempt);
        self.give_groups_back(attempt, went_whole);
        Ok(())
    }

    /// The attempt is gone, or was never started: its groups are for the next, or nobody's.
    pub(super) fn give_groups_back(&self, attempt: &AttemptId, may_wait: bool) {
        if let Some(name) = self.kept_groups.give_back(attempt, may_wait) {
            self.cgroups.remove(&name);
        }
    }

    /// See [`crate::Runtime::read_log`].
    pub fn read_log(
        &self,
        attempt: &AttemptId,
        stream: LogStream,
        offset: u64,
        bytes_max: usize,
    ) -> Result<LogChunk, ObserveError> {
        // Ended before it is read: then what is read is all there is.
        let ended = !matches!(self.observe(attempt)?, Some(Observed::Starting | Observed::Running { .. }));
        let kept = self.retention.path(attempt);
        let folder = match self.table.glance(attempt) {
            Some(glance) => glance.folder.join(LOG_FOLDER),
            None if kept.exists() => kept,
            None => return Err(ObserveError::Unknown { attempt: *attempt }),
        };
        let chunk = logs::read_log(&folder, stream, offset, bytes_max)
            .map_err(|source| ObserveError::Folder { path: folder, source })?;
        let complete = ended && chunk.bytes.len() < bytes_max;
        Ok(LogChunk { offset: chunk.offset, bytes: chunk.bytes, complete })
    }

    /// Attempts that may have changed since the agent looked.
    pub fn changed(&self) -> Vec<AttemptId> {
        self.table.open_ids().into_iter().filter(|attempt| self.has_changed(attempt)).collect()
    }

    /// Removes what is empty and only ours, on the way out.
    pub fn close(&self) {
        // Those of the ended go with the others; what is in use is cleared by the next agent when it has ended.
        let ended = self.table.ids().into_iter().filter(|attempt| self.has_ended(attempt));
        ended.for_each(|attempt| self.give_groups_back(&attempt, false));
        self.kept_groups.clear().for_each(|name| self.cgroups.remove(&name));
        self.cgroups.drop_empty();
    }

    /// Of a task that runs only its supervisor is looked at: it goes as soon as it has written the end.
    fn has_changed(&self, attempt: &AttemptId) -> bool {
        let Some(glance) = self.table.glance(attempt) else { return false };
        let dead = match glance.supervisor {
            Supervisor::Coming => false,
            Supervisor::Held(holder) => glance.exit.is_none() && !holder.is_alive(),
            Supervisor::OfAnotherBoot => true,
            Supervisor::Unheard => match read::<Intent>(&glance.folder) {
                Ok(intent) => !intent.is_some_and(|intent| intent.is_held(&self.boot)),
                Err(_) => true,
            },
        };
        dead || glance.exit.is_some() || glance.seen != Seen::Running
    }

    fn look(
        &self,
        attempt: &AttemptId,
        folder: &Path,
        supervisor: Supervisor,
    ) -> Result<Observed, ObserveError> {
        let record = |source| ObserveError::Record { attempt: *attempt, source };
        let orphan = match look(folder, supervisor, &self.boot).map_err(record)? {
            Sight::Observed(observed) => return Ok(observed),
            Sight::Orphaned(orphan) => orphan,
        };
        let name = attempt.to_string();
        let failed = |source| ObserveError::Folder { path: folder.to_owned(), source };
        // Between the look and now a supervisor may have come after all.
        if orphan.holder.is_none() && !bury::take_unheld(folder, &name).map_err(failed)? {
            return Ok(Observed::Starting);
        }
        tracing::warn!(attempt = name, "its supervisor died; clearing what is left of it");
        // A supervisor makes its groups after its intent: what is called after an attempt that none has held may be
        // another's by now.
        let groups = orphan.holder.as_ref().map(|_| orphan.groups.as_deref().unwrap_or(&name));
        bury::clear(folder, &orphan, &groups.map(|groups| self.cgroups.all(groups)).unwrap_or_default());
        bury::write_end(folder, &orphan).map_err(failed)?;
        match look(folder, supervisor, &self.boot).map_err(record)? {
            Sight::Observed(observed) => Ok(observed),
            Sight::Orphaned(_) => Err(failed(io::Error::other("the end was written and is not there"))),
        }
    }
}

/// Writes a byte into the supervisor's pipe. Without an intent the supervisor is still to come, and reads the
/// stop record behind its intent; one that has gone needs no waking.
fn wake(folder: &Path, boot: &str) -> Result<(), (PathBuf, io::Error)> {
    let damaged = |error: RecordError| (folder.join(Intent::NAME), io::Error::other(error.to_string()));
    let Some(Intent { holder: Some(holder), control: Some(pipe), .. }) = read(folder).map_err(damaged)?
    else {
        return Ok(());
    };
    if !holder.is_alive(boot) {
        return Ok(());
    }
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let flags = i32::try_from(flags.bits()).expect("open flags are small");
    let path = PathBuf::from(format!("/proc/{}/fd/{pipe}", holder.pid));
    let woken = OpenOptions::new().write(true).custom_flags(flags).open(&path).and_then(|mut pipe| {
        // What was opened is the supervisor's only if the id was its own until now.
        if ProcessIdentity::of(holder.pid, boot)? == holder { pipe.write_all(b"w") } else { Ok(()) }
    });
    let nobody = rustix::io::Errno::NXIO.raw_os_error();
    match woken {
        // A full pipe wakes as well as a byte more.
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::WouldBlock) => Ok(()),
        Err(e) if e.raw_os_error() == Some(nobody) || is_gone(&e) => Ok(()),
        other => other.map_err(|source| (path, source)),
    }
}
