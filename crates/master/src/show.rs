//! The cell's values in the words of the API.

mod event;
mod job;
mod loss;
mod node;

pub(crate) use event::change;
pub(crate) use job::{job_status, selector, task, waiting};
pub(crate) use loss::node_loss;
pub(crate) use node::node;

use paceline_api::v1;
use paceline_cell::Shard;

use crate::leader::LinksAnswer;

/// A shard, with what the leader knows of its link; where this master does not lead, that is unknown and not zero.
pub(crate) fn shard(shard: &Shard, links: Option<&LinksAnswer>) -> v1::Shard {
    let link = links.map(|links| links.shards.get(&shard.name));
    v1::Shard {
        id: shard.id.0,
        name: shard.name.to_string(),
        address: shard.address.to_string(),
        nodes: link.map(|nodes| nodes.map_or(0, |&nodes| u32::try_from(nodes).unwrap_or(u32::MAX))),
        connected: link.map(|nodes| nodes.is_some()),
    }
}
