//! What to run and under which limits: everything the supervisor needs, so that it asks nobody.

use crate::folder::Record;
use crate::record::text::{Damage, Fields, Writer};

/// The user and group a task runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserIds {
    /// User.
    pub uid: u32,
    /// Group. Supplementary groups are dropped.
    pub gid: u32,
}

/// A hard limit of memory, in a cgroup of the attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryLimit {
    /// The folder to create.
    pub cgroup: String,
    /// The limit.
    pub bytes: u64,
}

/// A share of CPU, in a cgroup of the attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuShare {
    /// The folder to create.
    pub cgroup: String,
    /// Weight in thousandths of a CPU.
    pub weight_milli: u64,
    /// Never more than this, in thousandths of a CPU.
    pub quota_milli: Option<u64>,
}

/// That the groups may be there from an earlier attempt with the same limits, and may stay for a later one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptGroups {
    /// What the groups are called: the attempt that they were made for.
    pub name: String,
    /// Memory that may be left in them by what has ended; with more they are removed.
    pub left_bytes_max: u64,
}

/// How much output is kept per stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLimits {
    /// A file of output is closed at this size.
    pub segment_bytes: u64,
    /// The oldest file is removed when there are more.
    pub segments: u32,
}

/// What an agent gives to its nursery, see [`crate::nursery`]. It never lies on a disk: it holds the environment
/// of a job, and with it its secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The attempt.
    pub attempt: String,
    /// Its folder, which is there.
    pub folder: String,
    /// The boot that it is for.
    pub boot: String,
    /// Command and arguments.
    pub run: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// Nothing: as the supervisor itself.
    pub user: Option<UserIds>,
    /// File mode bits that the task's files do not get.
    pub umask: u32,
    /// After this the task is stopped.
    pub time_limit_ms: Option<u64>,
    /// Between SIGTERM and SIGKILL when the time limit passes.
    pub grace_ms: u64,
    /// It must run only while it holds a lease, see [`crate::lease`].
    pub at_most_one: bool,
    /// Nothing where the machine does not permit it.
    pub memory: Option<MemoryLimit>,
    /// Nothing where the machine does not permit it.
    pub cpu: Option<CpuShare>,
    /// A freezer cgroup to create, for killing everything in it at once.
    pub freezer_cgroup: Option<String>,
    /// Nothing: the groups are this attempt's alone.
    pub kept_groups: Option<KeptGroups>,
    /// Bounds of the output.
    pub logs: LogLimits,
}

impl Record for Order {
    const NAME: &'static str = "order";

    fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new(Self::NAME);
        writer.field("attempt", &self.attempt).field("folder", &self.folder).field("boot", &self.boot);
        for arg in &self.run {
            writer.field("run", arg);
        }
        for (name, value) in &self.env {
            writer.field("env", format_args!("{name}={value}"));
        }
        writer
            .optional("uid", self.user.map(|user| user.uid))
            .optional("gid", self.user.map(|user| user.gid))
            .field("umask", self.umask)
            .optional("time_limit_ms", self.time_limit_ms)
            .field("grace_ms", self.grace_ms)
            .field("at_most_one", self.at_most_one)
            .optional("memory_cgroup", self.memory.as_ref().map(|memory| &memory.cgroup))
            .optional("memory_bytes", self.memory.as_ref().map(|memory| memory.bytes))
            .optional("cpu_cgroup", self.cpu.as_ref().map(|cpu| &cpu.cgroup))
            .optional("cpu_weight_milli", self.cpu.as_ref().map(|cpu| cpu.weight_milli))
            .optional("cpu_quota_milli", self.cpu.as_ref().and_then(|cpu| cpu.quota_milli))
            .optional("freezer_cgroup", self.freezer_cgroup.as_ref())
            .optional("groups_name", self.kept_groups.as_ref().map(|kept| &kept.name))
            .optional("groups_left_bytes_max", self.kept_groups.as_ref().map(|kept| kept.left_bytes_max))
            .field("log_segment_bytes", self.logs.segment_bytes)
            .field("log_segments", self.logs.segments);
        writer.finish()
    }

    fn decode(fields: &Fields) -> Result<Self, Damage> {
        Ok(Self {
            attempt: fields.text("attempt")?.to_owned(),
            folder: fields.text("folder")?.to_owned(),
            boot: fields.text("boot")?.to_owned(),
            run: fields.all("run").map(str::to_owned).collect(),
            env: fields.all("env").map(variable).collect::<Result<_, _>>()?,
            user: user(fields)?,
            umask: fields.value("umask")?,
            time_limit_ms: fields.optional("time_limit_ms")?,
            grace_ms: fields.value("grace_ms")?,
            at_most_one: fields.value("at_most_one")?,
            memory: memory(fields)?,
            cpu: cpu(fields)?,
            freezer_cgroup: fields.optional("freezer_cgroup")?,
            kept_groups: kept_groups(fields)?,
            logs: LogLimits {
                segment_bytes: fields.value("log_segment_bytes")?,
                segments: fields.value("log_segments")?,
            },
        })
    }
}

