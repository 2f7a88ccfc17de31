//! A link shard of the simulated cell: nothing of it outlives its process but its name.

use std::sync::Arc;

use paceline_identity::PeerIdentity;
use paceline_shard::{ShardConfig, ShardLimits, run};

use super::{API_PORT, Lives, SHARD_PORT, address, chain};
use crate::keys::CELL;
use crate::net::{Plane, SimConnector, SimListener};

/// What a shard is started with each time.
#[derive(Clone)]
pub struct ShardSeat {
    /// Its name, which is its host's.
    pub name: String,
    /// The masters that it begins with.
    pub masters: Vec<String>,
    /// Bounds and intervals.
    pub limits: ShardLimits,
    /// Seeds its jitter.
    pub seed: u64,
    /// Who it is.
    pub identity: PeerIdentity,
    /// Its lives.
    pub lives: Lives,
}

impl ShardSeat {
    /// One life.
    pub async fn live(self) -> turmoil::Result {
        let party = self.lives.begin(self.identity.clone());
        let config = ShardConfig {
            name: self.name.parse().expect("names of simulated shards are valid"),
            cell: CELL.to_owned(),
            address: Some(address(&self.name, SHARD_PORT)),
            masters: self.masters.iter().map(|master| address(master, API_PORT)).collect(),
            credentials: None,
            health_port: None,
            limits: self.limits.clone(),
            seed: self.seed,
        };
        let listener = SimListener::bind(SHARD_PORT, party.clone(), Plane::Cell).await?;
        let connector = Arc::new(SimConnector::new(party, Plane::Cell));
        let ended = Box::pin(run(config, listener, connector, std::future::pending())).await;
        self.lives.end(&ended.map_or_else(|error| chain(&error), |()| "in good order".to_owned()));
        Ok(())
    }
}
