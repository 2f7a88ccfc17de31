//! Reading finished jobs: one by uid or name, or many downwards, as a view of some revision may see them.

use std::collections::BTreeMap;
use std::sync::Arc;

use paceline_api::v1::ErrorCode;
use paceline_cell::{Cell, Job, JobSelector, RetiredJob};
use paceline_replica::{DiskError, History, HistoryRow, ReadLimit};
use paceline_types::{JobUid, NodeId, Revision};
use tokio::sync::Semaphore;
use tonic::Status;

use super::{JobHistory, key, uid_of};
use crate::refuse;

/// Reads at once: each holds a thread and what it decodes, at most a page.
const READS_AT_ONCE: usize = 4;
/// Rows that one page of a listing looks at, at most. Where a filter leaves few of them, the page is short.
const SCAN_ROWS: usize = 2_048;
/// And bytes: a row of a large job is a megabyte.
const SCAN_BYTES: usize = 16 << 20;

/// A job where it is: in the view, or in the history.
#[derive(Debug)]
pub(crate) enum Found<'v> {
    Live(&'v Job),
    Retired(Arc<RetiredJob>),
}

impl Found<'_> {
    pub(crate) fn job(&self) -> &Job {
        match self {
            Self::Live(job) => job,
            Self::Retired(retired) => retired.job(),
        }
    }

    pub(crate) const fn is_retired(&self) -> bool {
        matches!(self, Self::Retired(_))
    }

    /// The name of a node that a task was on.
    pub(crate) fn node_name(&self, view: &Cell, id: NodeId) -> Option<String> {
        let kept = match self {
            Self::Live(_) => None,
            Self::Retired(retired) => retired.node_name(id).map(ToString::to_string),
        };
        kept.or_else(|| view.node(id).map(|node| node.name.to_string()))
    }
}

/// What a listing asks for.
#[derive(Clone, Debug)]
pub(crate) struct Scan {
    /// Jobs that retired later are still in the view that the listing is of.
    pub view: Revision,
    /// Only jobs submitted before this one.
    pub before: Option<JobUid>,
    /// Only names that begin so.
    pub name_prefix: String,
}

/// Finished jobs, the newest first.
#[derive(Debug, Default)]
pub(crate) struct RetiredPage {
    pub jobs: Vec<Arc<RetiredJob>>,
    /// Nothing is left out down to this one; nothing when nothing is left out at all.
    pub down_to: Option<JobUid>,
}

/// The store for reads, away from the async workers.
#[derive(Clone)]
pub(super) struct Reads {
    store: Arc<dyn History>,
    places: Arc<Semaphore>,
    inline: bool,
}

impl Reads {
    pub(super) fn new(store: Arc<dyn History>, inline: bool) -> Self {
        Self { store, places: Arc::new(Semaphore::new(READS_AT_ONCE)), inline }
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn History) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, Status> {
        let _place = self.places.acquire().await.expect("the semaphore is never closed");
        let store = self.store.clone();
        let outcome = if self.inline {
            read(store.as_ref())
        } else {
            let task = tokio::task::spawn_blocking(move || read(store.as_ref())).await;
            task.unwrap_or_else(|error| Err(ReadError::Task(error.to_string())))
        };
        outcome.map_err(|error| {
            tracing::error!(%error, "the history of finished jobs cannot be read");
            refuse::plain(ErrorCode::Internal, error.to_string())
        })
    }
}

