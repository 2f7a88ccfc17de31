//! From a launch to the order for its supervisor.

use std::path::Path;

use paceline_supervisor::{CpuShare, KeptGroups, MemoryLimit, Order, UserIds, WORK_FOLDER};

use crate::process::environment;
use crate::process::kept_groups::Limits;
use crate::process::shared::Shared;
use crate::runtime::Launch;

impl Shared {
    /// The order, or in words why this node cannot carry the launch out.
    pub(super) fn order(
        &self,
        launch: &Launch,
        folder: &Path,
        user: Option<UserIds>,
    ) -> Result<Order, String> {
        // Placement keeps it away; this is the second wall.
        if launch.script.is_some() {
            return Err("the job only pretends to run (simulate), and this node runs real tasks".to_owned());
        }
        let attempt = launch.attempt.to_string();
        let work = folder.join(WORK_FOLDER);
        let checked = "the data folder was checked to be UTF-8 when it was opened";
        let work = work.to_str().expect(checked);
        let env = environment::of(launch, &self.options, work)?;
        let memory_bytes = launch.resources.memory_bytes();
        let (groups, kept_groups) = self.groups(launch, user);
        let memory = self.cgroups.memory(&groups).filter(|_| memory_bytes > 0);
        Ok(Order {
            folder: folder.to_str().expect(checked).to_owned(),
            boot: self.boot.clone(),
            run: launch.run.clone(),
            env,
            user,
            umask: self.options.umask,
            time_limit_ms: launch.time_limit_ms,
            grace_ms: launch.grace_ms,
            at_most_one: launch.at_most_one,
            memory: memory.map(|cgroup| MemoryLimit { cgroup, bytes: memory_bytes }),
            cpu: self.cgroups.cpu(&groups).map(|cgroup| CpuShare {
                cgroup,
                weight_milli: launch.resources.cpu_milli(),
                quota_milli: launch.cpu_limit_milli,
            }),
            freezer_cgroup: self.cgroups.freezer(&groups),
            kept_groups,
            logs: self.options.logs,
            attempt,
        })
    }

    /// What its groups are called, and whether they are an earlier attempt's and for later ones too: not where the task
    /// may write to them, and not where a ceiling of CPU would still count what the attempt before had used.
    fn groups(&self, launch: &Launch, user: Option<UserIds>) -> (String, Option<KeptGroups>) {
        let own = rustix::process::geteuid().as_raw();
        let is_another = user.is_some_and(|user| user.uid != 0 && user.uid != own);
        if !is_another || launch.cpu_limit_milli.is_some() {
            return (self.kept_groups.take_own(launch.attempt), None);
        }
        let memory_bytes = launch.resources.memory_bytes();
        let limits = Limits {
            memory_bytes: (memory_bytes > 0).then_some(memory_bytes),
            cpu_weight_milli: Some(launch.resources.cpu_milli()),
        };
        let kept = self.kept_groups.take(launch.attempt, limits);
        (kept.name.clone(), Some(kept))
    }
}
