//! One master of the simulated cell: a production replica that serves its peers and does what it is told.

use std::sync::Arc;

use bytes::Bytes;
use paceline_identity::{PeerIdentity, Role};
use paceline_replica::{
    DiskId, ErrorClass, Execution, Member, MembershipError, MemoryHistory, Replica, ReplicaConfig,
    ReplicaStatus, ServerRole,
};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

use super::connections::{BreakableConnector, Connections};
use super::ledger::{CallId, Ledger, ReadAnswer};
use super::machine::{self, Published, Registers};
use super::plan::Plan;
use crate::disk::SimDisk;
use crate::net::{Party, Plane, SimConnector, SimListener};
use crate::power::Power;
use crate::trace::Trace;

/// The simulated cell's name.
pub const CELL: &str = "sim";
/// Where masters serve masters; each host has an address of its own.
const PEER_PORT: u16 = 7_200;
/// Commands that wait for a host; the driver sends a few per tick and drops what does not fit.
const INBOX: usize = 256;
/// A date that no simulation reaches, for identities: 2100-01-01.
const FAR_END_UNIX_S: i64 = 4_102_444_800;

/// What a host is told to do.
#[derive(Debug, Clone)]
pub enum Command {
    /// Begin the cell with these members.
    Initialize(Vec<Member>),
    /// Write a register.
    Write { call: CallId, register: u8, bytes: usize },
    /// Read a register.
    Read { call: CallId, register: u8 },
    /// Hand the leadership to this master, or to any.
    Transfer(Option<String>),
    /// Take a snapshot.
    Snapshot,
    /// Mint a Raft id.
    Mint,
    /// Make this master a voter.
    Add(Member),
    /// Take the vote from this master.
    Remove(String),
}

/// What became of a change of the masters.
#[derive(Debug, Clone)]
pub enum Changed {
    /// A Raft id was minted.
    Minted(Result<u64, String>),
    /// A master was added.
    Added(Result<(), String>),
    /// A master was removed.
    Removed(Result<(), String>),
    /// Another master leads, as was asked.
    HandedOver,
}

/// How a life stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Stage {
    /// It reads its disk.
    #[default]
    Opening,
    /// It serves.
    Running,
    /// It cannot use its disk, and says why.
    Refused(String),
}

/// One life of a host, as the driver sees it.
#[derive(Default)]
pub struct Life {
    /// Where it stands.
    pub stage: Stage,
    /// Whether it lives.
    pub power: Power,
    /// What Raft says of itself.
    pub status: Option<watch::Receiver<ReplicaStatus>>,
    /// What readers see.
    pub published: Published,
    /// The way to tell it what to do.
    pub inbox: Option<mpsc::Sender<Command>>,
}

/// A host over all of its lives.
#[derive(Clone)]
pub struct Seat {
    /// Its name.
    pub name: String,
    /// Its Raft id.
    pub raft_id: u64,
    /// Its disk.
    pub disk: SimDisk,
    /// Its history.
    pub history: MemoryHistory,
    /// The plan.
    pub plan: Arc<Plan>,
    /// What clients were told.
    pub ledger: Ledger,
    /// The connections.
    pub connections: Connections,
    /// What happened.
    pub trace: Trace,
    /// The present life.
    pub life: Arc<Mutex<Life>>,
    /// The identity of its disk, once it was opened.
    pub disk_id: Arc<Mutex<Option<DiskId>>>,
    /// Answers to changes of the masters.
    pub changes: Arc<Mutex<Vec<Changed>>>,
}

impl Seat {
    /// The host as a member of the cell, once its disk has an identity.
    pub fn member(&self) -> Option<Member> {
        let disk_id = (*self.disk_id.lock())?;
        Some(Member {
            raft_id: self.raft_id,
            name: self.name.clone(),
            peer_address: format!("{}:{PEER_PORT}", self.name),
            api_address: format!("{}:1", self.name),
            disk_id,
            replaces: None,
        })
    }

    fn config(&self, power: &Power) -> ReplicaConfig {
        ReplicaConfig {
            timings: self.plan.timings,
            snapshot_after_log_bytes: self.plan.snapshot_after_log_bytes,
            log_tail_bytes: self.plan.log_tail_bytes,
            memory_tail_bytes: self.plan.memory_tail_bytes,
            execution: Execution::Tasks,
            fatal: power.fatal_handler(),
            ..ReplicaConfig::new(CELL, &self.name, self.raft_id)
        }
    }

    fn party(&self, power: &Power) -> Party {
        let identity = PeerIdentity {
            cell: CELL.to_owned(),
            role: Role::Master,
            name: self.name.clone(),
            not_after_unix: FAR_END_UNIX_S,
            certificate_der: Arc::from([]),
        };
        Party { identity, power: power.clone(), trace: self.trace.clone() }
    }