/// A row that cannot be read. It concerns one request; what is on the disk stays as it is.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("the history cannot be read: {0}")]
    Disk(#[from] DiskError),
    #[error("a finished job in the history cannot be decoded: {0}")]
    Job(#[from] paceline_cell::DecodeError),
    #[error("a row of the history has a key of {0} bytes; 12 are expected")]
    Key(usize),
    #[error("reading the history failed: {0}")]
    Task(String),
}

fn decoded(row: &HistoryRow) -> Result<Arc<RetiredJob>, ReadError> {
    Ok(Arc::new(RetiredJob::decode(&row.value)?))
}

impl JobHistory {
    /// The finished job that a selector means, as a view may see it.
    pub(crate) async fn find(
        &self,
        selector: &JobSelector,
        view: Revision,
    ) -> Result<Option<Arc<RetiredJob>>, Status> {
        // The tail first: what leaves it meanwhile is in the store by then.
        if let Some(found) = self.queue.tail(|tail| in_tail(tail, selector, view)) {
            return Ok(Some(found));
        }
        let selector = selector.clone();
        self.reads.read(move |store| in_store(store, &selector, view)).await
    }

    /// How many finished jobs are durable here. A count of this master's own; nothing when it cannot be read, which the
    /// next read of a job says louder.
    pub(crate) fn count(&self) -> u64 {
        self.reads.store.len().unwrap_or_default()
    }

    /// Finished jobs downwards, as a view may see them.
    pub(crate) async fn scan(&self, scan: Scan) -> Result<RetiredPage, Status> {
        let before = scan.before;
        let waiting = self.queue.tail(|tail| {
            let below = tail.iter().filter(|(uid, _)| before.is_none_or(|before| **uid < before));
            below.map(|(uid, job)| (*uid, job.clone())).collect::<BTreeMap<_, _>>()
        });
        self.reads.read(move |store| page(store, &scan, waiting)).await
    }
}

fn in_tail(
    tail: &BTreeMap<JobUid, Arc<RetiredJob>>,
    selector: &JobSelector,
    view: Revision,
) -> Option<Arc<RetiredJob>> {
    let visible = |job: &&Arc<RetiredJob>| job.retired() <= view;
    match selector {
        JobSelector::Uid(uid) => tail.get(uid).filter(visible).cloned(),
        JobSelector::Name(name) => {
            tail.values().rev().filter(visible).find(|job| *job.job().name == **name).cloned()
        }
    }
}

fn in_store(
    store: &dyn History,
    selector: &JobSelector,
    view: Revision,
) -> Result<Option<Arc<RetiredJob>>, ReadError> {
    let found = match selector {
        JobSelector::Uid(uid) => store.get(&key(*uid))?.filter(|row| row.revision <= view.0),
        JobSelector::Name(name) => {
            let mut newest = store.newest_named(name.as_bytes(), None)?;
            // Above the view: an older one of the name may be below it.
            while let Some(row) = newest.take_if(|row| row.revision > view.0) {
                newest = store.newest_named(name.as_bytes(), Some(&row.key))?;
            }
            newest
        }
    };
    found.as_ref().map(decoded).transpose()
}

fn page(
    store: &dyn History,
    scan: &Scan,
    mut found: BTreeMap<JobUid, Arc<RetiredJob>>,
) -> Result<RetiredPage, ReadError> {
    let before = scan.before.map(key);
    let limit = ReadLimit { rows: SCAN_ROWS, bytes: SCAN_BYTES };
    let rows = store.scan_back(before.as_deref(), limit)?;
    let mut down_to = None;
    for row in &rows {
        let uid = uid_of(&row.key).ok_or(ReadError::Key(row.key.len()))?;
        down_to = Some(uid);
        if row.revision <= scan.view.0 && row.name.starts_with(scan.name_prefix.as_bytes()) {
            found.insert(uid, decoded(row)?);
        }
    }
    if let Some(last) = rows.last()
        && store.scan_back(Some(&last.key), ReadLimit { rows: 1, bytes: 0 })?.is_empty()
    {
        down_to = None;
    }
    let shown = |(uid, job): &(JobUid, Arc<RetiredJob>)| {
        job.retired() <= scan.view
            && job.job().name.starts_with(&scan.name_prefix)
            && down_to.is_none_or(|down_to| *uid >= down_to)
    };
    let jobs = found.into_iter().rev().filter(shown).map(|(_, job)| job).collect();
    Ok(RetiredPage { jobs, down_to })
}
