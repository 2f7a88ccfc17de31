//! What a development cell consists of and where each part lives: names, ports, folders.
//!
//! The plan is written once into `DIR/dev.json`, so that a part that was killed comes back as the same part.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

/// The cell's name: a development cell has no other cell to be told from.
const CELL: &str = "dev";

/// A master of the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MasterPlan {
    /// Its number in `--only master:ID`, from 1; of a master that the cell began with also its Raft id.
    pub id: u64,
    pub api_port: u16,
    pub peer_port: u16,
    /// It joined the cell later, and has a Raft id that it was given then.
    #[serde(default)]
    pub joins: bool,
}

/// A shard of the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardPlan {
    /// From 1.
    pub id: u32,
    pub port: u16,
}

/// An agent of the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentPlan {
    /// From 1.
    pub id: u32,
    /// For its health and metrics.
    pub port: u16,
    pub cpu_milli: u64,
    pub memory_bytes: u64,
}

/// How much log the masters keep; nothing leaves a size at its default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPlan {
    pub snapshot_after_bytes: Option<u64>,
    pub tail_bytes: Option<u64>,
}

impl LogPlan {
    /// This, and the other where this says nothing.
    pub fn or(self, other: Self) -> Self {
        Self {
            snapshot_after_bytes: self.snapshot_after_bytes.or(other.snapshot_after_bytes),
            tail_bytes: self.tail_bytes.or(other.tail_bytes),
        }
    }
}

/// A whole development cell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub cell: String,
    /// The same for every master, so that one that comes back keeps as much as before.
    #[serde(default)]
    pub log: LogPlan,
    pub masters: Vec<MasterPlan>,
    pub shards: Vec<ShardPlan>,
    pub agents: Vec<AgentPlan>,
}

/// How large the cell shall be.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub masters: u32,
    pub shards: u32,
    pub agents: u32,
}

impl Plan {
    /// A new plan: ports that are free now, the machine's capacity split evenly between the agents.
    pub fn new(size: Size, cpu_milli: u64, memory_bytes: u64) -> Result<Self> {
        let count = (2 * size.masters + size.shards + size.agents) as usize;
        let mut ports = free_ports(count).context("no free port on loopback")?.into_iter();
        let mut port = move || ports.next().context("no free port on loopback");
        let share = u64::from(size.agents.max(1));
        Ok(Self {
            cell: CELL.to_owned(),
            log: LogPlan::default(),
            masters: (1..=u64::from(size.masters))
                .map(|id| Ok(MasterPlan { id, api_port: port()?, peer_port: port()?, joins: false }))
                .collect::<Result<_>>()?,
            shards: (1..=size.shards).map(|id| Ok(ShardPlan { id, port: port()? })).collect::<Result<_>>()?,
            agents: (1..=size.agents)
                .map(|id| {
                    let (cpu_milli, memory_bytes) = (cpu_milli / share, memory_bytes / share);
                    Ok(AgentPlan { id, port: port()?, cpu_milli, memory_bytes })
                })
                .collect::<Result<_>>()?,
        })
    }

    /// One master more, which is to join the cell.
    pub fn add_master(&mut self, id: u64) -> Result<()> {
        let [api_port, peer_port] = free_ports(2).context("no free port on loopback")?[..] else {
            bail!("no free port on loopback");
        };
        self.masters.push(MasterPlan { id, api_port, peer_port, joins: true });
        self.masters.sort_by_key(|master| master.id);
        Ok(())
    }

    /// Forgets masters that were removed from the cell, as their folders say. Returns them.
    pub fn drop_removed(&mut self, dir: &Path) -> Vec<Part> {
        let is_removed = |master: &MasterPlan| Part::Master(master.id).was_removed(dir);
        let removed = self.masters.iter().filter(|master| is_removed(master));
        let removed = removed.map(|master| Part::Master(master.id)).collect();
        self.masters.retain(|master| !is_removed(master));
        removed
    }

