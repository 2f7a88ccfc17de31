//! A master of the simulated cell.

use std::sync::Arc;

use paceline_identity::{Credentials, PeerIdentity};
use paceline_master::{
    Door, Founder, LogBudget, MasterConfig, MasterParts, Surroundings, Timings, Witness, run_in,
};
use paceline_replica::{Execution, MemoryHistory};

use super::{API_PORT, Lives, PEER_PORT, address, chain};
use crate::judge::Judge;
use crate::keys::CELL;
use crate::medium::Medium;
use crate::net::{Plane, SimConnector, SimListener};

/// What outlives a master's process.
#[derive(Clone)]
pub struct MasterSeat {
    /// Its name, which is its host's.
    pub name: String,
    /// Its Raft id.
    pub raft_id: u64,
    /// The others, if it begins the cell.
    pub founders: Option<Vec<String>>,
    /// Raft's clocks.
    pub timings: Timings,
    /// How much log is kept.
    pub log: LogBudget,
    /// Log and snapshots.
    pub medium: Arc<dyn Medium>,
    /// Finished jobs.
    pub history: MemoryHistory,
    /// To check what agents sign.
    pub credentials: Arc<Credentials>,
    /// Who it is.
    pub identity: PeerIdentity,
    /// Its lives.
    pub lives: Lives,
    /// Who is told what it applies.
    pub judge: Judge,
    /// For what no service would propose.
    pub door: Door,
}

impl MasterSeat {
    fn config(&self) -> MasterConfig {
        let founder = |name: &String| Founder {
            name: name.clone(),
            peer_address: address(name, PEER_PORT),
            api_address: address(name, API_PORT),
        };
        MasterConfig {
            cell: CELL.to_owned(),
            name: self.name.clone(),
            raft_id: self.raft_id,
            api_address: address(&self.name, API_PORT),
            peer_address: address(&self.name, PEER_PORT),
            bootstrap: self.founders.as_ref().map(|founders| founders.iter().map(founder).collect()),
            health_port: None,
            timings: self.timings,
            log: self.log,
        }
    }

    /// One life.
    pub async fn live(self) -> turmoil::Result {
        let party = self.lives.begin(self.identity.clone());
        self.judge.restarted(&self.name);
        let (judge, name) = (self.judge.clone(), self.name.clone());
        let surroundings = Surroundings {
            execution: Execution::Tasks,
            fatal: party.power.fatal_handler(),
            witness: Some(Witness::new(move |seen| judge.witnessed(&name, seen))),
            door: Some(self.door.clone()),
        };
        let parts = MasterParts {
            disk: self.medium.begin_life(),
            history: Arc::new(self.history.clone()),
            api_listener: SimListener::bind(API_PORT, party.clone(), Plane::Cell).await?,
            peer_listener: SimListener::bind(PEER_PORT, party.clone(), Plane::Peers).await?,
            peer_connector: Arc::new(SimConnector::new(party, Plane::Peers)),
            credentials: self.credentials.clone(),
        };
        let ended = Box::pin(run_in(surroundings, self.config(), parts, std::future::pending())).await;
        self.lives.end(&ended.map_or_else(|error| chain(&error), |()| "in good order".to_owned()));
        Ok(())
    }
}
