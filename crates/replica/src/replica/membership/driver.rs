//! On the leader: goes on with what was asked for, whoever asked and whoever led then.
//!
//! ```text
//! every look: the masters as they are ─► the next step ─► a change of the membership, or a handover
//! ```

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::changes::Changes;
use super::picture::Step;
use crate::replica::errors::MembershipError;
use crate::replica::handover::Handover;
use crate::replica::status::ReplicaStatus;

/// How often the leader looks: a new master votes this long after it has caught up.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// Starts the task; it ends with the replica.
pub fn start(
    changes: Changes,
    handover: Arc<Handover>,
    status: watch::Receiver<ReplicaStatus>,
) -> AbortHandle {
    let task = tokio::spawn(async move {
        let mut last_words = String::new();
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            if status.has_changed().is_err() {
                return;
            }
            if !status.borrow().leading {
                continue;
            }
            let words = look(&changes, &handover).await.err().map(|error| error.to_string());
            let words = words.unwrap_or_default();
            if !words.is_empty() && words != last_words {
                tracing::warn!(words, "a change of the masters was not made; it is tried again");
            }
            last_words = words;
        }
    });
    task.abort_handle()
}

async fn look(changes: &Changes, handover: &Handover) -> Result<(), MembershipError> {
    // Whoever asks for a change at the moment makes it.
    let Some(change) = changes.try_begin() else { return Ok(()) };
    let Ok((picture, seen)) = changes.picture() else { return Ok(()) };
    let Some(step) = picture.next() else { return Ok(()) };
    tracing::info!(?step, "changing the masters");
    if step == Step::HandOver {
        drop(change);
        return handover.hand_over(None).await.map_err(MembershipError::HandOver);
    }
    change.take(step, &picture, seen).await
}
