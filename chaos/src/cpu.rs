//! Processor time that the parts of a cell have used: on a machine that is busy with other things it says what a task
//! costs far better than how long it took.

use std::collections::BTreeMap;
use std::fs;

use anyhow::Result;
use serde::Serialize;

use crate::cell::DevCell;

/// Clock ticks of `/proc/PID/stat` are hundredths of a second on every Linux.
const TICK_MS: u64 = 10;

/// In milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Cpu<T> {
    /// All masters.
    pub masters: T,
    /// All shards.
    pub shards: T,
    /// All agents.
    pub agents: T,
    /// Their nurseries, and the supervisors and tasks that have ended.
    pub tasks: T,
}

/// What `/proc/PID/stat` says of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Used {
    parent: u32,
    own_ms: u64,
    /// Of children that were waited for, and theirs.
    children_ms: u64,
}

impl Cpu<u64> {
    /// Up to now.
    pub fn used(cell: &DevCell) -> Result<Self> {
        let (parts, used) = (cell.parts()?, all());
        let own = |pid: Option<u32>| pid.and_then(|pid| used.get(&pid)).map_or(0, |used| used.own_ms);
        let agents: Vec<u32> = parts.agents.iter().filter_map(|agent| agent.pid).collect();
        let nurseries = used.values().filter(|used| agents.contains(&used.parent));
        Ok(Self {
            masters: parts.masters.iter().map(|master| own(master.pid)).sum(),
            shards: parts.shards.iter().map(|shard| own(shard.pid)).sum(),
            agents: agents.iter().map(|agent| own(Some(*agent))).sum(),
            tasks: nurseries.map(|used| used.own_ms + used.children_ms).sum(),
        })
    }

    /// What was used since `before`, for each of so many tasks.
    pub fn per_task(self, before: Self, tasks: u32) -> Cpu<f64> {
        #[expect(clippy::cast_precision_loss, reason = "a ratio for people, exact up to 2^53 milliseconds")]
        let each = |now: u64, before: u64| now.saturating_sub(before) as f64 / f64::from(tasks.max(1));
        Cpu {
            masters: each(self.masters, before.masters),
            shards: each(self.shards, before.shards),
            agents: each(self.agents, before.agents),
            tasks: each(self.tasks, before.tasks),
        }
    }
}

impl Cpu<f64> {
    /// In one line.
    pub fn text(self) -> String {
        let Self { masters, shards, agents, tasks } = self;
        format!(
            "{:.2} ms of CPU for each: masters {masters:.2}, shards {shards:.2}, agents {agents:.2}, supervisors and \
             tasks {tasks:.2}",
            masters + shards + agents + tasks
        )
    }
}

/// Every process of the machine.
fn all() -> BTreeMap<u32, Used> {
    let Ok(entries) = fs::read_dir("/proc") else { return BTreeMap::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let used = |pid: u32| parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?);
    pids.filter_map(|pid| Some((pid, used(pid)?))).collect()
}

fn parse(stat: &str) -> Option<Used> {
    // Behind the name, which is in parentheses and may hold anything, the state is field 0.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let ms = |at: usize| Some(fields.get(at)?.parse::<u64>().ok()? * TICK_MS);
    let parent = fields.get(1)?.parse().ok()?;
    Some(Used { parent, own_ms: ms(11)? + ms(12)?, children_ms: ms(13)? + ms(14)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_are_found_behind_a_name_that_may_hold_anything() {
        let stat = "77 (a ) b) S 5 77 77 0 -1 4194560 900 0 0 0 12 3 40 5 20 0 1 0 999 1 2";
        assert_eq!(parse(stat), Some(Used { parent: 5, own_ms: 150, children_ms: 450 }));
        assert_eq!(parse("77 (a) S 5"), None);
    }

    #[test]
    fn what_was_used_is_said_by_task() {
        let before = Cpu { masters: 100, shards: 0, agents: 50, tasks: 0 };
        let now = Cpu { masters: 300, shards: 10, agents: 50, tasks: 2_000 };
        let each = now.per_task(before, 100);
        assert_eq!(each, Cpu { masters: 2.0, shards: 0.1, agents: 0.0, tasks: 20.0 });
        assert!(each.text().starts_with("22.10 ms of CPU for each: masters 2.00"), "{}", each.text());
    }

    #[test]
    fn this_process_is_among_all() {
        assert!(all().contains_key(&std::process::id()));
    }
}
