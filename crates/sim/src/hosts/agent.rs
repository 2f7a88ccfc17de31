//! An agent of the simulated cell, its data folder in memory, and its machine.

use std::path::PathBuf;
use std::sync::Arc;

use paceline_agent::table::{Change, Stored};
use paceline_agent::{AgentConfig, FolderError, Storage, Timings, Workers, run_with};
use paceline_identity::Credentials;
use paceline_types::{AgentInstance, BootId, LinkSession, Resources};
use parking_lot::Mutex;

use super::{AGENT_PORT, API_PORT, Lives, SHARD_PORT, address, chain};
use crate::draw::Draw;
use crate::keys::CELL;
use crate::machine::Machine;
use crate::net::{Plane, SimConnector, SimListener};

/// What an agent keeps. Clones are the same folder.
#[derive(Debug, Clone)]
pub struct AgentStorage(Arc<Mutex<Folder>>);

#[derive(Debug)]
struct Folder {
    instance: AgentInstance,
    boot: BootId,
    session: LinkSession,
    stored: Stored,
}

impl AgentStorage {
    /// An empty folder.
    #[must_use]
    pub fn new(draw: &mut Draw) -> Self {
        let (instance, boot) = (AgentInstance(draw.bytes()), BootId(draw.bytes()));
        Self(Arc::new(Mutex::new(Folder {
            instance,
            boot,
            session: LinkSession(0),
            stored: Stored::default(),
        })))
    }

    /// The machine is booted anew. What was never synced is begun afresh: all but the session, the epoch, and of the
    /// fence its generation and term.
    pub fn power_cut(&self, draw: &mut Draw) {
        let mut folder = self.0.lock();
        folder.boot = BootId(draw.bytes());
        let (mut fence, epoch) = (folder.stored.fence, folder.stored.epoch);
        fence.revision = paceline_types::Revision(0);
        folder.stored = Stored { fence, epoch, ..Stored::default() };
    }

    fn boot(&self) -> BootId {
        self.0.lock().boot
    }
}

/// One opening of the folder: a view of it as it was read, kept current by this agent alone.
struct Opened {
    folder: AgentStorage,
    instance: AgentInstance,
    stored: Stored,
    machine: Machine,
}

impl Storage for Opened {
    fn instance(&self) -> AgentInstance {
        self.instance
    }

    fn stored(&self) -> &Stored {
        &self.stored
    }

    fn next_session(&mut self) -> Result<LinkSession, FolderError> {
        let mut folder = self.folder.0.lock();
        folder.session = folder.session.next();
        Ok(folder.session)
    }

    fn store(&mut self, changes: &[Change]) -> Result<(), FolderError> {
        changes.iter().for_each(|change| self.stored.apply(change));
        self.machine.heard(self.stored.fence);
        self.folder.0.lock().stored = self.stored.clone();
        Ok(())
    }
}

/// What outlives an agent's process.
#[derive(Clone)]
pub struct AgentSeat {
    /// Its node, which is its host.
    pub name: String,
    /// Shards that it begins with.
    pub shards: Vec<String>,
    /// Masters that it may ask.
    pub masters: Vec<String>,
    /// What its node offers.
    pub capacity: Resources,
    /// Its periods.
    pub timings: Timings,
    /// Seeds its jitter.
    pub seed: u64,
    /// Its folder.
    pub storage: AgentStorage,
    /// What runs on its machine.
    pub machine: Machine,
    /// Who it is, with the key that it signs with.
    pub credentials: Arc<Credentials>,
    /// Its lives.
    pub lives: Lives,
}

impl AgentSeat {
    fn config(&self) -> Result<AgentConfig, paceline_agent::FactsError> {
        let node = self.name.parse().expect("names of simulated nodes are valid");
        // Only the metrics and the health of this are kept: the machine below is not simulated.
        let machine = AgentConfig::of_this_machine(CELL, node, PathBuf::new())?;
        Ok(AgentConfig {
            shards: self.shards.iter().map(|shard| address(shard, SHARD_PORT)).collect(),
            masters: self.masters.iter().map(|master| address(master, API_PORT)).collect(),
            capacity: self.capacity,
            boot: self.storage.boot(),
            seed: self.seed,
            workers: Workers::Inline,
            timings: self.timings,
            ..machine
        })
    }

    /// One life.
    pub async fn live(self) -> turmoil::Result {
        let party = self.lives.begin(self.credentials.identity().clone());
        let opened = {
            let folder = self.storage.0.lock();
            Opened {
                folder: self.storage.clone(),
                instance: folder.instance,
                stored: folder.stored.clone(),
                machine: self.machine.clone(),
            }
        };
        let listener = SimListener::bind(AGENT_PORT, party.clone(), Plane::Cell).await?;
        let connector = Arc::new(SimConnector::new(party, Plane::Cell));
        let runtime = Arc::new(self.machine.runtime());
        let config = self.config()?;
        let credentials = self.credentials.clone();
        let never = std::future::pending();
        let running = run_with(config, opened, runtime, connector, credentials, Some(listener), never);
        let ended = Box::pin(running).await;
        self.lives.end(&ended.map_or_else(|error| chain(&error), |()| "in good order".to_owned()));
        Ok(())
    }
}
