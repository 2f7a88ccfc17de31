//! `paceline dev` as its user meets it: real processes of a small cell that die, come back and end together.
//!
//! The binary finds `paceline-supervisor` beside itself: `cargo build --workspace --bins` puts it there.

mod cell;
mod members;
mod node_loss;

use std::fs;

use cell::{Dev, only, paceline, runs, until};
use rustix::process::Signal;
use serde_json::Value;

#[test]
fn with_restart_every_role_that_dies_comes_back() {
    let mut dev = Dev::start(&["--masters", "1", "--restart"]);
    for name in ["m1", "s1", "n1"] {
        let before = dev.pid(name).expect("it runs");
        dev.signal(before, Signal::KILL);
        until(&format!("{name} is back"), || dev.pid(name).is_some_and(|now| now != before && runs(now)));
        assert!(!runs(before));
    }
    dev.until_up(1);
    dev.end_by(Signal::INT);
}

#[test]
fn without_restart_a_role_stays_dead_until_only_starts_it_again_beside_the_rest() {
    let mut dev = Dev::start(&["--masters", "3"]);
    let before = dev.pids();
    // The agent twice: the second time it is not the child of `paceline dev`.
    for (name, part) in [("m2", "master:2"), ("n1", "agent:1"), ("n1", "agent:1"), ("s1", "shard:1")] {
        let killed = dev.pid(name).expect("it runs");
        dev.signal(killed, Signal::KILL);
        until(&format!("cell.json says that {name} is dead"), || dev.pid(name).is_none());
        let (code, out, error) = only(dev.dir(), part, &["--output", "json"]);
        assert_eq!(code, Some(0), "{error}");
        let said: Value = serde_json::from_str(&out).expect("JSON");
        assert_eq!((said["name"].as_str(), said["part"].as_str()), (Some(name), Some(part)));
        let now = dev.pid(name).expect("cell.json names it again");
        assert_eq!(said["pid"].as_u64(), Some(u64::from(now)));
        assert!(runs(now) && now != killed);
    }
    let after = dev.pids();
    for name in ["m1", "m3"] {
        assert_eq!(after[name], before[name], "{name} went on");
    }
    dev.until_up(1);
    let (code, _, error) = only(dev.dir(), "master:2", &[]);
    assert!(code == Some(1) && error.contains("--only: m2 runs already"), "{error}");
    dev.end_by(Signal::TERM);
    after.values().for_each(|pid| assert!(pid.is_none_or(|pid| !runs(pid)), "{after:?}"));
}

#[test]
fn no_role_outlives_a_dev_that_was_killed_and_the_folder_can_be_used_again() {
    let mut dev = Dev::start(&["--masters", "1"]);
    let first = dev.pid("n1").expect("it runs");
    dev.signal(first, Signal::KILL);
    until("cell.json says that n1 is dead", || dev.pid("n1").is_none());
    assert_eq!(only(dev.dir(), "agent:1", &[]).0, Some(0));
    let pids = dev.pids();
    dev.kill();
    until("every role has ended", || pids.values().flatten().all(|pid| !runs(*pid)));
    // The file still names the dead: nobody was there to correct it.
    let (code, _, error) = only(dev.dir(), "master:1", &[]);
    assert_eq!(code, Some(0), "{error}");
    let alone = dev.pid("m1").expect("it runs");
    assert!(runs(alone));
    let (code, _, error) = paceline(&["dev", "--dir", dev.dir().to_str().expect("UTF-8")]);
    assert!(
        code == Some(1) && error.contains(&format!("m1 of this folder runs already, as process {alone}")),
        "{error}"
    );
    dev.signal(alone, Signal::TERM);
    until("m1 has ended", || !runs(alone));
    dev.start_again(&["--masters", "1"]);
    dev.until_up(1);
    dev.end_by(Signal::TERM);
}

#[test]
fn a_second_dev_in_the_folder_and_another_size_are_refused() {
    let mut dev = Dev::start(&["--masters", "1", "--exit-with-stdin"]);
    let dir = dev.dir().to_str().expect("UTF-8").to_owned();
    let (code, _, error) = paceline(&["dev", "--dir", &dir]);
    assert!(code == Some(1) && error.contains("another paceline dev runs in"), "{error}");
    dev.close_stdin();
    dev.wait_ended();
    let (code, _, error) = paceline(&["dev", "--dir", &dir, "--shards", "2"]);
    let expected = "a cell of 1 masters, 1 shards and 1 agents; asked for 1, 2 and 1";
    assert!(code == Some(1) && error.contains(expected), "{error}");
}

#[test]
fn bad_values_name_their_field_and_touch_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let absent = folder.path().join("absent");
    let absent = absent.to_str().expect("UTF-8");
    let cases: [(&[&str], i32, &str); 8] = [
        (&["--masters", "0"], 2, "--masters"),
        (&["--shards", "many"], 2, "--shards"),
        (&["--agents", "65"], 2, "--agents"),
        (&["--only", "master:x"], 2, "`master:x` is not a part: expected master:ID, shard:ID or agent:ID"),
        (&["--only", "pool:1"], 2, "--only"),
        (&["--only", "master:1", "--restart"], 2, "--restart"),
        (&["--only", "master:1"], 1, "cannot find"),
        (&["--nothing"], 2, "--nothing"),
    ];
    for (arguments, expected_code, expected) in cases {
        let (code, _, error) = paceline(&[&["dev", "--dir", absent], arguments].concat());
        assert!(code == Some(expected_code) && error.contains(expected), "{arguments:?}: {code:?} {error}");
        assert!(fs::metadata(absent).is_err(), "{arguments:?} made the folder");
    }
    let empty = folder.path().to_str().expect("UTF-8");
    let (code, _, error) = paceline(&["dev", "--dir", empty, "--only", "master:1"]);
    assert!(code == Some(1) && error.contains("--dir") && error.contains("holds no cell"), "{error}");
}
