//! Which view answers a read: linearizable by default, stale on request, at least or exactly at a revision where asked.

use std::sync::Arc;
use std::time::Duration;

use paceline_api::v1::{ErrorCode, ReadOptions};
use paceline_cell::Cell;
use paceline_replica::Replica;
use paceline_types::Revision;
use tokio::time::timeout;
use tonic::Status;

use crate::published::Published;
use crate::refuse;

/// Longest wait for a revision. Below the first try of a client, so that it hears that this master is behind, and may
/// ask another, before it gives the try up.
const WAIT_MAX: Duration = Duration::from_millis(1_500);

/// Answers reads of one replica.
#[derive(Clone)]
pub(crate) struct Reads {
    replica: Arc<Replica>,
    published: Arc<Published>,
}

impl Reads {
    pub(crate) fn new(replica: Arc<Replica>, published: Arc<Published>) -> Self {
        Self { replica, published }
    }

    /// The view that may answer: after one read-index round, unless a stale one will do.
    pub(crate) async fn view(&self, read: Option<&ReadOptions>) -> Result<Arc<Cell>, Status> {
        let read = read.copied().unwrap_or_default();
        if !read.stale {
            // Returns once everything up to the index is applied here, and so published. The index itself may be that
            // of an entry of Raft's own, which no view carries as its revision.
            self.replica.read_index().await.map_err(|error| refuse::read(&error))?;
        }
        self.at_least(Revision(read.min_revision)).await
    }

    /// The view of exactly a revision: a recent one, or the one that comes when it is waited for.
    pub(crate) async fn exactly(&self, revision: Revision) -> Result<Arc<Cell>, Status> {
        // First said, then looked: what is applied in between is kept.
        let Some(_wanted) = self.published.want(revision) else {
            let message = "too many revisions are waited for: ask again";
            return Err(refuse::plain(ErrorCode::Behind, message));
        };
        let latest = self.at_least(revision).await?;
        let found = self.published.view_at(revision).or((latest.revision() == revision).then_some(latest));
        found.ok_or_else(|| {
            let now = self.published.view().revision();
            let message = format!(
                "the view of revision {revision} is not kept, the latest is {now}: ask for a revision that is current or to come"
            );
            // It will not come again, so a retry would be in vain.
            refuse::plain(ErrorCode::Conflict, message)
        })
    }

    /// Waits until a view has reached a revision.
    pub(crate) async fn at_least(&self, floor: Revision) -> Result<Arc<Cell>, Status> {
        let mut revisions = self.published.subscribe();
        let reached = timeout(WAIT_MAX, revisions.wait_for(|revision| *revision >= floor)).await;
        match reached {
            Ok(Ok(_)) => Ok(self.published.view()),
            Ok(Err(_)) => Err(refuse::plain(ErrorCode::Unavailable, "this master is shutting down")),
            Err(_) => {
                let now = self.published.view().revision();
                let message =
                    format!("the view is at revision {now} and did not reach {floor} within {WAIT_MAX:?}");
                Err(refuse::plain(ErrorCode::Behind, message))
            }
        }
    }
}
