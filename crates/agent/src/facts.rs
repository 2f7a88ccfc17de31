//! What the agent says of its machine: capacity, boot id, what the runtime can enforce.
//!
//! Reads `/proc`, the affinity of this process and the limits of its cgroup; decides nothing.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use paceline_runtime::Capability;
use paceline_types::{AgentInstance, BootId, Resources};

/// Most words about enforcement in a Hello.
const CAPABILITIES_MAX: usize = 64;
/// Longest of them, in characters: they are stored in the cell.
const CAPABILITY_CHARS_MAX: usize = 200;

/// The machine does not say something.
#[derive(Debug, thiserror::Error)]
pub enum FactsError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file does not say what it should.
    #[error("{} does not say {expected}", path.display())]
    Unexpected {
        /// Which.
        path: PathBuf,
        /// What it should say.
        expected: &'static str,
    },
    /// The kernel does not say on which CPUs this process may run.
    #[error("cannot read the CPU affinity of this process")]
    Affinity(#[source] io::Error),
}

fn read(path: &str) -> Result<String, FactsError> {
    fs::read_to_string(path).map_err(|source| FactsError::Read { path: path.into(), source })
}

/// CPUs that this process may use and memory that it may fill: the smaller of machine and cgroup.
///
/// # Errors
/// [`FactsError`].
pub fn detect_capacity() -> Result<Resources, FactsError> {
    let affinity =
        rustix::thread::sched_getaffinity(None).map_err(|error| FactsError::Affinity(error.into()))?;
    let cpu_milli = u64::from(affinity.count()) * 1_000;
    let meminfo = read("/proc/meminfo")?;
    let unexpected = || FactsError::Unexpected { path: "/proc/meminfo".into(), expected: "MemTotal in kB" };
    let memory_bytes = memory_total(&meminfo).ok_or_else(unexpected)?;
    // Where there are no cgroups there are no limits of theirs.
    let cgroups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = cgroup_limits(Path::new("/sys/fs/cgroup"), &cgroups);
    let limit = |limit: Option<u64>, all: u64| limit.unwrap_or(all).min(all);
    Ok(Resources::new(limit(limits.cpu_milli, cpu_milli), limit(limits.memory_bytes, memory_bytes)))
}

fn memory_total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1 << 10)
}

#[derive(Debug, Default, PartialEq, Eq)]
struct CgroupLimits {
    cpu_milli: Option<u64>,
    memory_bytes: Option<u64>,
}

/// The tightest limits on the way from the root to our cgroups, of both versions. `cgroups` is as in
/// `/proc/self/cgroup`: `ID:CONTROLLERS:PATH` per line.
fn cgroup_limits(root: &Path, cgroups: &str) -> CgroupLimits {
    let mut found = CgroupLimits::default();
    for line in cgroups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let mount = if controllers.is_empty() { root.to_owned() } else { root.join(controllers) };
        let mut folder = mount.join(path.trim_start_matches('/'));
        loop {
            tighten(&mut found.memory_bytes, memory_limit(&folder));
            tighten(&mut found.cpu_milli, cpu_limit(&folder));
            if folder == mount || !folder.pop() {
                break;
            }
        }
    }
    found
}

fn tighten(limit: &mut Option<u64>, found: Option<u64>) {
    *limit = [*limit, found].into_iter().flatten().min();
}

fn memory_limit(folder: &Path) -> Option<u64> {
    ["memory.max", "memory.limit_in_bytes"].iter().find_map(|name| number(&folder.join(name)))
}

fn cpu_limit(folder: &Path) -> Option<u64> {
    let text = fs::read_to_string(folder.join("cpu.max")).ok();
    let (quota, period) = match text.as_deref().and_then(|text| text.trim().split_once(' ')) {
        Some((quota, period)) => (quota.parse().ok()?, period.parse().ok()?),
        None => (number(&folder.join("cpu.cfs_quota_us"))?, number(&folder.join("cpu.cfs_period_us"))?),
    };
    u64::checked_mul(quota, 1_000)?.checked_div(period)
}

