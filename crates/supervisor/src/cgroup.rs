//! Control groups of version 1 by their files: memory, CPU, and the freezer for killing everything at once.
//!
//! Version 2 is not used. To join one of its groups takes a lock that every fork and exit on the machine
//! waits for, some ten milliseconds each time; a version 1 group is joined in thirty microseconds.
//! The supervisor makes and removes the groups of its attempt, or passes them on; the agent finds the mounts, and
//! clears what a dead supervisor left or nobody needs any more. Which groups an attempt gets stands in its order.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// The kernel's unit of CPU weight for one CPU.
const SHARES_PER_CPU: u64 = 1024;

/// Bounds that the kernel sets for the weight.
const SHARES_MIN: u64 = 2;
const SHARES_MAX: u64 = 262_144;

/// The period of a CPU quota: the kernel's default, short enough not to be felt.
const QUOTA_PERIOD_US: u64 = 100_000;

/// The least quota that the kernel takes.
const QUOTA_MIN_US: u64 = 1_000;

/// A group whose last process was just reaped can be busy for a moment.
const REMOVE_ATTEMPTS: u32 = 20;
const REMOVE_PAUSE: Duration = Duration::from_millis(5);

/// Freezing takes microseconds per process, unless one hangs in the kernel.
const FREEZE_LOOKS: u32 = 100;
const FREEZE_PAUSE: Duration = Duration::from_millis(1);

/// Where the hierarchies are mounted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mounts {
    /// Version 1, memory.
    pub memory: Option<PathBuf>,
    /// Version 1, cpu.
    pub cpu: Option<PathBuf>,
    /// Version 1, freezer.
    pub freezer: Option<PathBuf>,
    /// Version 2: only so that its presence can be told.
    pub unified: Option<PathBuf>,
}

impl Mounts {
    /// Reads `/proc/self/mountinfo`.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn discover() -> io::Result<Self> {
        Ok(Self::parse(&fs::read_to_string("/proc/self/mountinfo")?))
    }

    fn parse(mountinfo: &str) -> Self {
        let mut mounts = Self::default();
        for line in mountinfo.lines() {
            let Some((left, right)) = line.split_once(" - ") else { continue };
            let Some(point) = left.split(' ').nth(4).map(PathBuf::from) else { continue };
            let mut right = right.split(' ');
            let (kind, options) = (right.next(), right.nth(1).unwrap_or_default());
            let has = |name| kind == Some("cgroup") && options.split(',').any(|option| option == name);
            if has("memory") {
                mounts.memory.get_or_insert_with(|| point.clone());
            }
            if has("cpu") {
                mounts.cpu.get_or_insert_with(|| point.clone());
            }
            if has("freezer") {
                mounts.freezer.get_or_insert_with(|| point.clone());
            }
            if kind == Some("cgroup2") {
                mounts.unified.get_or_insert(point);
            }
        }
        mounts
    }
}

