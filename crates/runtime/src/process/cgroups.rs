//! Which cgroups attempts get on this machine, found out by trying, and the clearing of those left behind.
//!
//! ```text
//! MOUNT/paceline/CELL/NODE.TAG/NAME
//! ```
//! The name is that of the attempt that they were made for; later ones may use them too, see `kept_groups`. The tag is the data folder's: two cells on a machine may have the same names.

use std::fs;
use std::path::{Path, PathBuf};

use paceline_supervisor::cgroup::{self, Mounts};

use crate::process::bury;
use crate::process::layout::list;
use crate::process::options::ProcessOptions;
use crate::runtime::{Capability, CapabilityCode};

/// The group that is made and removed to see whether we may.
const PROBE: &str = "probe";

/// What the probe sets: any value that a kernel takes.
const PROBE_MEMORY_BYTES: u64 = 64 << 20;
const PROBE_CPU_MILLI: u64 = 1000;

/// The folder of this node's groups in a hierarchy, or why there is none.
type Parent = Result<PathBuf, String>;

/// What works here.
pub struct Cgroups {
    memory: Parent,
    cpu: Parent,
    quota: Result<(), String>,
    freezer: Parent,
}

impl Cgroups {
    /// Tries everything once.
    pub fn probe(options: &ProcessOptions, mounts: &Mounts, tag: &str) -> Self {
        let node = |mount: &Option<PathBuf>, what: &str| {
            let Some(parent) = &options.cgroup_parent else {
                return Err("cgroups are switched off on this node".to_owned());
            };
            let mount = mount.as_ref().ok_or_else(|| missing(what, mounts))?;
            Ok(mount.join(parent).join(&options.cell).join(format!("{}.{tag}", options.node)))
        };
        let memory = node(&mounts.memory, "memory")
            .and_then(|parent| tried(parent, |group| cgroup::limit_memory(group, PROBE_MEMORY_BYTES)));
        let cpu = node(&mounts.cpu, "cpu")
            .and_then(|parent| tried(parent, |group| cgroup::share_cpu(group, PROBE_CPU_MILLI, None)));
        let quota = cpu.clone().and_then(|parent| {
            tried(parent, |group| cgroup::share_cpu(group, PROBE_CPU_MILLI, Some(PROBE_CPU_MILLI)))
        });
        let freezer = node(&mounts.freezer, "freezer").and_then(|parent| tried(parent, cgroup::thaw));
        Self { memory, cpu, quota: quota.map(drop), freezer }
    }

    /// Folders in the place of memory groups, and nothing else.
    #[cfg(test)]
    pub fn folders(memory: PathBuf) -> Self {
        let none = || "a test".to_owned();
        Self { memory: Ok(memory), cpu: Err(none()), quota: Err(none()), freezer: Err(none()) }
    }

    /// The memory group of an attempt.
    pub fn memory(&self, attempt: &str) -> Option<String> {
        leaf(&self.memory, attempt)
    }

    /// The CPU group of an attempt.
    pub fn cpu(&self, attempt: &str) -> Option<String> {
        leaf(&self.cpu, attempt)
    }

    /// The freezer group of an attempt.
    pub fn freezer(&self, attempt: &str) -> Option<String> {
        leaf(&self.freezer, attempt)
    }

    /// All that an attempt may have, the freezer first.
    pub fn all(&self, attempt: &str) -> Vec<PathBuf> {
        self.parents().map(|parent| parent.join(attempt)).collect()
    }

    /// Removes the groups of this name, of which nothing is in use. What cannot be removed is left for the next agent.
    pub fn remove(&self, name: &str) {
        for group in self.all(name) {
            if let Err(error) = cgroup::remove(&group) {
                tracing::warn!(group = %group.display(), %error, "a cgroup cannot be removed");
            }
        }
    }

    /// Kills and removes every group whose name `lives` does not know.
    pub fn sweep(&self, lives: impl Fn(&str) -> bool) {
        for group in self.parents().flat_map(|parent| list(parent).unwrap_or_default()) {
            let name = group.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if group.is_dir() && !lives(name) {
                tracing::debug!(group = %group.display(), "clearing a cgroup that was left behind");
                bury::clear_group(&group);
            }
        }
    }

    /// Removes the node's own folders if nothing is in them.
    pub fn drop_empty(&self) {
        for parent in self.parents() {
            // The node's folder, the cell's, ours: each only when it is empty.
            parent.ancestors().take(3).all(|folder| fs::remove_dir(folder).is_ok());
        }
    }

    /// In words and codes.
    pub fn capabilities(&self) -> Vec<Capability> {
        let parent = |result: &Parent| result.as_ref().map(drop).map_err(Clone::clone);
        vec![
            say(CapabilityCode::MemoryLimit, parent(&self.memory), "hard limit by cgroup v1, swap included"),
            say(CapabilityCode::CpuWeight, parent(&self.cpu), "weight by cgroup v1 cpu.shares"),
            say(CapabilityCode::CpuQuota, self.quota.clone(), "quota by cgroup v1, for jobs with cpu_limit"),
            say(
                CapabilityCode::KillAtOnce,
                parent(&self.freezer),
                "frozen by cgroup v1 while it is killed; without it, processes are killed one after the other",
            ),
        ]
    }

    fn parents(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.freezer, &self.memory, &self.cpu].into_iter().filter_map(|parent| parent.as_ref().ok())
    }
}

fn missing(what: &str, mounts: &Mounts) -> String {
    let other = match &mounts.unified {
        Some(unified) => format!("; version 2, at {}, is not used", unified.display()),
        None => String::new(),
    };
    format!("the {what} controller of cgroup version 1 is not mounted{other}")
}

fn tried(parent: PathBuf, set: impl Fn(&Path) -> std::io::Result<()>) -> Parent {
    let probe = parent.join(PROBE);
    let made = cgroup::create(&probe).and_then(|()| set(&probe));
    let removed = cgroup::remove(&probe);
    match made.and(removed) {
        Ok(()) => Ok(parent),
        Err(error) => Err(format!("not permitted at {}: {error}", probe.display())),
    }
}

fn leaf(parent: &Parent, attempt: &str) -> Option<String> {
    let path = parent.as_ref().ok()?.join(attempt);
    path.to_str().map(str::to_owned)
}

fn say(code: CapabilityCode, result: Result<(), String>, how: &str) -> Capability {
    let enforced = result.is_ok();
    let explanation = result.err().unwrap_or_else(|| how.to_owned());
    Capability { code, enforced, explanation }
}
