//! Masters that come and go: every founder is replaced by a new process while jobs are submitted, and what is left of
//! the old ones never starts again.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::cell::{Dev, only, paceline, runs, said, until};

/// Between two submissions: each is a process of its own.
const SUBMIT_EVERY: Duration = Duration::from_millis(250);

/// Somebody who submits jobs all the time, and keeps the names of those that were acknowledged.
struct Load {
    stop: Arc<AtomicBool>,
    submitting: JoinHandle<Vec<String>>,
}

impl Load {
    fn start(dir: &Path) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, dir) = (stop.clone(), dir.to_owned());
        let submitting = thread::spawn(move || {
            let mut acknowledged = Vec::new();
            for number in 0.. {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let name = format!("small-{number}");
                if submit(&dir, &name) {
                    acknowledged.push(name);
                }
                thread::sleep(SUBMIT_EVERY);
            }
            acknowledged
        });
        Self { stop, submitting }
    }

    fn stop(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.submitting.join().expect("no panic")
    }
}

fn submit(dir: &Path, name: &str) -> bool {
    let file: PathBuf = dir.join(format!("{name}.yaml"));
    let job = format!("name: {name}\ntasks: 1\nrun: [/bin/true]\nresources: {{cpu: 10m, memory: 8Mi}}\n");
    fs::write(&file, job).expect("written");
    let cell = ["--cell", dir.to_str().expect("UTF-8"), "--timeout", "60"];
    let (code, _, error) = paceline(&[&cell, &["job", "submit", file.to_str().expect("UTF-8")][..]].concat());
    assert!(code == Some(0) || code == Some(6), "{name}: {code:?} {error}");
    code == Some(0)
}

fn members(dir: &Path) -> Vec<Value> {
    said(dir, &["cell", "member", "list"])["members"].as_array().expect("a list").clone()
}

#[test]
fn every_founder_is_replaced_under_load_and_nothing_is_lost() {
    let mut dev = Dev::start(&["--masters", "3"]);
    dev.until_up(1);
    let dir = dev.dir().to_owned();
    let (code, _, error) = only(&dir, "master:4", &[]);
    assert!(code == Some(1) && error.contains("with --join it is made"), "{error}");
    let before = members(&dir);
    let load = Load::start(&dir);
    for number in 1..=3 {
        let (old, new) = (format!("m{number}"), format!("m{}", number + 3));
        let process = dev.pid(&old).expect("it runs");
        let (code, _, error) = only(&dir, &format!("master:{}", number + 3), &["--join"]);
        assert_eq!(code, Some(0), "{error}");
        let replaced = said(&dir, &["cell", "member", "replace", &old, "--by", &new, "--timeout", "120"]);
        assert_eq!(
            (&replaced["name"], &replaced["votes"]),
            (&new.as_str().into(), &true.into()),
            "{replaced}"
        );
        until(&format!("{old} has ended by itself"), || !runs(process));
        until(&format!("cell.json names {old} no more"), || !dev.pids().contains_key(&old));
        assert!(dev.pid(&new).is_some_and(runs), "{new} runs");
    }
    let acknowledged = load.stop();
    assert!(acknowledged.len() >= 10, "{} were acknowledged", acknowledged.len());
    let after = members(&dir);
    let names: Vec<&str> = after.iter().filter_map(|member| member["name"].as_str()).collect();
    assert_eq!(names, ["m4", "m5", "m6"]);
    assert!(after.iter().all(|member| member["votes"] == true), "{after:?}");
    let ids = |members: &[Value]| members.iter().map(|it| it["raft_id"].as_u64()).collect::<Vec<_>>();
    assert!(ids(&after).iter().all(|id| !ids(&before).contains(id)), "no id is used twice");
    for name in &acknowledged {
        until(&format!("{name} has run"), || said(&dir, &["job", "get", name])["state"] == "succeeded");
    }

    let part = |path: &str| dir.join("masters/m1").join(path).to_str().expect("UTF-8").to_owned();
    let (credentials, data) = (part("credentials"), part("data"));
    let place =
        ["--credentials", &credentials, "--data", &data, "--api", "127.0.0.1:0", "--peer", "127.0.0.1:0"];
    for as_what in [&["--raft-id", "1"][..], &["--join"]] {
        let (code, _, error) = paceline(&[&["master"], &place[..], as_what].concat());
        assert!(code == Some(1) && error.contains("m1 was removed from cell dev"), "{code:?} {error}");
    }
    dev.until_up(1);
    dev.end_by(Signal::TERM);
}

#[test]
fn what_is_asked_for_wrongly_is_refused_by_name_and_changes_nothing() {
    let mut dev = Dev::start(&["--masters", "1"]);
    dev.until_up(1);
    let dir = dev.dir().to_owned();
    let ask = |arguments: &[&str]| {
        let cell = ["--cell", dir.to_str().expect("UTF-8"), "--timeout", "5", "cell", "member"];
        let (code, _, error) = paceline(&[&cell, arguments].concat());
        (code, error)
    };
    let free =
        TcpListener::bind("127.0.0.1:0").and_then(|port| port.local_addr()).expect("a port").to_string();
    let cases: [(&[&str], i32, &[&str]); 6] = [
        (
            &["add", "NO", "--peer", "x", "--api", "y:0"],
            3,
            &["name: `NO`", "peer_address: `x`", "api_address: `y:0`"],
        ),
        (&["add", "m4"], 1, &["--peer", "cell.json does not say"]),
        (&["add", "m4", "--peer", &free, "--api", "127.0.0.1:9"], 4, &["is it started, with --join?"]),
        (&["add", "m1", "--peer", &free, "--api", "127.0.0.1:9"], 3, &["m1", "replace"]),
        (&["remove", "m9"], 3, &["m9 is not a master of this cell"]),
        (&["remove", "m1"], 3, &["m1 is the last voting master"]),
    ];
    for (arguments, expected_code, expected) in cases {
        let (code, error) = ask(arguments);
        assert_eq!(code, Some(expected_code), "{arguments:?}: {error}");
        assert!(expected.iter().all(|words| error.contains(words)), "{arguments:?}: {error}");
    }
    assert_eq!(members(&dir).len(), 1);

    // A client that knows only masters that are gone says where it looked.
    let alone = tempfile::tempdir().expect("a folder");
    let credentials = dir.join("credentials/operator");
    let description = serde_json::json!({"api": [free], "credentials": credentials});
    fs::write(alone.path().join("cell.json"), description.to_string()).expect("written");
    let gone = ["--cell", alone.path().to_str().expect("UTF-8"), "--timeout", "2", "cell", "status"];
    let (code, _, error) = paceline(&gone);
    assert!(
        code == Some(4) && error.contains(&free) && error.contains("have been replaced"),
        "{code:?} {error}"
    );
    dev.end_by(Signal::TERM);
}
