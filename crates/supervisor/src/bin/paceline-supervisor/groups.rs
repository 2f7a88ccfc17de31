//! The cgroups of the attempt: made before the task, removed behind it.
//!
//! Where the order allows it they are those of an earlier attempt with the same limits, and are left for a later one
//! as long as nothing tells them from new ones: to make and remove them is most of what a group costs.

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
    /// The files a process writes `0` to in order to join, opened with our rights.
    join_files: Vec<File>,
    /// Groups that are there may be taken as they are, and left with so much memory in them at most.
    kept_with_bytes_max: Option<u64>,
}

impl Groups {
    /// Makes them and sets the limits. A limit that cannot be set is an error: the task must not run
    /// without it. The freezer only serves us, and its lack is no error.
    pub fn create(order: &Order) -> io::Result<Self> {
        let kept_with_bytes_max = order.kept_groups.as_ref().map(|kept| kept.left_bytes_max);
        let mut groups =
            Self { memory: None, cpu: None, freezer: None, join_files: Vec::new(), kept_with_bytes_max };
        let made = groups.fill(order);
        if made.is_err() {
            groups.remove();
        }
        made.map(|()| groups)
    }

    fn fill(&mut self, order: &Order) -> io::Result<()> {
        if let Some(limit) = &order.memory {
            let group = PathBuf::from(&limit.cgroup);
            self.memory = Some((group.clone(), limit.bytes));
            self.enter(&group, |group| {
                cgroup::limit_memory(group, limit.bytes).map_err(|e| refused("limit memory in", group, &e))
            })?;
        }
        if let Some(share) = &order.cpu {
            let group = PathBuf::from(&share.cgroup);
            self.cpu = Some(group.clone());
            self.enter(&group, |group| {
                cgroup::share_cpu(group, share.weight_milli, share.quota_milli)
                    .map_err(|e| refused("set the CPU share of", group, &e))
            })?;
        }
        if let Some(group) = order.freezer_cgroup.as_ref().map(PathBuf::from) {
            self.freezer = self.enter(&group, |_| Ok(())).is_ok().then_some(group);
        }
        Ok(())
    }

    /// Opens a group that is there with its limits set, where that may be, or makes and limits it.
    fn enter(&mut self, group: &Path, limit: impl Fn(&Path) -> io::Result<()>) -> io::Result<()> {
        let file = cgroup::join_file(group);
        let open = || OpenOptions::new().write(true).open(&file);
        if self.kept_with_bytes_max.is_some()
            && let Ok(file) = open()
        {
            self.join_files.push(file);
            return Ok(());
        }
        cgroup::create(group).map_err(|e| refused("make", group, &e))?;
        limit(group)?;
        self.join_files.push(open().map_err(|e| refused("open", &file, &e))?);
        Ok(())
    }

    /// For the child that becomes the task, once.
    pub fn take_join_files(&mut self) -> Vec<File> {
        std::mem::take(&mut self.join_files)
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

    /// Leaves the groups for a later attempt where that may be, else removes them; says what could not be removed.
    /// `clean`: the task left no process in them.
    pub fn finish(&self, clean: bool) -> Option<String> {
        match self.kept_with_bytes_max {
            Some(bytes_max) if clean && self.are_as_new(bytes_max) => None,
            _ => self.remove(),
        }
    }

    /// The count of kills would explain a later attempt's end, and memory that is left would be a part of its limit.
    fn are_as_new(&self, bytes_max: u64) -> bool {
        let is_as_new = |group| {
            cgroup::oom_kills(group) == 0 && cgroup::memory_used(group).is_some_and(|used| used <= bytes_max)
        };
        self.memory.as_ref().is_none_or(|(group, _)| is_as_new(group))
    }

    /// Removes the groups; says what could not be removed.
    fn remove(&self) -> Option<String> {
        let left = self.all().filter_map(|group| {
            cgroup::remove(group).err().map(|e| refused("remove", group, &e).to_string())
        });
        Some(left.collect::<Vec<_>>().join("; ")).filter(|text| !text.is_empty())
    }

    fn all(&self) -> impl Iterator<Item = &PathBuf> {
        self.memory.iter().map(|(group, _)| group).chain(&self.cpu).chain(&self.freezer)
    }
}

fn refused(action: &str, path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot {action} {}: {error}", path.display()))
}
