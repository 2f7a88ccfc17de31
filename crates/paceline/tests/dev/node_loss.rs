//! A node that vanishes and comes back: its tasks run again elsewhere, and what still runs there is ended.

use std::fs;
use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;

use crate::cell::{Dev, only, said, until};

/// More than a third of the cell is on each node, so that the lost one had something.
const TASKS: u64 = 6;

fn tasks(dir: &Path) -> Vec<Value> {
    let said = said(dir, &["job", "tasks", "wait"]);
    said["tasks"].as_array().unwrap_or_else(|| panic!("no tasks: {said}")).clone()
}

/// Processes of the tasks: their command line names the file that they wait for.
fn processes(file: &str) -> usize {
    let lines = fs::read_dir("/proc").expect("/proc").flatten();
    let lines = lines.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    // The shell itself, and not its supervisor, which has the same words among its own.
    lines
        .filter(|line| line.starts_with(b"/bin/sh\0") && String::from_utf8_lossy(line).contains(file))
        .count()
}

#[test]
fn tasks_of_a_node_that_vanished_run_elsewhere_and_end_there_when_it_is_back() {
    let mut dev = Dev::start(&["--masters", "1", "--agents", "3"]);
    dev.until_up(3);
    let dir = dev.dir().to_owned();
    // Long enough that an agent on a busy machine is not taken for a dead one.
    said(&dir, &["cell", "config", "heartbeat_ms=1000", "detection_ms=10000"]);
    let go = dir.join("go");
    let go = go.to_str().expect("UTF-8");
    let file = dir.join("wait.yaml");
    let job = format!(
        "name: wait\ntasks: {TASKS}\nrun: [/bin/sh, -c, \"while [ ! -e {go} ]; do sleep 0.2; done\"]\n\
         resources: {{cpu: 10m, memory: 8Mi}}\nreplace_after: 2s\nmax_attempts: 1\n"
    );
    fs::write(&file, job).expect("written");
    said(&dir, &["job", "submit", file.to_str().expect("UTF-8")]);
    let running = |tasks: &[Value]| tasks.iter().filter(|task| task["state"] == "running").count() as u64;
    until("every task runs", || running(&tasks(&dir)) == TASKS);

    let before = tasks(&dir);
    let name = before[0]["node"].as_str().expect("it runs somewhere").to_owned();
    let there = before.iter().filter(|task| task["node"] == *name).count();
    dev.signal(dev.pid(&name).expect("it runs"), Signal::KILL);
    until("every task runs elsewhere", || {
        let now = tasks(&dir);
        running(&now) == TASKS && now.iter().all(|task| task["node"] != *name)
    });
    for (task, was) in tasks(&dir).iter().zip(&before) {
        let lost = u64::from(was["node"] == *name);
        assert_eq!(task["attempt"].as_u64(), Some(1 + lost), "{task}");
        assert_eq!(task["failures"], 0, "{task}");
    }
    let status = said(&dir, &["cell", "status"]);
    assert_eq!((&status["nodes"]["lost"], &status["nodes"]["up"]), (&1.into(), &2.into()), "{status}");
    assert_eq!(said(&dir, &["node", "get", &name])["liveness"], "lost");
    assert_eq!(processes(go), TASKS as usize + there, "what ran there runs on, and nobody hears of it");

    let agent = format!("agent:{}", name.trim_start_matches('n'));
    assert_eq!(only(&dir, &agent, &[]).0, Some(0));
    dev.until_up(3);
    until("what ran there twice is ended", || processes(go) == TASKS as usize);
    fs::write(go, "").expect("written");
    until("the job has ended", || said(&dir, &["job", "get", "wait"])["state"] == "succeeded");
    for (task, was) in tasks(&dir).iter().zip(&before) {
        let lost = u64::from(was["node"] == *name);
        assert_eq!((task["attempt"].as_u64(), &task["failures"]), (Some(1 + lost), &0.into()), "{task}");
    }
    dev.end_by(Signal::TERM);
}
