//! Listings in pages: every page of one listing comes from one view, which is pinned until it is no longer read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use paceline_api::v1::ErrorCode;
use paceline_cell::Cell;
use paceline_types::{JobUid, Revision};
use parking_lot::Mutex;
use tonic::Status;

use crate::refuse;

/// Views that are pinned at once. A view shares what did not change with its successors, but a pinned one keeps what
/// did change alive; beyond the bound the one that was not read for longest goes.
const PINNED_MAX: usize = 64;
/// Views that one caller pins at once: whoever begins many listings and ends none loses its own, not those of others.
const PINNED_PER_CALLER_MAX: usize = 8;
/// A listing that is not read for so long is over.
const PINNED_FOR: Duration = Duration::from_secs(60);
/// A token: revision and position, eight bytes each, and four for the ordinal of a job.
const TOKEN_BYTES: usize = 20;

/// The views of listings that go on.
#[derive(Default)]
pub(crate) struct Pages {
    pinned: Mutex<BTreeMap<(String, Revision), Pinned>>,
}

struct Pinned {
    view: Arc<Cell>,
    read: Instant,
}

/// Where a listing goes on.
pub(crate) struct Page {
    pub view: Arc<Cell>,
    pub position: u64,
    ordinal: u32,
}

impl Page {
    /// The first page of a view.
    pub(crate) const fn first(view: Arc<Cell>) -> Self {
        Self { view, position: 0, ordinal: 0 }
    }

    /// The job that a listing of jobs goes on after; nothing on the first page.
    pub(crate) fn after_job(&self) -> Option<JobUid> {
        // No job was submitted at revision 0.
        (self.position != 0).then_some(JobUid { revision: Revision(self.position), ordinal: self.ordinal })
    }
}

impl Pages {
    /// The page of a caller's token; nothing for an empty one, which begins a listing.
    pub(crate) fn find(&self, caller: &str, token: &[u8]) -> Result<Option<Page>, Status> {
        if token.is_empty() {
            return Ok(None);
        }
        let expired = || {
            refuse::plain(ErrorCode::PageExpired, "the page token is of another cell or too old: list again")
        };
        let token: [u8; TOKEN_BYTES] = token.try_into().map_err(|_| expired())?;
        let number = |at: usize| u64::from_be_bytes(std::array::from_fn(|byte| token[at + byte]));
        let mut pinned = self.pinned.lock();
        let found = pinned.get_mut(&(caller.to_owned(), Revision(number(0)))).ok_or_else(expired)?;
        found.read = Instant::now();
        let ordinal = u32::from_be_bytes(std::array::from_fn(|byte| token[16 + byte]));
        Ok(Some(Page { view: found.view.clone(), position: number(8), ordinal }))
    }

    /// Pins a view and names the next page.
    pub(crate) fn token(&self, caller: &str, view: &Arc<Cell>, position: u64) -> Bytes {
        self.pin(caller, view, position, 0)
    }

    /// Pins a view and names the page of the jobs that were submitted before this one. A job is the same whether it is in
    /// the view or in the history, and whatever retires meanwhile.
    pub(crate) fn token_after(&self, caller: &str, view: &Arc<Cell>, job: JobUid) -> Bytes {
        self.pin(caller, view, job.revision.0, job.ordinal)
    }

    /// Lets go of views whose listing is over.
    pub(crate) fn sweep(&self) {
        self.pinned.lock().retain(|_, pinned| pinned.read.elapsed() < PINNED_FOR);
    }

    fn pin(&self, caller: &str, view: &Arc<Cell>, position: u64, ordinal: u32) -> Bytes {
        let mut pinned = self.pinned.lock();
        let key = (caller.to_owned(), view.revision());
        pinned.insert(key, Pinned { view: view.clone(), read: Instant::now() });
        drop_idle(&mut pinned, PINNED_PER_CALLER_MAX, |owner| owner == caller);
        drop_idle(&mut pinned, PINNED_MAX, |_| true);
        let mut token = view.revision().0.to_be_bytes().to_vec();
        token.extend_from_slice(&position.to_be_bytes());
        token.extend_from_slice(&ordinal.to_be_bytes());
        token.into()
    }
}

/// Drops those that were not read for longest until the chosen callers have no more than so many.
fn drop_idle(pinned: &mut BTreeMap<(String, Revision), Pinned>, most: usize, chosen: impl Fn(&str) -> bool) {
    loop {
        let of_them = pinned.iter().filter(|((owner, _), _)| chosen(owner));
        if of_them.clone().count() <= most {
            return;
        }
        let idle = of_them.min_by_key(|(_, pinned)| pinned.read).map(|(key, _)| key.clone());
        let Some(idle) = idle else { return };
        pinned.remove(&idle);
    }
}

/// The size of a page: what was asked for within the bound, or the default for zero.
pub(crate) fn size(asked: u32, default: u32, most: u32) -> Result<usize, Status> {
    let size = if asked == 0 { default } else { asked };
    match usize::try_from(size) {
        Ok(items) if size <= most => Ok(items),
        _ => Err(refuse::invalid_field("page_size", asked.to_string(), format!("at most {most}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_finds_its_view_until_too_many_are_pinned() {
        let pages = Pages::default();
        let view = Arc::new(Cell::genesis("test"));
        let token = pages.token("a", &view, 7);
        let page = pages.find("a", &token).expect("kept").expect("a page");
        assert!(Arc::ptr_eq(&page.view, &view) && page.position == 7);
        assert!(pages.find("a", &[]).expect("a new listing").is_none());
        assert!(pages.find("a", &[1, 2]).is_err());
        let job = JobUid { revision: Revision(3), ordinal: 2 };
        let page = pages.find("a", &pages.token_after("a", &view, job)).expect("kept").expect("a page");
        assert_eq!((page.after_job(), Page::first(view.clone()).after_job()), (Some(job), None));
        let mut other = token.to_vec();
        other[7] = 9;
        assert!(pages.find("a", &other).is_err());
    }

    #[test]
    fn whoever_begins_many_listings_loses_its_own_and_not_those_of_others() {
        let pages = Pages::default();
        let mut cell = Cell::genesis("test");
        let other = pages.token("b", &Arc::new(cell.clone()), 1);
        let mut tokens = Vec::new();
        for revision in 1..=200 {
            cell.apply_undecodable(Revision(revision));
            tokens.push(pages.token("a", &Arc::new(cell.clone()), 1));
        }
        assert!(pages.find("b", &other).is_ok());
        assert!(pages.find("a", &other).is_err(), "it is another's");
        let kept = tokens.iter().filter(|token| pages.find("a", token).is_ok()).count();
        assert_eq!(kept, PINNED_PER_CALLER_MAX);
        assert!(pages.find("a", &tokens[199]).is_ok());
        pages.sweep();
        assert_eq!(pages.pinned.lock().len(), PINNED_PER_CALLER_MAX + 1, "all are read");
    }

    #[test]
    fn a_page_is_bounded() {
        assert_eq!(size(0, 100, 1_000).expect("default"), 100);
        assert_eq!(size(1_000, 100, 1_000).expect("bound"), 1_000);
        assert!(size(1_001, 100, 1_000).is_err());
    }
}
