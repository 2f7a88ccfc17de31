//! Why tasks of a job wait, as JSON and as rows for people.

use paceline_client::v1;
use serde_json::{Map, Value, json};

use super::show;

/// What stands in the way and what would help; null while no task waits.
pub fn json(waiting: Option<&v1::Waiting>) -> Value {
    let Some(waiting) = waiting else { return Value::Null };
    let need = waiting.need.unwrap_or_default();
    let nodes: Map<String, Value> =
        waiting.nodes.iter().map(|nodes| (show::reason(nodes.reason()), json!(nodes.nodes))).collect();
    json!({
        "reason": show::reason(waiting.reason()),
        "tasks": waiting.tasks,
        "first_task": waiting.first_task,
        "need": {"cpu_milli": need.cpu_milli, "memory_bytes": need.memory_bytes},
        "nodes": nodes,
        "nodes_silent": waiting.nodes_silent,
        "explanation": waiting.explanation,
        "change": waiting.change,
    })
}

/// Rows below a job's own.
pub fn rows(waiting: Option<&v1::Waiting>) -> Vec<Vec<String>> {
    let Some(waiting) = waiting else { return Vec::new() };
    let tasks = if waiting.tasks == 1 { "1 task".to_owned() } else { format!("{} tasks", waiting.tasks) };
    let why = format!("{tasks}, first {}: {}", waiting.first_task, waiting.explanation);
    vec![vec!["waiting".to_owned(), why], vec!["would help".to_owned(), waiting.change.clone()]]
}

/// Tasks on nodes that nobody hears of.
pub fn silent_json(silent: Option<&v1::SilentTasks>) -> Value {
    let json = |silent: &v1::SilentTasks| json!({"tasks": silent.tasks, "nodes": silent.nodes, "explanation": silent.explanation});
    silent.map(json).unwrap_or_default()
}

/// The same, for people.
pub fn silent_row(silent: Option<&v1::SilentTasks>) -> Option<Vec<String>> {
    let text = |silent: &v1::SilentTasks| {
        let v1::SilentTasks { tasks, nodes, explanation } = silent;
        format!("{tasks} on {nodes} nodes that are not heard of: {explanation}")
    };
    silent.map(text).map(|text| vec!["silent".to_owned(), text])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_the_way_is_shown_with_counts() {
        let waiting = v1::Waiting {
            reason: v1::Reason::NoFreeCapacity.into(),
            tasks: 3,
            first_task: 7,
            need: Some(v1::Resources { cpu_milli: 500, memory_bytes: 1 << 20 }),
            nodes: vec![v1::NodesInTheWay { reason: v1::Reason::CpuShort.into(), nodes: 2 }],
            nodes_silent: 0,
            explanation: "none of 2 nodes can take it".to_owned(),
            change: "add a node".to_owned(),
        };
        let json = json(Some(&waiting));
        assert_eq!((&json["reason"], &json["nodes"]["cpu_short"]), (&json!("no_free_capacity"), &json!(2)));
        assert_eq!(rows(Some(&waiting))[0][1], "3 tasks, first 7: none of 2 nodes can take it");
        assert_eq!(rows(Some(&waiting))[1][1], "add a node");
        assert!(rows(None).is_empty());
    }
}
