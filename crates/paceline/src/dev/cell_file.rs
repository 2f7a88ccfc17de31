//! `DIR/cell.json`: where the parts of a development cell are right now. Scripts and the CLI find the cell by it.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use super::plan::{Part, Plan, loopback, replace_file};

#[derive(Serialize)]
struct CellFile<'a> {
    cell: &'a str,
    api: Vec<String>,
    /// Relative to the folder of this file.
    credentials: &'a str,
    masters: Vec<MasterEntry>,
    shards: Vec<ShardEntry>,
    agents: Vec<AgentEntry>,
}

#[derive(Serialize)]
struct MasterEntry {
    id: u64,
    name: String,
    pid: Option<u32>,
    api: String,
    peer: String,
    data_dir: String,
}

#[derive(Serialize)]
struct ShardEntry {
    id: u32,
    name: String,
    pid: Option<u32>,
    address: String,
}

#[derive(Serialize)]
struct AgentEntry {
    node: String,
    pid: Option<u32>,
    address: String,
    data_dir: String,
}

/// Where the operator's credentials are, in the cell's folder.
pub const OPERATOR_CREDENTIALS: &str = "credentials/operator";

/// Changes the pids in the file, and the plan, which may have changed since the caller read it. Of two processes that
/// do so at once, one waits: none of the changes is lost.
pub fn change<T>(
    dir: &Path,
    plan: &mut Plan,
    change: impl FnOnce(&mut Plan, &mut BTreeMap<Part, u32>) -> Result<T>,
) -> Result<T> {
    let path = dir.join("cell.lock");
    let lock = File::create(&path).and_then(|file| file.lock().map(|()| file));
    let _held = lock.with_context(|| format!("cannot lock {}", path.display()))?;
    if let Some(latest) = Plan::load(dir)? {
        *plan = latest;
    }
    let before = plan.clone();
    let mut pids = load_pids(dir, plan);
    let changed = change(plan, &mut pids)?;
    if *plan != before {
        plan.store(dir)?;
    }
    store(dir, plan, &pids)?;
    Ok(changed)
}

/// Writes the file anew; a part without a pid does not run.
fn store(dir: &Path, plan: &Plan, pids: &BTreeMap<Part, u32>) -> Result<()> {
    let data = |part: Part| part.data_folder(dir).display().to_string();
    let masters = plan.masters.iter().map(|master| {
        let part = Part::Master(master.id);
        MasterEntry {
            id: master.id,
            name: part.name(),
            pid: pids.get(&part).copied(),
            api: loopback(master.api_port).to_string(),
            peer: loopback(master.peer_port).to_string(),
            data_dir: data(part),
        }
    });
    let shards = plan.shards.iter().map(|shard| {
        let part = Part::Shard(shard.id);
        let address = loopback(shard.port).to_string();
        ShardEntry { id: shard.id, name: part.name(), pid: pids.get(&part).copied(), address }
    });
    let agents = plan.agents.iter().map(|agent| {
        let part = Part::Agent(agent.id);
        let address = loopback(agent.port).to_string();
        AgentEntry { node: part.name(), pid: pids.get(&part).copied(), address, data_dir: data(part) }
    });
    let file = CellFile {
        cell: &plan.cell,
        api: plan.api_addresses(),
        credentials: OPERATOR_CREDENTIALS,
        masters: masters.collect(),
        shards: shards.collect(),
        agents: agents.collect(),
    };
    replace_file(&dir.join("cell.json"), &serde_json::to_vec_pretty(&file)?)
}

/// The pids that the file names.
pub fn load_pids(dir: &Path, plan: &Plan) -> BTreeMap<Part, u32> {
    let Ok(bytes) = std::fs::read(dir.join("cell.json")) else { return BTreeMap::new() };
    let Ok(file) = serde_json::from_slice::<serde_json::Value>(&bytes) else { return BTreeMap::new() };
    let list = |part: Part| match part {
        Part::Master(_) => ("masters", "name"),
        Part::Shard(_) => ("shards", "name"),
        Part::Agent(_) => ("agents", "node"),
    };
    let pid = |part: Part| {
        let (key, field) = list(part);
        let entry = file[key].as_array()?.iter().find(|entry| entry[field] == part.name().as_str())?;
        u32::try_from(entry["pid"].as_u64()?).ok()
    };
    plan.parts().into_iter().filter_map(|part| Some((part, pid(part)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dev::plan::Size;

    #[test]
    fn the_file_says_what_runs_and_is_read_back() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut plan = Plan::new(Size { masters: 1, shards: 1, agents: 2 }, 2_000, 4 << 30).expect("ports");
        let pids = BTreeMap::from([(Part::Master(1), 11), (Part::Agent(2), 22)]);
        let fill = |_: &mut Plan, now: &mut BTreeMap<Part, u32>| {
            now.extend(pids.clone());
            Ok(())
        };
        change(dir.path(), &mut plan, fill).expect("writable");
        assert_eq!(load_pids(dir.path(), &plan), pids);
        let text = std::fs::read_to_string(dir.path().join("cell.json")).expect("there");
        let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(json["masters"][0]["pid"], 11);
        assert_eq!(json["agents"][1]["node"], "n2");
        assert!(json["shards"][0]["pid"].is_null());
        assert_eq!(json["api"].as_array().expect("a list").len(), 1);

        plan.store(dir.path()).expect("writable");
        let mut stale = plan.clone();
        let join = |plan: &mut Plan, _: &mut BTreeMap<Part, u32>| plan.add_master(4);
        change(dir.path(), &mut plan, join).expect("writable");
        change(dir.path(), &mut stale, |_, _| Ok(())).expect("writable");
        assert_eq!(stale.parts(), plan.parts(), "who knew an older plan has the present one");
        let text = std::fs::read_to_string(dir.path().join("cell.json")).expect("there");
        let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(json["masters"][1]["name"], "m4");
        assert_eq!(json["masters"][0]["pid"], 11, "what ran goes on");
    }
}
