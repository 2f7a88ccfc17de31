//! A master that must not go on: it was removed from its cell, or stands on a disk that the others do not know.

use std::sync::Arc;

use paceline_replica::{Disk, Dismissal, Execution, Replica, format_disk_id, leave};
use tokio::sync::watch;

use crate::config::MasterConfig;
use crate::run::MasterError;

/// Why this master must not go on; never, as long as it may.
pub(crate) async fn dismissed(
    dismissal: &mut watch::Receiver<Option<Dismissal>>,
    config: &MasterConfig,
    replica: &Replica,
) -> MasterError {
    let why = dismissal.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
    let (cell, name) = (config.cell.clone(), config.name.clone());
    match why {
        Some(Dismissal::Removed { at }) => MasterError::Removed { name, cell, at },
        Some(Dismissal::OtherDisk { known }) => {
            let (known, own) = (format_disk_id(&known), format_disk_id(&replica.disk_id()));
            MasterError::OtherDisk { name, cell, known, own }
        }
        None => std::future::pending().await,
    }
}

/// Leaves a note in the folder of a master that was removed, so that it does not start again there. The log must be
/// closed: nothing may be written after it.
pub(crate) async fn note(why: &MasterError, disk: &Arc<dyn Disk>, execution: Execution) {
    if !matches!(why, MasterError::Removed { .. }) {
        return;
    }
    let (of, words) = (disk.clone(), why.to_string());
    if let Some(Err(error)) = execution.blocking(move || leave(of.as_ref(), &words)).await {
        tracing::error!(%error, "the note that this master was removed was not left: it will hear of it again");
    }
}
