//! Tasks as processes, each under a `paceline-supervisor` of its own.
//!
//! Here is what the agent's side of that does: give orders to a nursery, read records, and clear up after
//! supervisors that were killed. Everything that must survive the agent is in the supervisor.
//!
//! ```text
//! DATA/attempts/BOOT/ATTEMPT/   intent, which becomes exit; stop, work/, log/
//! DATA/logs/ATTEMPT/            output of forgotten attempts, within bounds
//! DATA/spare/                   folders of forgotten attempts for the next ones
//! DATA/trash/                   folders of forgotten attempts, on their way out
//! DATA/nudge                    the socket that supervisors write to
//! ```

mod bury;
mod cgroups;
mod environment;
mod janitor;
mod kept_groups;
mod launch;
mod layout;
mod nursery;
mod options;
mod order;
mod retention;
mod shared;
mod sight;
mod spares;
mod table;
mod take_up;
mod task_uids;
mod users;
mod watcher;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use options::{AllowedUsers, LogRetention, ProcessOptions};
use paceline_supervisor::Lease;
use paceline_supervisor::logs::LogStream;
use paceline_types::AttemptId;
pub(crate) use sight::translate;
pub use task_uids::TaskUids;

use crate::errors::{LaunchError, ObserveError, OpenError, StopError};
use crate::runtime::{Capability, ChangeListener, Launch, LogChunk, Observed, Runtime};
use janitor::Janitor;
use shared::Shared;
use watcher::Watcher;

/// Runs tasks as processes. Dropping it leaves every task running; opening it again finds them.
pub struct ProcessRuntime {
    shared: Arc<Shared>,
    watcher: Watcher,
    janitor: Janitor,
}

impl ProcessRuntime {
    /// Opens the data folder, makes it when it is missing, and takes up what an earlier agent left there.
    ///
    /// # Errors
    /// When the folder, the machine or the options do not allow it.
    pub fn open(data_dir: &Path, supervisor: PathBuf, options: ProcessOptions) -> Result<Self, OpenError> {
        let shared = Arc::new(Shared::open(data_dir, supervisor, options)?);
        let janitor = Janitor::start(shared.layout.trash())?;
        let watcher = Watcher::start(Arc::clone(&shared))?;
        Ok(Self { shared, watcher, janitor })
    }
}

impl Runtime for ProcessRuntime {
    fn capabilities(&self) -> Vec<Capability> {
        self.shared.capabilities()
    }

    fn launch(&self, launch: &Launch) -> Result<(), LaunchError> {
        self.launch_all(std::slice::from_ref(launch)).pop().unwrap_or(Ok(()))
    }

    fn launch_all(&self, launches: &[Launch]) -> Vec<Result<(), LaunchError>> {
        let launched = self.shared.launch_all(launches);
        if launched.iter().any(Result::is_err) {
            // What a failed one leaves lies in the trash.
            self.janitor.wake();
        }
        // No supervisor tells of an attempt that was refused here.
        let ended =
            launches.iter().map(|launch| launch.attempt).filter(|attempt| self.shared.has_ended(attempt));
        ended.for_each(|attempt| self.watcher.tell(attempt));
        launched
    }

    fn stop(&self, attempt: &AttemptId, grace_ms: u64) -> Result<(), StopError> {
        self.shared.stop(attempt, grace_ms)
    }

    fn renew_lease(&self, attempt: &AttemptId, lease: Lease) -> Result<(), StopError> {
        self.shared.renew_lease(attempt, lease)
    }

    fn boot_clock_ms(&self) -> u64 {
        let since = Duration::try_from(rustix::time::clock_gettime(rustix::time::ClockId::Boottime));
        since.map_or(u64::MAX, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    fn observe(&self, attempt: &AttemptId) -> Result<Option<Observed>, ObserveError> {
        self.shared.observe(attempt)
    }

    fn attempts(&self) -> Result<Vec<(AttemptId, Observed)>, ObserveError> {
        let ids = self.shared.table.ids();
        let observed = ids.into_iter().map(|id| Ok(self.shared.observe(&id)?.map(|observed| (id, observed))));
        observed.filter_map(Result::transpose).collect()
    }

    fn forget(&self, attempt: &AttemptId) -> Result<(), ObserveError> {
        self.shared.forget(attempt)?;
        self.janitor.wake();
        Ok(())
    }

    fn read_log(
        &self,
        attempt: &AttemptId,
        stream: LogStream,
        offset: u64,
        max_bytes: usize,
    ) -> Result<LogChunk, ObserveError> {
        self.shared.read_log(attempt, stream, offset, max_bytes)
    }

    fn subscribe(&self, listener: ChangeListener) {
        self.watcher.subscribe(listener);
    }
}
