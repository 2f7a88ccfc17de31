//! The leader, a shard and an agent die by SIGKILL in the middle of the batch; what the cell does about it.
//!
//! Finds each by what the cell says of itself and its process by `cell.json`, as an operator would. Judges nothing.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::batch::Moment;
use super::cell::{AGENTS, DemoCell};
use super::cli::Cli;
use super::progress::Progress;
use super::submissions::{Answer, Submitter};
use super::{batch, processes, wait};

/// Agents look for another shard at once and again after a growing pause; a loaded machine may need much longer.
const REHOME_LIMIT: Duration = Duration::from_secs(180);
/// A task rests for a second and counts for a moment; a loaded machine may need much longer.
const TASK_LIMIT: Duration = Duration::from_secs(120);

/// The leader, and its successor.
#[derive(Debug, Clone, PartialEq)]
pub struct LeaderKilled {
    pub at: Moment,
    pub killed: String,
    pub pid: u32,
    /// Who leads now.
    pub leader: String,
    /// Whether a submission that began after the signal was acknowledged.
    pub written: bool,
    /// From the signal to that answer, which is durable on a majority: the client's search for the new leader and the
    /// start of its process included.
    pub seconds: f64,
}

/// A shard, and its agents.
#[derive(Debug, Clone, PartialEq)]
pub struct ShardKilled {
    pub at: Moment,
    pub killed: String,
    pub pid: u32,
    /// Agents that it carried.
    pub carried: u64,
    /// Until all agents were connected again, by another shard.
    pub seconds: f64,
}

/// An agent, and the tasks that it had.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentKilled {
    pub at: Moment,
    pub killed: String,
    pub pid: u32,
    /// After it was started again.
    pub new_pid: u32,
    /// Its tasks that ran before the signal, and still ran once it was gone.
    pub ran_on: usize,
    /// Of these, how many ended while it was away.
    pub ended_meanwhile: usize,
    /// How long it was away.
    pub seconds: f64,
}

/// Who kills, and what for.
#[derive(Debug)]
pub struct Killer<'demo> {
    pub cell: &'demo DemoCell,
    pub cli: &'demo Cli,
    pub submitter: &'demo Submitter,
    pub progress: &'demo mut Progress,
}

impl Killer<'_> {
    /// Kills the leader and waits for the next committed write.
    pub fn leader(&mut self, at: Moment) -> Result<LeaderKilled> {
        let killed = leader(&self.cli.ask(&["cell", "status"])?)?;
        let (pid, began) = self.kill(&killed, "the leader")?;
        let answer = self.submitter.submit()?;
        let seconds = began.elapsed().as_secs_f64();
        let leader = leader(&self.cli.ask(&["cell", "status"])?)?;
        self.progress.say(&format!("the next write is committed after {seconds:.2} s; {leader} leads"));
        Ok(LeaderKilled {
            at,
            killed,
            pid,
            leader,
            written: matches!(answer, Answer::Acknowledged(_)),
            seconds,
        })
    }

    /// Kills the shard with the most agents and waits until another one carries them all.
    pub fn shard(&mut self, at: Moment) -> Result<ShardKilled> {
        let (killed, carried) = largest_shard(&self.cli.ask(&["cell", "status"])?)?;
        let (pid, began) = self.kill(&killed, &format!("a shard with {carried} agents"))?;
        self.wait("the other shard carries every agent", REHOME_LIMIT, |killer| {
            let status = killer.cli.ask(&["cell", "status"])?;
            Ok(carried_without(&status, &killed) == AGENTS)
        })?;
        let seconds = began.elapsed().as_secs_f64();
        self.progress.say(&format!("the other shard carries every agent after {seconds:.2} s"));
        Ok(ShardKilled { at, killed, pid, carried, seconds })
    }

    /// Kills the agent with the most running tasks, waits until one of them has ended without it, and starts it again.
    pub fn agent(&mut self, at: Moment) -> Result<AgentKilled> {
        let (killed, tasks) =
            busiest_node(&self.cli.ask(&["job", "tasks", batch::JOB, "--state", "running"])?)?;
        let before: Vec<u32> = tasks.into_iter().filter(|pid| processes::runs(*pid)).collect();
        let (pid, began) = self.kill(&killed, &format!("an agent with {} running tasks", before.len()))?;
        processes::wait_gone(pid, self.cli.interrupted())?;
        let ran_on: Vec<u32> = before.into_iter().filter(|pid| processes::runs(*pid)).collect();
        let ended = || ran_on.iter().filter(|pid| !processes::runs(**pid)).count();
        self.progress.say(&format!("{} of its tasks run on without it", ran_on.len()));
        if !ran_on.is_empty() {
            self.wait("a task ends while its agent is away", TASK_LIMIT, |_| Ok(ended() > 0))?;
        }
        let ended_meanwhile = ended();
        let number = killed.trim_start_matches(|letter: char| !letter.is_ascii_digit());
        self.progress.clear();
        self.cli.start_again(&format!("agent:{number}"))?;
        let new_pid = self.cell.parts()?.pid(&killed)?;
        let (ran_on, seconds) = (ran_on.len(), began.elapsed().as_secs_f64());
        Ok(AgentKilled { at, killed, pid, new_pid, ran_on, ended_meanwhile, seconds })
    }

    /// The process that was killed, and when.
    fn kill(&mut self, name: &str, what: &str) -> Result<(u32, Instant)> {
        let pid = self.cell.parts()?.pid(name)?;
        self.progress.say(&format!("kill -9 {pid}  # {name}, {what}"));
        let began = Instant::now();
        processes::kill(pid, self.cell.dir(), name)?;
        Ok((pid, began))
    }

    /// Waits, and keeps showing how the batch goes on meanwhile.
    fn wait(
        &mut self,
        what: &str,
        limit: Duration,
        mut look: impl FnMut(&mut Self) -> Result<bool>,
    ) -> Result<()> {
        let interrupted = self.cli.interrupted();
        wait::until(what, limit, interrupted, || {
            let moment = batch::Look::read(&self.cli.ask(&["job", "get", batch::JOB])?).moment;
            self.progress.at(moment.ended, moment.running);
            look(self)
        })
    }
}

