//! What an attempt has after an order that went astray. The nursery's answers are made up, and folders stand for groups.

use std::collections::BTreeMap;

use paceline_supervisor::{Ledger, ProcessIdentity};
use paceline_types::Resources;
use tempfile::TempDir;

use super::*;
use crate::process::cgroups::Cgroups;
use crate::process::kept_groups::Limits;
use crate::process::options::ProcessOptions;
use crate::runtime::Observed;

const LIMITS: Limits = Limits { memory_bytes: Some(8 << 20), cpu_weight_milli: Some(10) };

/// Above the kernel's largest.
const NO_PID: u32 = 1 << 30;

fn attempt(task: u32) -> AttemptId {
    format!("42-0.{task}.1").parse().unwrap()
}

fn launch(task: u32) -> Launch {
    Launch {
        attempt: attempt(task),
        job_name: "job".into(),
        task_count: 10,
        run: vec!["/bin/true".into()],
        env: BTreeMap::new(),
        user: None,
        resources: Resources::new(10, 8 << 20),
        cpu_limit_milli: None,
        time_limit_ms: None,
        grace_ms: 100,
        at_most_one: false,
        script: None,
    }
}

fn node() -> (TempDir, Shared) {
    let folder = tempfile::tempdir().unwrap();
    let options = ProcessOptions { cgroup_parent: None, ..ProcessOptions::new("cell", "node") };
    let shared = Shared::open(&folder.path().join("data"), "/bin/true".into(), options).unwrap();
    (folder, shared)
}

/// It is ordered, with groups. Gives their name.
fn ordered(shared: &Shared, task: u32) -> String {
    let folder = shared.layout.attempt(&attempt(task));
    assert!(shared.table.begin(attempt(task), folder.clone()));
    fs::create_dir(folder).unwrap();
    shared.kept_groups.take(attempt(task), LIMITS).name
}

/// Somebody has taken it, who is gone.
fn taken(shared: &Shared, task: u32, groups: Option<&str>) {
    let holder = Some(ProcessIdentity { boot: shared.boot.clone(), pid: NO_PID, start_ticks: 1 });
    let (attempt, folder) = (attempt(task), shared.layout.attempt(&attempt(task)));
    let (attempt, groups) = (attempt.to_string(), groups.map(str::to_owned));
    let intent = Intent { attempt, holder, control: None, uid: None, groups };
    assert!(Ledger::take(&folder, &intent).unwrap().is_some());
}

#[test]
fn groups_of_an_order_that_somebody_may_still_have_wait_for_nobody() {
    let (_folder, shared) = node();
    assert_eq!(ordered(&shared, 1), "42-0.1.1");
    let unknown = NurseryError::Unknown(io::Error::other("a test"));
    assert!(matches!(shared.answered(&launch(1), Err(unknown)), Err(LaunchError::Spawn { .. })));
    assert_eq!(ordered(&shared, 2), "42-0.2.1");
    let failed = NurseryError::Failed("a test".to_owned());
    assert!(matches!(shared.answered(&launch(2), Err(failed)), Err(LaunchError::Spawn { .. })));
    assert_eq!(ordered(&shared, 3), "42-0.2.1", "nobody has that order");
}

#[test]
fn an_attempt_that_another_order_took_has_the_groups_of_that_order_whatever_came_of_ours() {
    let (_folder, shared) = node();
    assert_eq!(ordered(&shared, 1), "42-0.1.1");
    taken(&shared, 1, Some("42-0.9.1"));
    shared.answered(&launch(1), Err(NurseryError::Failed("a test".to_owned()))).unwrap();
    assert_eq!(shared.kept_groups.give_back(&attempt(1), true), Some("42-0.9.1".to_owned()));
    assert_eq!(ordered(&shared, 2), "42-0.1.1");
}

#[test]
fn only_groups_that_a_supervisor_can_have_made_are_cleared_after_it() {
    let (folder, mut shared) = node();
    let groups = folder.path().join("groups");
    shared.cgroups = Cgroups::folders(groups.clone());
    for task in [1, 2] {
        let group = groups.join(ordered(&shared, task));
        fs::create_dir_all(&group).unwrap();
        shared.table.started(&attempt(task), Supervisor::Unheard);
        let was_held = task == 2;
        if was_held {
            taken(&shared, task, None);
        }
        assert!(matches!(shared.observe(&attempt(task)), Ok(Some(Observed::Exited(_)))));
        assert_eq!(group.exists(), !was_held, "without a holder they may be another attempt's");
    }
}
