//! Keeping the log short: a snapshot after so many bytes, then a purge that leaves a tail. Only what is behind a current
//! snapshot is purged, and a snapshot becomes current only when the history's watermark has reached it.
//!
//! By bytes, because what counts is how long a cold start replays, and entries differ by a factor of ten thousand.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;

use crate::config::ReplicaConfig;
use crate::log::LogView;
use crate::raft::Raft;
use crate::snapshot::SnapshotFolder;

/// How often the size of the log is looked at: the log grows by less than a snapshot's worth in between.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Starts the task; it ends with Raft, or at once by its handle.
pub fn start(
    raft: Raft,
    log: LogView,
    snapshots: Arc<SnapshotFolder>,
    config: &ReplicaConfig,
) -> AbortHandle {
    let (after_bytes, tail_bytes) = (config.snapshot_after_log_bytes, config.log_tail_bytes);
    let task = tokio::spawn(async move {
        let mut purged_for = None;
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let snapshot = snapshots.current_index();
            let mut step = Ok(());
            if log.bytes_after(snapshot) >= after_bytes {
                step = raft.trigger().snapshot().await;
            }
            if step.is_ok() && snapshot != purged_for {
                purged_for = snapshot;
                if let Some(upto) = snapshot.and_then(|index| log.purge_index(index, tail_bytes)) {
                    step = raft.trigger().purge_log(upto).await;
                }
            }
            if step.is_err() {
                return;
            }
        }
    });
    task.abort_handle()
}