fn leader(status: &Value) -> Result<String> {
    let leader =
        status["leader"].as_str().with_context(|| format!("cell status names no leader: {status}"))?;
    Ok(leader.to_owned())
}

fn connected_shards(status: &Value) -> impl Iterator<Item = (&str, u64)> {
    let shards = status["shards"].as_array().into_iter().flatten();
    let connected = shards.filter(|shard| shard["connected"] == true);
    connected.filter_map(|shard| Some((shard["name"].as_str()?, shard["nodes"].as_u64()?)))
}

fn largest_shard(status: &Value) -> Result<(String, u64)> {
    let largest = connected_shards(status).max_by_key(|(_, nodes)| *nodes);
    let (name, nodes) = largest.with_context(|| format!("cell status shows no connected shard: {status}"))?;
    Ok((name.to_owned(), nodes))
}

/// Agents that connected shards other than this one carry.
fn carried_without(status: &Value, shard: &str) -> u64 {
    connected_shards(status).filter(|(name, _)| *name != shard).map(|(_, nodes)| nodes).sum()
}

/// The node with the most running tasks, and their processes.
fn busiest_node(running: &Value) -> Result<(String, Vec<u32>)> {
    let mut nodes: std::collections::BTreeMap<&str, Vec<u32>> = std::collections::BTreeMap::new();
    for task in running["tasks"].as_array().into_iter().flatten() {
        let pid = task["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
        if let (Some(node), Some(pid)) = (task["node"].as_str(), pid) {
            nodes.entry(node).or_default().push(pid);
        }
    }
    match nodes.into_iter().max_by_key(|(_, pids)| pids.len()) {
        Some((node, pids)) => Ok((node.to_owned(), pids)),
        None => bail!("an agent shall be killed while it has tasks: job tasks shows none that runs"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_largest_shard_dies_and_its_agents_count_only_elsewhere() {
        let shard = |name: &str, connected: bool, nodes: u64| json!({"name": name, "connected": connected, "nodes": nodes});
        let before = json!({"shards": [shard("s1", true, 1), shard("s2", true, 3), shard("s3", false, 9)]});
        assert_eq!(largest_shard(&before).unwrap(), ("s2".to_owned(), 3));
        assert_eq!(carried_without(&before, "s2"), 1);
        let after = json!({"shards": [shard("s1", true, 4), shard("s2", true, 1)]});
        assert_eq!(carried_without(&after, "s2"), 4);
        assert!(largest_shard(&json!({"shards": []})).is_err());
    }

    #[test]
    fn the_busiest_node_is_the_one_with_the_most_processes() {
        let task = |node: &str, pid: u64| json!({"node": node, "pid": pid});
        let running = json!({"tasks": [task("n1", 7), task("n2", 8), task("n2", 9), json!({"node": "n1"})]});
        assert_eq!(busiest_node(&running).unwrap(), ("n2".to_owned(), vec![8, 9]));
        assert!(busiest_node(&json!({"tasks": []})).is_err());
    }

    #[test]
    fn a_cell_without_a_leader_is_an_error() {
        assert_eq!(leader(&json!({"leader": "m2"})).unwrap(), "m2");
        assert!(leader(&json!({"leader": null})).is_err());
    }
}
