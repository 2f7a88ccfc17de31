//! Why tasks of a job wait, from this master's view and what its hub hears.

use paceline_cell::{Cell, Job, Node};
use paceline_link::Liveness;
use paceline_schedule::{Waiting, explain_job};

use super::Services;

/// Explains the first pending task of a job. It costs one look at each node, and only where nodes seem to have room a
/// question to the hub, which the leader alone can answer: a follower takes every node for one that is heard.
pub(super) async fn why(services: &Services, view: &Cell, job: &Job) -> Option<Waiting> {
    let by_view = explain_job(view, job, |_| true)?;
    if by_view.ready == 0 {
        return Some(by_view);
    }
    let links = services.links().await;
    let suspect = |node: &Node| {
        let link = links.as_ref().and_then(|links| links.nodes.get(&node.id));
        link.is_some_and(|link| matches!(link.liveness, Liveness::Suspect { .. } | Liveness::Returning))
    };
    explain_job(view, job, |node| !suspect(node))
}
