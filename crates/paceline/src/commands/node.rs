//! `paceline node`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Result, bail};
use paceline_rules::Taint;
use serde_json::{Value, json};

use super::{connect, show};
use crate::cli::{CellOptions, NodeCommand};
use crate::output;

/// Runs one command.
pub async fn run(command: NodeCommand, options: &CellOptions) -> Result<ExitCode> {
    let client = connect::client(options).await?;
    let nodes = client.nodes();
    let (node, revision) = match command {
        NodeCommand::List => {
            let nodes = nodes.list().await?;
            let heading = ["NODE", "STATE", "SHARD", "TASKS", "CPU", "MEMORY"];
            let json = json!({"nodes": nodes.iter().map(show::node_json).collect::<Vec<Value>>()});
            output::table(options.output, &heading, nodes.iter().map(show::node_row).collect(), &json)?;
            return Ok(ExitCode::SUCCESS);
        }
        NodeCommand::Get { node } => {
            let node = nodes.get(&node).await?;
            let json = show::node_json(&node);
            output::fields(options.output, output::flat(&json), &json)?;
            return Ok(ExitCode::SUCCESS);
        }
        NodeCommand::Drain { node } => {
            let reply = nodes.drain(&node).await?;
            (node, reply.revision)
        }
        NodeCommand::Resume { node } => {
            let reply = nodes.resume(&node).await?;
            (node, reply.revision)
        }
        NodeCommand::Label { node, changes } => {
            let (set, unset) = split(&changes)?;
            let reply = nodes.label(&node, set, unset).await?;
            (node, reply.revision)
        }
        NodeCommand::Taint { node, changes } => {
            let (set, unset) = split(&changes)?;
            let taints = set.into_iter().map(|(key, value)| Taint { key, value }).collect();
            let reply = nodes.taint(&node, taints, unset).await?;
            (node, reply.revision)
        }
        NodeCommand::Remove { node } => {
            let reply = nodes.remove(&node).await?;
            (node, reply.revision)
        }
        NodeCommand::Replace { node } => {
            let reply = nodes.replace(&node).await?;
            (node, reply.revision)
        }
    };
    let text = format!("node {node}: done at revision {revision}");
    output::message(options.output, &text, &json!({"node": node, "revision": revision}))?;
    Ok(ExitCode::SUCCESS)
}

/// `name=value` sets, `name-` unsets.
fn split(changes: &[String]) -> Result<(BTreeMap<String, String>, Vec<String>)> {
    let (mut set, mut unset) = (BTreeMap::new(), Vec::new());
    for change in changes {
        match (change.split_once('='), change.strip_suffix('-')) {
            (Some((name, value)), _) => {
                set.insert(name.to_owned(), value.to_owned());
            }
            (None, Some(name)) => unset.push(name.to_owned()),
            (None, None) => bail!("`{change}` is neither NAME=VALUE, which sets, nor NAME-, which unsets"),
        }
    }
    Ok((set, unset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_set_and_unset() {
        let (set, unset) = split(&["a=1".into(), "b-".into(), "c=x-".into()]).expect("valid");
        assert_eq!(set, [("a".to_owned(), "1".to_owned()), ("c".to_owned(), "x-".to_owned())].into());
        assert_eq!(unset, ["b"]);
        assert!(split(&["a".into()]).is_err());
    }
}
