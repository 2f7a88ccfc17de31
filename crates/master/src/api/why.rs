//! Why tasks of a job wait, from this master's view and what its hub hears.

use std::sync::Arc;
use std::time::Duration;

use paceline_cell::{Cell, Job, Node};
use paceline_link::Liveness;
use paceline_schedule::{Waiting, explain_job};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::Services;
use crate::leader::LinksAnswer;

/// How long an answer of the hub explains. It costs the leader a look at each node; whoever asks in between shares it,
/// and a detection period is longer by far.
const HEARD_FOR: Duration = Duration::from_secs(1);

/// What the hub heard last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard(Arc<Mutex<Option<Last>>>);

#[derive(Debug)]
struct Last {
    at: Instant,
    links: Arc<LinksAnswer>,
}

impl Heard {
    /// Whoever comes while the hub is asked waits for that answer.
    async fn links(&self, services: &Services) -> Arc<LinksAnswer> {
        let mut last = self.0.lock().await;
        if let Some(last) = last.as_ref().filter(|last| last.at.elapsed() < HEARD_FOR) {
            return last.links.clone();
        }
        let links = Arc::new(services.links().await.unwrap_or_default());
        *last = Some(Last { at: Instant::now(), links: links.clone() });
        links
    }
}

/// Explains the first pending task of a job. It costs one look at each node, and only where nodes seem to have room a
/// question to the hub, which the leader alone can answer: a follower takes every node for one that is heard.
pub(super) async fn why(services: &Services, view: &Cell, job: &Job) -> Option<Waiting> {
    let by_view = explain_job(view, job, |_| true)?;
    if by_view.ready == 0 {
        return Some(by_view);
    }
    let links = services.heard.links(services).await;
    let suspect = |node: &Node| {
        let link = links.nodes.get(&node.id);
        link.is_some_and(|link| matches!(link.liveness, Liveness::Suspect { .. } | Liveness::Returning))
    };
    explain_job(view, job, |node| !suspect(node))
}