fn variable(text: &str) -> Result<(String, String), Damage> {
    let (name, value) =
        text.split_once('=').ok_or_else(|| Damage::Field { key: "env", value: text.to_owned() })?;
    Ok((name.to_owned(), value.to_owned()))
}

fn user(fields: &Fields) -> Result<Option<UserIds>, Damage> {
    let Some(uid) = fields.optional("uid")? else { return Ok(None) };
    Ok(Some(UserIds { uid, gid: fields.value("gid")? }))
}

fn memory(fields: &Fields) -> Result<Option<MemoryLimit>, Damage> {
    let Some(cgroup) = fields.optional("memory_cgroup")? else { return Ok(None) };
    Ok(Some(MemoryLimit { cgroup, bytes: fields.value("memory_bytes")? }))
}

fn cpu(fields: &Fields) -> Result<Option<CpuShare>, Damage> {
    let Some(cgroup) = fields.optional("cpu_cgroup")? else { return Ok(None) };
    let weight_milli = fields.value("cpu_weight_milli")?;
    Ok(Some(CpuShare { cgroup, weight_milli, quota_milli: fields.optional("cpu_quota_milli")? }))
}

fn kept_groups(fields: &Fields) -> Result<Option<KeptGroups>, Damage> {
    let Some(name) = fields.optional("groups_name")? else { return Ok(None) };
    Ok(Some(KeptGroups { name, left_bytes_max: fields.value("groups_left_bytes_max")? }))
}

#[cfg(test)]
pub mod testing {
    use super::*;

    /// With nothing in it that may be absent.
    pub fn smallest() -> Order {
        Order {
            attempt: "42-0.7.1".into(),
            folder: "/data/attempts/boot/42-0.7.1".into(),
            boot: "boot".into(),
            run: vec!["/bin/true".into()],
            env: Vec::new(),
            user: None,
            umask: 0o027,
            time_limit_ms: None,
            grace_ms: 0,
            at_most_one: false,
            memory: None,
            cpu: None,
            freezer_cgroup: None,
            kept_groups: None,
            logs: LogLimits { segment_bytes: 1, segments: 1 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::smallest;
    use super::*;
    use crate::record::testing::round_trip;

    #[test]
    fn the_smallest_order_reads_back() {
        assert_eq!(round_trip(&smallest()), smallest());
    }

    #[test]
    fn the_fullest_order_reads_back() {
        let full = Order {
            run: vec!["sh".into(), "-c".into(), "echo 'a\nb' \\ c".into(), String::new()],
            env: vec![("A".into(), "x=y\nz".into()), ("B".into(), String::new())],
            user: Some(UserIds { uid: 65534, gid: 65533 }),
            time_limit_ms: Some(5),
            at_most_one: true,
            memory: Some(MemoryLimit { cgroup: "/m/x y".into(), bytes: 1 << 40 }),
            cpu: Some(CpuShare { cgroup: "/c".into(), weight_milli: 10, quota_milli: Some(20) }),
            freezer_cgroup: Some("/f".into()),
            kept_groups: Some(KeptGroups { name: "42-0.5.1".into(), left_bytes_max: 1 << 20 }),
            ..smallest()
        };
        assert_eq!(round_trip(&full), full);
    }
}