/// Makes a group, its parents too when they are missing. One that is there already is taken.
///
/// # Errors
/// When the machine does not permit it.
pub fn create(group: &Path) -> io::Result<()> {
    match fs::create_dir(group) {
        Err(e) if e.kind() == ErrorKind::NotFound => fs::create_dir_all(group),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// Sets a hard limit of memory; with swap counted, where the kernel counts it.
///
/// # Errors
/// When the kernel refuses.
pub fn limit_memory(group: &Path, bytes: u64) -> io::Result<()> {
    fs::write(group.join("memory.limit_in_bytes"), bytes.to_string())?;
    match fs::write(group.join("memory.memsw.limit_in_bytes"), bytes.to_string()) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Sets the weight against other groups, and a ceiling where there is one.
///
/// # Errors
/// When the kernel refuses.
pub fn share_cpu(group: &Path, weight_milli: u64, quota_milli: Option<u64>) -> io::Result<()> {
    fs::write(group.join("cpu.shares"), shares(weight_milli).to_string())?;
    let Some(milli) = quota_milli else { return Ok(()) };
    fs::write(group.join("cpu.cfs_period_us"), QUOTA_PERIOD_US.to_string())?;
    fs::write(group.join("cpu.cfs_quota_us"), quota_us(milli).to_string())
}

fn shares(weight_milli: u64) -> u64 {
    (weight_milli.saturating_mul(SHARES_PER_CPU) / 1000).clamp(SHARES_MIN, SHARES_MAX)
}

fn quota_us(milli: u64) -> u64 {
    (milli.saturating_mul(QUOTA_PERIOD_US) / 1000).max(QUOTA_MIN_US)
}

/// The file that a single-threaded process writes `0` to in order to join.
/// Not `cgroup.procs`: that one takes the lock of the whole machine here too.
#[must_use]
pub fn join_file(group: &Path) -> PathBuf {
    group.join("tasks")
}

/// How many processes the kernel killed in the group for memory. Zero when it does not count.
#[must_use]
pub fn oom_kills(group: &Path) -> u64 {
    let text = fs::read_to_string(group.join("memory.oom_control")).unwrap_or_default();
    let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    count.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

/// Memory that is charged to the group, with what the kernel holds for it in advance on each CPU; nothing where that
/// cannot be read.
#[must_use]
pub fn memory_used(group: &Path) -> Option<u64> {
    fs::read_to_string(group.join("memory.usage_in_bytes")).ok()?.trim().parse().ok()
}

/// The processes in the group.
///
/// # Errors
/// When the group is not there.
pub fn members(group: &Path) -> io::Result<Vec<u32>> {
    let text = fs::read_to_string(group.join("cgroup.procs"))?;
    Ok(text.lines().filter_map(|line| line.parse().ok()).collect())
}

/// Stops everything in a freezer group, so that nothing in it can fork or end, and waits for that a little.
/// What hangs in the kernel does not stop, but does not fork either.
///
/// # Errors
/// When the group is not there.
pub fn freeze(group: &Path) -> io::Result<()> {
    let state = group.join("freezer.state");
    fs::write(&state, "FROZEN")?;
    for _ in 0..FREEZE_LOOKS {
        if fs::read_to_string(&state)?.trim() == "FROZEN" {
            break;
        }
        thread::sleep(FREEZE_PAUSE);
    }
    Ok(())
}

/// Lets everything in a freezer group go on: what was killed in the meantime ends now.
///
/// # Errors
/// When the group is not there.
pub fn thaw(group: &Path) -> io::Result<()> {
    fs::write(group.join("freezer.state"), "THAWED")
}

/// Removes a group; one that is not there is removed.
///
/// # Errors
/// When something is left in it.
pub fn remove(group: &Path) -> io::Result<()> {
    let mut tries = 1;
    loop {
        match fs::remove_dir(group) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            Err(e) if e.kind() == ErrorKind::ResourceBusy && tries < REMOVE_ATTEMPTS => {
                tries += 1;
                thread::sleep(REMOVE_PAUSE);
            }
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_of_both_versions_are_found() {
        let text = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
37 31 0:34 / /sys/fs/cgroup/freezer rw,relatime - cgroup cgroup rw,freezer
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";
        let expected = Mounts {
            memory: Some("/sys/fs/cgroup/memory".into()),
            cpu: Some("/sys/fs/cgroup/cpu,cpuacct".into()),
            freezer: Some("/sys/fs/cgroup/freezer".into()),
            unified: Some("/sys/fs/cgroup/unified".into()),
        };
        assert_eq!(Mounts::parse(text), expected);
        assert_eq!(Mounts::parse("nonsense\n\n"), Mounts::default());
    }

    #[test]
    fn weights_and_quotas_stay_within_what_the_kernel_takes() {
        assert_eq!([0, 1, 500, 1000, u64::MAX].map(shares), [2, 2, 512, 1024, 262_144]);
        assert_eq!([1, 10, 500, 2000].map(quota_us), [1_000, 1_000, 50_000, 200_000]);
    }
}
