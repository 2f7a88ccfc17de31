//! Which node speaks through which shard, and when all are there.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use paceline_client::{Client, v1};
use tokio::time::sleep;

use crate::cell::{AGENTS, SHARDS};
use crate::wait::{LOOK_EVERY, until};

/// From the restart of what links need until every shard and agent is connected. Agents wait up to ten seconds
/// between two tries.
const CONNECTED_WITHIN: Duration = Duration::from_secs(120);

/// Nodes that began with another shard than their own move there within twenty seconds, if they reach it: a list that
/// has not changed for longer is where they belong.
const SETTLED_FOR: Duration = Duration::from_secs(25);
/// On a machine that does much else, the first try may fail, and the next comes within forty seconds.
const SETTLED_WITHIN: Duration = Duration::from_secs(180);

/// The shard of every node that is up.
pub async fn homes(client: &Client) -> Result<BTreeMap<String, String>, String> {
    let nodes = client.nodes().list().await.map_err(|error| error.to_string())?;
    let up = nodes.into_iter().filter(|node| node.liveness() == v1::NodeLiveness::Up);
    Ok(up.filter(|node| !node.shard.is_empty()).map(|node| (node.name, node.shard)).collect())
}

/// Waits until every shard is connected and every node is up, and tells their shards.
pub async fn all_connected(client: &Client) -> Result<BTreeMap<String, String>> {
    let look = || async {
        let status = client.cell().status().await.map_err(|error| error.to_string())?;
        let shards = status.shards.iter().filter(|shard| shard.connected()).count();
        let homes = homes(client).await?;
        if shards == SHARDS && homes.len() == AGENTS {
            return Ok(homes);
        }
        Err(format!("{shards} of {SHARDS} shards are connected, {} of {AGENTS} nodes are up", homes.len()))
    };
    until("the connection of all shards and nodes", CONNECTED_WITHIN, look).await
}

/// Waits until all nodes are connected where they belong, and tells their shards.
pub async fn settled(client: &Client) -> Result<BTreeMap<String, String>> {
    let began = Instant::now();
    let mut last = (all_connected(client).await?, Instant::now());
    while last.1.elapsed() < SETTLED_FOR {
        ensure!(began.elapsed() < SETTLED_WITHIN, "nodes still move between shards: {:?}", last.0);
        sleep(LOOK_EVERY).await;
        let now = all_connected(client).await?;
        if now != last.0 {
            last = (now, Instant::now());
        }
    }
    Ok(last.0)
}