    /// The plan in a folder; nothing when the folder has none.
    pub fn load(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join("dev.json");
        match fs::read(&path) {
            Ok(bytes) => {
                let plan = serde_json::from_slice(&bytes);
                plan.map(Some)
                    .with_context(|| format!("{} is not the plan of a development cell", path.display()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    pub fn store(&self, dir: &Path) -> Result<()> {
        replace_file(&dir.join("dev.json"), &serde_json::to_vec_pretty(self)?)
    }

    /// Refuses a size that differs from the plan's: data folders do not change their number by a flag. The masters are
    /// what they were made by `cell member` where any of them has joined.
    pub fn check_size(&self, size: Size) -> Result<()> {
        let changed = self.masters.iter().any(|master| master.joins);
        let masters = if changed { self.masters.len() } else { size.masters as usize };
        let mine = (self.masters.len(), self.shards.len(), self.agents.len());
        let asked = (masters, size.shards as usize, size.agents as usize);
        if mine != asked {
            bail!(
                "the folder holds a cell of {} masters, {} shards and {} agents; asked for {}, {} and {}: \
                 use another --dir",
                mine.0,
                mine.1,
                mine.2,
                asked.0,
                asked.1,
                asked.2
            );
        }
        Ok(())
    }

    /// Every part, masters first.
    pub fn parts(&self) -> Vec<Part> {
        let masters = self.masters.iter().map(|master| Part::Master(master.id));
        let shards = self.shards.iter().map(|shard| Part::Shard(shard.id));
        let agents = self.agents.iter().map(|agent| Part::Agent(agent.id));
        masters.chain(shards).chain(agents).collect()
    }

    pub fn api_addresses(&self) -> Vec<String> {
        self.masters.iter().map(|master| loopback(master.api_port).to_string()).collect()
    }
}

/// One process of a development cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Master(u64),
    Shard(u32),
    Agent(u32),
}

impl Part {
    /// The name in certificates, folders and logs.
    pub fn name(self) -> String {
        match self {
            Self::Master(id) => format!("m{id}"),
            Self::Shard(id) => format!("s{id}"),
            Self::Agent(id) => format!("n{id}"),
        }
    }

    /// As `--only` names it.
    pub fn argument(self) -> String {
        match self {
            Self::Master(id) => format!("master:{id}"),
            Self::Shard(id) => format!("shard:{id}"),
            Self::Agent(id) => format!("agent:{id}"),
        }
    }

    /// Its folder in the cell's.
    pub fn folder(self, dir: &Path) -> PathBuf {
        let kind = match self {
            Self::Master(_) => "masters",
            Self::Shard(_) => "shards",
            Self::Agent(_) => "agents",
        };
        dir.join(kind).join(self.name())
    }

    pub fn data_folder(self, dir: &Path) -> PathBuf {
        self.folder(dir).join("data")
    }

    /// Whether this is a master that was removed from the cell: it left a note, and does not start again.
    pub fn was_removed(self, dir: &Path) -> bool {
        matches!(self, Self::Master(_)) && self.data_folder(dir).join(paceline_master::REMOVED_FILE).exists()
    }

    pub fn credentials_folder(self, dir: &Path) -> PathBuf {
        self.folder(dir).join("credentials")
    }

    pub fn log_file(self, dir: &Path) -> PathBuf {
        dir.join("logs").join(format!("{}.log", self.name()))
    }
}

impl std::str::FromStr for Part {
    type Err = anyhow::Error;
    fn from_str(text: &str) -> Result<Self> {
        let wrong =
            || format!("`{text}` is not a part: expected master:ID, shard:ID or agent:ID, as in master:2");
        let (kind, id) = text.split_once(':').with_context(wrong)?;
        Ok(match kind {
            "master" => Self::Master(id.parse().with_context(wrong)?),
            "shard" => Self::Shard(id.parse().with_context(wrong)?),
            "agent" => Self::Agent(id.parse().with_context(wrong)?),
            _ => bail!(wrong()),
        })
    }
}

/// A port on loopback.
pub fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Ports that nobody listens on now. They are held together, so that they differ.
fn free_ports(count: usize) -> io::Result<Vec<u16>> {
    let held: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind(loopback(0))).collect::<io::Result<_>>()?;
    held.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}

/// Writes beside and renames, so that a reader sees the old file or the new one.
pub fn replace_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let beside = path.with_extension("tmp");
    fs::write(&beside, bytes).with_context(|| format!("cannot write {}", beside.display()))?;
    fs::rename(&beside, path).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_comes_back_as_it_was_and_keeps_its_size() {
        let dir = tempfile::tempdir().expect("a folder");
        assert!(Plan::load(dir.path()).expect("readable").is_none());
        let size = Size { masters: 3, shards: 2, agents: 4 };
        let mut plan = Plan::new(size, 2_000, 4 << 30).expect("ports");
        plan.log = LogPlan { tail_bytes: Some(7), ..LogPlan::default() };
        plan.store(dir.path()).expect("writable");
        let again = Plan::load(dir.path()).expect("readable").expect("there");
        assert_eq!(again.api_addresses(), plan.api_addresses());
        assert_eq!(again.agents[3].cpu_milli, 500);
        assert_eq!(again.parts().len(), 9);
        let asked = LogPlan { snapshot_after_bytes: Some(9), ..LogPlan::default() };
        let both = LogPlan { snapshot_after_bytes: Some(9), tail_bytes: Some(7) };
        assert_eq!(asked.or(again.log), both, "what is not asked for stays");
        assert!(again.check_size(size).is_ok());
        assert!(again.check_size(Size { agents: 5, ..size }).is_err());
    }

    #[test]
    fn a_part_is_named_as_on_the_command_line() {
        for part in [Part::Master(2), Part::Shard(1), Part::Agent(64)] {
            assert_eq!(part.argument().parse::<Part>().expect("valid"), part);
        }
        for bad in ["master", "master:x", "pool:1"] {
            assert!(bad.parse::<Part>().is_err(), "{bad}");
        }
    }
}
