//! `paceline node`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Result;
use paceline_client::v1;
use paceline_rules::Taint;
use serde_json::{Value, json};

use super::{connect, show};
use crate::cli::{CellOptions, NodeCommand};
use crate::exit::{FaultyInput, InputFault};
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
            output::fields(options.output, output::flat(&for_people(&node, &json)), &json)?;
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
            let reply = nodes.taint(&node, taints(set)?, unset).await?;
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

/// Taints as they are written.
fn for_people(node: &v1::Node, json: &Value) -> Value {
    let mut shown = json.clone();
    shown["taints"] = node.taints.iter().map(|taint| format!("{}={}", taint.key, taint.value)).collect();
    shown
}

/// `name=value` sets, `name-` unsets; each name only one of them.
fn split(changes: &[String]) -> Result<(BTreeMap<String, String>, Vec<String>)> {
    let (mut set, mut unset) = (BTreeMap::new(), Vec::new());
    let mut faults = Vec::new();
    for change in changes {
        match (change.split_once('='), change.strip_suffix('-')) {
            (Some((name, value)), _) => {
                set.insert(name.to_owned(), value.to_owned());
            }
            (None, Some(name)) => unset.push(name.to_owned()),
            (None, None) => faults.push(fault(change, "NAME=VALUE, which sets, or NAME-, which unsets")),
        }
    }
    let both = unset.iter().filter(|name| set.contains_key(*name));
    faults.extend(both.map(|name| fault(&format!("{name}-"), "no name that is also set here")));
    refuse(changes, faults)?;
    Ok((set, unset))
}

/// Taints have a key and a value, and no effect beside them.
fn taints(set: BTreeMap<String, String>) -> Result<Vec<Taint>> {
    let effects: Vec<InputFault> = set
        .iter()
        .filter_map(|(key, value)| Some((key, value, value.split_once(':')?.0)))
        .map(|(key, value, plain)| {
            fault(
                &format!("{key}={value}"),
                &format!("{key}={plain}: a taint has no effect, it keeps off all tasks without a toleration"),
            )
        })
        .collect();
    refuse(&[], effects)?;
    Ok(set.into_iter().map(|(key, value)| Taint { key, value }).collect())
}

fn fault(value: &str, expected: &str) -> InputFault {
    let (at, field) = (String::new(), "change".to_owned());
    InputFault { at, field, value: value.to_owned(), expected: expected.to_owned() }
}

fn refuse(changes: &[String], faults: Vec<InputFault>) -> Result<()> {
    if faults.is_empty() {
        return Ok(());
    }
    let message = match changes.len() {
        0 | 1 => "a change cannot be made".to_owned(),
        all => format!("{} of {all} changes cannot be made", faults.len()),
    };
    Err(FaultyInput { message, faults }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_set_and_unset() {
        let (set, unset) = split(&["a=1".into(), "b-".into(), "c=x-".into()]).expect("valid");
        assert_eq!(set, [("a".to_owned(), "1".to_owned()), ("c".to_owned(), "x-".to_owned())].into());
        assert_eq!(unset, ["b"]);
    }

    #[test]
    fn every_change_that_cannot_be_made_is_named_at_once() {
        let error = split(&["a".into(), "b=1".into(), "b-".into()]).expect_err("two").to_string();
        assert!(
            error.contains("`a`: expected NAME=VALUE") && error.contains("`b-`: expected no name"),
            "{error}"
        );
    }

    #[test]
    fn a_taint_is_shown_as_it_is_written() {
        let taint = v1::Taint { key: "gpu".into(), value: "yes".into() };
        let node = v1::Node { taints: vec![taint], ..v1::Node::default() };
        assert_eq!(for_people(&node, &show::node_json(&node))["taints"], json!(["gpu=yes"]));
    }

    #[test]
    fn a_taint_with_an_effect_is_told_what_to_write() {
        let set = |value: &str| [("gpu".to_owned(), value.to_owned())].into();
        let error = taints(set("yes:NoSchedule")).expect_err("refused").to_string();
        assert!(error.contains("expected gpu=yes: a taint has no effect"), "{error}");
        assert_eq!(taints(set("yes")).expect("good").len(), 1);
    }
}
