//! Records against broken bytes.

use std::fmt::Debug;

use paceline_fuzz::Campaign;

use super::ended::{Cause, Ended, Outcome};
use super::intent::Intent;
use super::lease::Lease;
use super::order::{CpuShare, KeptGroups, LogLimits, MemoryLimit, Order, UserIds};
use super::running::Running;
use super::stop::Stop;
use super::text::Fields;
use crate::checksum::crc32c;
use crate::folder::Record;
use crate::process::ProcessIdentity;

fn read<R: Record>(bytes: &[u8]) -> Option<R> {
    R::decode(&Fields::parse(R::NAME, bytes).ok()?).ok()
}

/// The checksum would stop every change: it is made anew for what stands before it.
fn sealed(body: &[u8]) -> Vec<u8> {
    let mut whole = body.to_vec();
    if !whole.ends_with(b"\n") {
        whole.push(b'\n');
    }
    let sum = crc32c(&whole);
    whole.extend_from_slice(format!("crc32c {sum:08x}\n").as_bytes());
    whole
}

fn target<R: Record + PartialEq + Debug>(sound: &[R]) {
    let whole: Vec<Vec<u8>> = sound.iter().map(Record::encode).collect();
    let sum_bytes = "crc32c 01234567\n".len();
    let bodies = whole.iter().map(|bytes| bytes[..bytes.len() - sum_bytes].to_vec()).collect();
    let again = |record: &R| read::<R>(&record.encode());
    Campaign::new(R::NAME, bodies).run(|body| read::<R>(&sealed(body)), again);
    Campaign::new(R::NAME, whole).run(read::<R>, again);
}

fn process() -> ProcessIdentity {
    ProcessIdentity { pid: 7, start_ticks: 99, boot: "6f1e".to_owned() }
}

#[test]
fn orders() {
    let smallest = Order {
        attempt: "42-0.7.1".to_owned(),
        folder: "42-0.7.1".to_owned(),
        boot: "6f1e".to_owned(),
        run: vec!["/bin/sh".to_owned(), "-c".to_owned(), "echo 'a\nb' \\ c".to_owned()],
        env: vec![("A".to_owned(), "x=y".to_owned())],
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
    };
    let fullest = Order {
        user: Some(UserIds { uid: 65_534, gid: 65_533 }),
        time_limit_ms: Some(5),
        memory: Some(MemoryLimit { cgroup: "/m/x".to_owned(), bytes: 1 << 40 }),
        cpu: Some(CpuShare { cgroup: "/c".to_owned(), weight_milli: 10, quota_milli: Some(20) }),
        freezer_cgroup: Some("/f".to_owned()),
        kept_groups: Some(KeptGroups { name: "42-0.5.1".to_owned(), left_bytes_max: 1 << 20 }),
        ..smallest.clone()
    };
    target(&[smallest, fullest]);
}

#[test]
fn intents() {
    let held = Intent {
        attempt: "42-0.7.1".to_owned(),
        holder: Some(process()),
        control: Some(3),
        uid: Some(65_534),
        groups: Some("42-0.5.1".to_owned()),
    };
    target(&[Intent { holder: None, control: None, uid: None, groups: None, ..held.clone() }, held]);
}

#[test]
fn ends() {
    let killed = Ended {
        outcome: Outcome::Signal(9),
        cause: Cause::OutOfMemory,
        message: "killed 2".to_owned(),
        pid: 7,
        started_unix_ms: 1,
        ended_unix_ms: 2,
    };
    target(&[Ended { outcome: Outcome::Code(3), cause: Cause::Exited, ..killed.clone() }, killed]);
}

#[test]
fn leases_stops_and_news() {
    target(&[Lease { asked_boot_ms: 1_000, duration_ms: 500 }]);
    target(&[Stop { grace_ms: 10_000 }]);
    target(&[Running { task: process(), started_unix_ms: 5 }]);
}
