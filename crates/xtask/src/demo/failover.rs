//! The leader dies by SIGKILL; how long until the cell commits the next write?
//!
//! Finds the leader as anyone would, by `cell status`, and its process by `cell.json`. Judges nothing about jobs.

use std::fs;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::cell::DemoCell;
use super::{CALL_LIMIT, ask};

/// A leader that was killed, and its successor.
#[derive(Debug)]
pub struct Failover {
    /// The master that was killed.
    pub killed: String,
    /// The master that leads now.
    pub leader: String,
    /// From the signal to the answer of the next write, which is durable on a majority: the client's search for the
    /// new leader and the start of its process included.
    pub seconds: f64,
}

/// Kills the leader and waits for the next committed write.
pub fn kill_leader(cell: &DemoCell, interrupted: &AtomicBool) -> Result<Failover> {
    let killed = leader(cell, interrupted)?;
    let pid = pid_of(cell, &killed)?;
    eprintln!("kill -9 {} ({killed}, the leader)", pid.as_raw_nonzero());
    let began = Instant::now();
    kill_process(pid, Signal::KILL).with_context(|| format!("could not kill {killed}"))?;
    let write = ["node", "label", "n1", "demo=failover", "--output", "json"];
    ask(cell, &write, CALL_LIMIT, 0, interrupted)?;
    let seconds = began.elapsed().as_secs_f64();
    let leader = leader(cell, interrupted)?;
    if leader == killed {
        bail!("{killed} was killed and is still said to lead");
    }
    Ok(Failover { killed, leader, seconds })
}

fn leader(cell: &DemoCell, interrupted: &AtomicBool) -> Result<String> {
    let status = ask(cell, &["cell", "status", "--output", "json"], CALL_LIMIT, 0, interrupted)?;
    let leader =
        status["leader"].as_str().with_context(|| format!("cell status names no leader: {status}"))?;
    Ok(leader.to_owned())
}

fn pid_of(cell: &DemoCell, master: &str) -> Result<Pid> {
    let path = cell.dir().join("cell.json");
    let text = fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))?;
    let file: Value =
        serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))?;
    let masters = file["masters"].as_array().map_or(&[][..], Vec::as_slice);
    let pid = masters.iter().find(|entry| entry["name"] == master).and_then(|entry| entry["pid"].as_i64());
    let pid = pid.and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    pid.with_context(|| format!("{} names no process of {master}: {file}", path.display()))
}
