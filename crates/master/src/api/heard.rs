//! What the leader's loop heard last of its links, shared by all who read it.
//!
//! ```text
//! reads ──► heard (at most so old) ──► one question at a time ──► the leader's loop
//! ```
//!
//! An answer costs the loop a look at each node, however little of it a read shows: so many readers cost it no more
//! than one that asks again and again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::leader::LinksAnswer;

/// How old an answer may be: young beside a detection period, and a cell of 25,000 nodes then costs the loop some
/// milliseconds in each half second, however much is read.
const HEARD_FOR: Duration = Duration::from_millis(500);

/// The last answer.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    keeps: Duration,
    last: Arc<Mutex<Option<Last>>>,
}

#[derive(Debug)]
struct Last {
    /// What another leadership heard is nothing to go by.
    term: u64,
    at: Instant,
    links: Arc<LinksAnswer>,
}

impl Default for Heard {
    fn default() -> Self {
        Self::keeping(HEARD_FOR)
    }
}

impl Heard {
    fn keeping(keeps: Duration) -> Self {
        Self { keeps, last: Arc::default() }
    }

    /// The last answer of this term if it is young enough, or else what `ask` brings. Whoever comes while somebody asks
    /// waits for that answer; one that brings nothing is not kept.
    pub(super) async fn links(
        &self,
        term: u64,
        ask: impl Future<Output = Option<LinksAnswer>>,
    ) -> Option<Arc<LinksAnswer>> {
        let mut last = self.last.lock().await;
        let young = |last: &&Last| last.term == term && last.at.elapsed() < self.keeps;
        if let Some(last) = last.as_ref().filter(young) {
            return Some(last.links.clone());
        }
        let links = Arc::new(ask.await?);
        *last = Some(Last { term, at: Instant::now(), links: links.clone() });
        Some(links)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const LONG: Duration = Duration::from_secs(3_600);

    #[tokio::test]
    async fn readers_of_one_moment_cost_the_loop_one_question() {
        let (heard, asked) = (Heard::keeping(LONG), Cell::new(0));
        let ask = || async {
            asked.set(asked.get() + 1);
            tokio::task::yield_now().await;
            Some(LinksAnswer::default())
        };
        let (one, other) = tokio::join!(heard.links(1, ask()), heard.links(1, ask()));
        assert!(Arc::ptr_eq(&one.expect("heard"), &other.expect("heard")));
        for _ in 0..100 {
            heard.links(1, ask()).await.expect("heard");
        }
        assert_eq!(asked.get(), 1);
        heard.links(2, ask()).await.expect("heard");
        assert_eq!(asked.get(), 2, "another leadership heard it itself");
    }

    #[tokio::test]
    async fn an_old_answer_and_none_are_asked_for_again() {
        let heard = Heard::keeping(Duration::ZERO);
        let first = heard.links(1, async { Some(LinksAnswer::default()) }).await.expect("heard");
        let second = heard.links(1, async { Some(LinksAnswer::default()) }).await.expect("heard");
        assert!(!Arc::ptr_eq(&first, &second));
        let heard = Heard::keeping(LONG);
        assert!(heard.links(1, async { None }).await.is_none());
        assert!(heard.links(1, async { Some(LinksAnswer::default()) }).await.is_some());
    }
}
