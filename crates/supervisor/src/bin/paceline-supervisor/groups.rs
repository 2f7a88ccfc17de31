//! The cgroups of the attempt: made before the task, removed behind it.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use paceline_supervisor::{Order, cgroup};
use rustix::process::{Pid, Signal, kill_process};

/// What the order asks for, made.
pub struct Groups {
    memory: Option<(PathBuf, u64)>,
    cpu: Option<PathBuf>,
    freezer: Option<PathBuf>,
}

impl Groups {
    /// Makes them and sets the limits. A limit that cannot be set is an error: the task must not run
    /// without it. The freezer only serves us, and its lack is no error.
    pub fn create(order: &Order) -> io::Result<Self> {
        let mut groups = Self { memory: None, cpu: None, freezer: None };
        let made = groups.fill(order);
        if made.is_err() {
            groups.remove();
        }
        made.map(|()| groups)
    }

    fn fill(&mut self, order: &Order) -> io::Result<()> {
        if let Some(limit) = &order.memory {
            let group = made(&limit.cgroup)?;
            self.memory = Some((group.clone(), limit.bytes));
            cgroup::limit_memory(&group, limit.bytes).map_err(|e| refused("limit memory in", &group, &e))?;
        }
        if let Some(share) = &order.cpu {
            let group = made(&share.cgroup)?;
            self.cpu = Some(group.clone());
            cgroup::share_cpu(&group, share.weight_milli, share.quota_milli)
                .map_err(|e| refused("set the CPU share of", &group, &e))?;
        }
        self.freezer = order.freezer_cgroup.as_ref().and_then(|path| made(path).ok());
        Ok(())
    }

    /// The files a process writes `0` to in order to join, opened with our rights.
    pub fn join_files(&self) -> io::Result<Vec<File>> {
        let open = |path: PathBuf| {
            OpenOptions::new().write(true).open(&path).map_err(|e| refused("open", &path, &e))
        };
        self.all().map(|group| open(cgroup::join_file(group))).collect()
    }

    /// Kills everything in the freezer at once. What is frozen does not end, so its ids stay its own.
    pub fn kill_all(&self) {
        let Some(group) = &self.freezer else { return };
        _ = cgroup::freeze(group);
        for pid in cgroup::members(group).unwrap_or_default() {
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
            pid.into_iter().for_each(|pid| _ = kill_process(pid, Signal::KILL));
        }
        _ = cgroup::thaw(group);
    }

    /// Processes that the kernel killed for memory.
    pub fn oom_kills(&self) -> u64 {
        self.memory.as_ref().map_or(0, |(group, _)| cgroup::oom_kills(group))
    }

    /// That in words.
    pub fn describe_oom(&self, kills: u64) -> String {
        let bytes = self.memory.as_ref().map_or(0, |(_, bytes)| *bytes);
        format!("the kernel killed {kills} of its processes for memory; the limit is {bytes} bytes")
    }

    /// Removes the groups; says what could not be removed.
    pub fn remove(&self) -> Option<String> {
        let left = self.all().filter_map(|group| {
            cgroup::remove(group).err().map(|e| refused("remove", group, &e).to_string())
        });
        Some(left.collect::<Vec<_>>().join("; ")).filter(|text| !text.is_empty())
    }

    fn all(&self) -> impl Iterator<Item = &PathBuf> {
        self.memory.iter().map(|(group, _)| group).chain(&self.cpu).chain(&self.freezer)
    }
}

fn made(path: &str) -> io::Result<PathBuf> {
    let group = PathBuf::from(path);
    cgroup::create(&group).map_err(|e| refused("make", &group, &e))?;
    Ok(group)
}

fn refused(action: &str, path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot {action} {}: {error}", path.display()))
}
