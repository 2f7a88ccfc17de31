//! Nodes.

use paceline_api::v1;
use paceline_cell::Node;
use paceline_link::Liveness;

use crate::leader::LinksAnswer;

/// A node, with what the leader knows of its link.
pub(crate) fn node(node: &Node, links: Option<&LinksAnswer>) -> v1::Node {
    let link = links.and_then(|links| links.nodes.get(&node.id));
    let tasks: u64 = node.assignments().map(|(_, _, tasks)| tasks.count()).sum();
    v1::Node {
        name: node.name.to_string(),
        id: node.id.0,
        epoch: node.epoch.0,
        instance: node.instance.0.to_vec().into(),
        boot: node.boot.0.to_vec().into(),
        capacity: Some(node.capacity.into()),
        used: Some(node.used.into()),
        labels: node.labels().clone().into_iter().collect(),
        taints: node.taints().iter().cloned().map(Into::into).collect(),
        draining: node.draining,
        capabilities: node.capabilities.to_vec(),
        liveness: liveness(link.map(|link| link.liveness), node.lost).into(),
        shard: link.and_then(|link| link.shard.as_ref()).map(ToString::to_string).unwrap_or_default(),
        tasks: u32::try_from(tasks).unwrap_or(u32::MAX),
        silent_ms: link.and_then(|link| link.silent_ms),
    }
}

/// That a node is lost is in the state; the rest only the leader knows.
fn liveness(known: Option<Liveness>, lost: bool) -> v1::NodeLiveness {
    match known {
        None if lost => v1::NodeLiveness::Lost,
        None => v1::NodeLiveness::Unspecified,
        Some(Liveness::Unheard) => v1::NodeLiveness::Unheard,
        Some(Liveness::Returning) => v1::NodeLiveness::Returning,
        Some(Liveness::Lost { .. }) => v1::NodeLiveness::Lost,
        Some(Liveness::Up) => v1::NodeLiveness::Up,
        Some(Liveness::Suspect { .. }) => v1::NodeLiveness::Suspect,
    }
}