    /// One life, until the driver ends it.
    pub async fn live(self) -> turmoil::Result {
        let power = Power::default();
        let (machine, published) = Registers::new(&self.name, self.ledger.clone());
        *self.life.lock() = Life { power: power.clone(), published: published.clone(), ..Life::default() };
        let party = self.party(&power);
        let listener = SimListener::bind(PEER_PORT, party.clone(), Plane::Peers).await?;
        let connector = BreakableConnector {
            from: self.name.clone(),
            connections: self.connections.clone(),
            inner: SimConnector::new(party, Plane::Peers),
        };
        let (disk, history) = (Arc::new(self.disk.reopen()), Arc::new(self.history.clone()));
        let opened = Replica::open(self.config(&power), disk, history, machine, Arc::new(connector)).await;
        let replica = match opened {
            Ok(replica) => replica,
            Err(error) => {
                self.life.lock().stage = Stage::Refused(words(&error));
                return std::future::pending().await;
            }
        };
        *self.disk_id.lock() = Some(replica.disk_id());
        let (inbox, mut commands) = mpsc::channel(INBOX);
        {
            let mut life = self.life.lock();
            life.stage = Stage::Running;
            life.status = Some(replica.subscribe());
            life.inbox = Some(inbox);
        }
        tokio::spawn(paceline_identity::serve(listener, replica.peer_routes(), std::future::pending()));
        let mut fatal = replica.fatal();
        let cut = power.clone();
        tokio::spawn(async move {
            if let Ok(reason) = fatal.wait_for(Option::is_some).await {
                // Production ends the process here.
                cut.cut(reason.as_deref().unwrap_or_default());
            }
        });
        while let Some(command) = commands.recv().await {
            tokio::spawn(self.clone().obey(command, replica.clone(), published.clone()));
        }
        Ok(())
    }

    async fn obey(self, command: Command, replica: Replica, published: Published) {
        match command {
            Command::Initialize(members) => self.say("initialize", replica.initialize(members).await),
            Command::Write { call, register, bytes } => {
                self.write(call, &replica, machine::payload(call, register, bytes)).await;
            }
            Command::Read { call, register } => self.read(call, register, &replica, &published).await,
            Command::Transfer(to) => {
                self.trace.event(&self.name, format_args!("hands over to {to:?}"));
                let moved = replica.transfer_leadership(to).await;
                if moved.is_ok() {
                    self.trace.sometimes("leadership was handed over");
                    self.changed(Changed::HandedOver);
                }
                self.say("handover", moved);
            }
            Command::Snapshot => self.say("snapshot", replica.snapshot_now().await),
            Command::Mint => {
                let minted = replica.mint_raft_id().await.map_err(|error| error.to_string());
                self.changed(Changed::Minted(minted));
            }
            Command::Add(member) => {
                let added = replica.add_master(member).await.map_err(|error| error.to_string());
                self.changed(Changed::Added(added));
            }
            Command::Remove(name) => {
                let led = name == self.name && replica.status().role == ServerRole::Leader;
                let removed = replica.remove_master(&name).await;
                if led && matches!(removed, Err(MembershipError::NotLeader { .. })) {
                    self.trace.sometimes("a leader that was to go handed over first");
                }
                self.changed(Changed::Removed(removed.map_err(|error| error.to_string())));
            }
        }
    }

    fn say<T, E: std::fmt::Display>(&self, what: &str, result: Result<T, E>) {
        match result {
            Ok(_) => self.trace.event(&self.name, format_args!("{what}: done")),
            Err(error) => self.trace.event(&self.name, format_args!("{what}: {error}")),
        }
    }

    fn changed(&self, changed: Changed) {
        self.trace.event(&self.name, format_args!("{changed:?}"));
        self.changes.lock().push(changed);
    }

    async fn write(&self, call: CallId, replica: &Replica, payload: Bytes) {
        let proposed = replica.propose(payload).await;
        // What a dead process says reaches nobody.
        if !self.life.lock().power.is_on() {
            return;
        }
        match proposed {
            Ok(proposed) => self.ledger.acknowledged(call, &self.name, proposed.revision),
            Err(error) if error.class() == ErrorClass::Retry => self.ledger.refused(call, &self.name),
            Err(_) => self.trace.count("unknown", 1),
        }
    }

    async fn read(&self, call: CallId, register: u8, replica: &Replica, published: &Published) {
        let Ok(read_revision) = replica.read_index().await else { return };
        let status = replica.status();
        let answer = {
            let state = published.lock();
            // Entries without a payload of ours are applied and not in the state.
            let applied = state.applied.max(status.applied.unwrap_or(0));
            ReadAnswer { read_revision, applied, register, value: state.registers.get(&register).copied() }
        };
        if self.life.lock().power.is_on() {
            self.ledger.read(call, &self.name, answer);
        }
    }
}

/// An error with its causes.
fn words(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |words, cause| format!("{words}: {cause}"))
}