/// The number in a file; nothing for `max`, `-1` and files that are not there.
fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The kernel's boot id.
///
/// # Errors
/// [`FactsError`].
pub fn read_boot_id() -> Result<BootId, FactsError> {
    let path = "/proc/sys/kernel/random/boot_id";
    let unexpected = |_| FactsError::Unexpected { path: path.into(), expected: "a boot id" };
    read(path)?.trim().parse().map_err(unexpected)
}

/// An id for a new data folder and a seed for jitter, from the kernel.
///
/// # Errors
/// [`FactsError`].
pub fn random_instance_and_seed() -> Result<(AgentInstance, u64), FactsError> {
    let path = "/dev/urandom";
    let mut bytes = [0; 24];
    fs::File::open(path)
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|source| FactsError::Read { path: path.into(), source })?;
    let (mut instance, mut seed) = ([0; 16], [0; 8]);
    instance.copy_from_slice(&bytes[..16]);
    seed.copy_from_slice(&bytes[16..]);
    Ok((AgentInstance(instance), u64::from_le_bytes(seed)))
}

/// What the runtime can enforce, in words: `memory_limit`, or `no memory_limit: cgroup not writable`.
#[must_use]
pub fn capability_words(capabilities: &[Capability]) -> Vec<String> {
    let word = |capability: &Capability| {
        let text = if capability.enforced {
            capability.code.to_string()
        } else {
            format!("no {}: {}", capability.code, capability.explanation)
        };
        text.chars().take(CAPABILITY_CHARS_MAX).collect()
    };
    capabilities.iter().take(CAPABILITIES_MAX).map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use paceline_runtime::CapabilityCode;

    #[test]
    fn this_machine_has_something_to_offer() {
        let capacity = detect_capacity().unwrap();
        assert!(capacity.cpu_milli() > 0 && capacity.memory_bytes() > 0, "{capacity}");
        assert_ne!(read_boot_id().unwrap(), BootId([0; 16]));
        assert_ne!(random_instance_and_seed().unwrap(), random_instance_and_seed().unwrap());
    }

    #[test]
    fn memory_is_read_as_the_kernel_prints_it() {
        assert_eq!(memory_total("MemTotal:       24 kB\nMemFree: 1 kB\n"), Some(24 << 10));
        assert_eq!(memory_total("MemFree: 1 kB\n"), None);
    }

    #[test]
    fn the_tightest_cgroup_on_the_way_counts() {
        let root = tempfile::TempDir::new().unwrap();
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("memory/memory.limit_in_bytes", "9223372036854771712\n");
        put("memory/a/memory.limit_in_bytes", "1000\n");
        put("memory/a/b/memory.limit_in_bytes", "2000\n");
        put("cpu,cpuacct/a/cpu.cfs_quota_us", "-1\n");
        put("cpu,cpuacct/a/cpu.cfs_period_us", "100000\n");
        put("u/cpu.max", "150000 100000\n");
        put("u/memory.max", "max\n");
        let found = cgroup_limits(root.path(), "4:memory:/a/b\n3:cpu,cpuacct:/a\n0::/u\n");
        assert_eq!(found, CgroupLimits { cpu_milli: Some(1_500), memory_bytes: Some(1_000) });
        assert_eq!(cgroup_limits(root.path(), ""), CgroupLimits::default());
    }

    #[test]
    fn what_is_not_enforced_says_why() {
        let capability = |code, enforced| Capability { code, enforced, explanation: "not writable".into() };
        let words = capability_words(&[
            capability(CapabilityCode::CpuWeight, true),
            capability(CapabilityCode::MemoryLimit, false),
        ]);
        assert_eq!(words, ["cpu_weight", "no memory_limit: not writable"]);
    }
}
