//! Judges what the cell said about the demo's job: three tasks that exit with their own index.
//!
//! Pure: JSON in, an [`Outcome`] or every discrepancy out. Does not repair, guess or skip a field.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use serde_json::Value;

/// Task `i` of the job exits with code `i`.
const TASKS: u64 = 3;
/// The states a task can be in; their counts add up to the task count.
const STATES: [&str; 8] =
    ["pending", "assigned", "running", "stopping", "succeeded", "failed", "killed", "lost"];

/// The three answers, as the command line printed them.
#[derive(Debug)]
pub struct Answers {
    /// `job submit --wait`.
    pub submitted: Value,
    /// `job get`.
    pub job: Value,
    /// `job tasks`.
    pub tasks: Value,
}

/// What happened, for the summary; made only from answers that were right.
#[derive(Debug)]
pub struct Outcome {
    /// The job's name.
    pub name: String,
    /// The job's uid.
    pub uid: Value,
    /// The job's final state.
    pub state: String,
    /// The revision at which it was read.
    pub revision: u64,
    /// Tasks by state, zero counts included.
    pub tasks: BTreeMap<String, u64>,
    /// Tasks by exit code.
    pub exit_codes: BTreeMap<String, u64>,
    /// Node and exit code of each task, by index.
    pub runs: Vec<(String, u64)>,
}

/// Every discrepancy at once, or what happened.
pub fn judge(name: &str, answers: &Answers) -> Result<Outcome> {
    let mut problems = Vec::new();
    judge_job("job submit", name, &answers.submitted, &mut problems);
    judge_job("job get", name, &answers.job, &mut problems);
    if answers.submitted["uid"] != answers.job["uid"] {
        problems.push("job submit and job get show different uids".to_owned());
    }
    let runs = judge_tasks(&answers.tasks, &mut problems);
    if !problems.is_empty() {
        bail!(
            "the cell's answers are wrong:\n  {}\njob get: {}\njob tasks: {}",
            problems.join("\n  "),
            answers.job,
            answers.tasks
        );
    }
    Ok(Outcome {
        name: name.to_owned(),
        uid: answers.job["uid"].clone(),
        state: answers.job["state"].as_str().unwrap_or_default().to_owned(),
        revision: answers.job["revision"].as_u64().unwrap_or_default(),
        tasks: counts(&answers.job["tasks"]),
        exit_codes: counts(&answers.job["exit_codes"]),
        runs,
    })
}

fn judge_job(source: &str, name: &str, job: &Value, problems: &mut Vec<String>) {
    let mut expect = |what: &str, holds: bool, found: &Value| {
        if !holds {
            problems.push(format!("{source}: {what}, found {found}"));
        }
    };
    expect(&format!("name is \"{name}\""), job["name"] == name, &job["name"]);
    expect("uid is a text", job["uid"].as_str().is_some_and(|uid| !uid.is_empty()), &job["uid"]);
    // Two of three tasks fail by design, so the job as a whole did.
    expect("state is \"failed\"", job["state"] == "failed", &job["state"]);
    expect(
        "revision is above 0",
        job["revision"].as_u64().is_some_and(|revision| revision > 0),
        &job["revision"],
    );
    let tasks = counts(&job["tasks"]);
    expect("tasks has exactly the known states", tasks.keys().eq(sorted(&STATES)), &job["tasks"]);
    expect("tasks add up to 3", tasks.values().sum::<u64>() == TASKS, &job["tasks"]);
    expect("1 task succeeded", tasks.get("succeeded") == Some(&1), &job["tasks"]);
    expect("2 tasks failed", tasks.get("failed") == Some(&(TASKS - 1)), &job["tasks"]);
    let codes = counts(&job["exit_codes"]);
    let expected: BTreeMap<String, u64> = (0..TASKS).map(|code| (code.to_string(), 1)).collect();
    expect("exit codes 0, 1 and 2 once each", codes == expected, &job["exit_codes"]);
}

fn judge_tasks(answer: &Value, problems: &mut Vec<String>) -> Vec<(String, u64)> {
    let none = Vec::new();
    let tasks = answer["tasks"].as_array().unwrap_or(&none);
    if tasks.len() as u64 != TASKS {
        problems.push(format!("job tasks: {TASKS} tasks, found {}", tasks.len()));
    }
    let mut runs = Vec::new();
    for (index, task) in (0u64..).zip(tasks) {
        let state = if index == 0 { "succeeded" } else { "failed" };
        let node = task["node"].as_str().unwrap_or_default();
        let right = task["index"] == index
            && task["exit_code"] == index
            && task["state"] == state
            && task["attempt"] == 1
            && !node.is_empty();
        if !right {
            problems.push(format!(
                "job tasks: index {index} {state} with exit code {index} in attempt 1 on some node, found {task}"
            ));
        }
        runs.push((node.to_owned(), index));
    }
    runs
}

fn counts(object: &Value) -> BTreeMap<String, u64> {
    let entries = object.as_object().into_iter().flatten();
    entries.filter_map(|(name, count)| Some((name.clone(), count.as_u64()?))).collect()
}

fn sorted(names: &[&'static str]) -> Vec<&'static str> {
    let mut names = names.to_vec();
    names.sort_unstable();
    names
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn job() -> Value {
        json!({
            "name": "hello", "uid": "7.0", "state": "failed", "revision": 12,
            "tasks": {"pending": 0, "assigned": 0, "running": 0, "stopping": 0,
                      "succeeded": 1, "failed": 2, "killed": 0, "lost": 0},
            "exit_codes": {"0": 1, "1": 1, "2": 1},
        })
    }

    fn task(index: u64, state: &str) -> Value {
        json!({"index": index, "state": state, "node": "node-1", "attempt": 1, "exit_code": index, "reason": "x"})
    }

    fn answers() -> Answers {
        let tasks = json!({"tasks": [task(0, "succeeded"), task(1, "failed"), task(2, "failed")]});
        Answers { submitted: job(), job: job(), tasks }
    }

    #[test]
    fn right_answers_become_an_outcome() {
        let outcome = judge("hello", &answers()).unwrap();
        assert_eq!((outcome.tasks["failed"], outcome.exit_codes["2"], outcome.revision), (2, 1, 12));
        assert_eq!(outcome.runs.len(), 3);
    }

    /// The canary: each single change of a right answer is noticed.
    #[test]
    fn every_wrong_field_is_noticed() {
        let in_job = [
            ("/name", json!("other")),
            ("/uid", json!("8.0")),
            ("/state", json!("running")),
            ("/revision", json!(0)),
            ("/tasks/pending", json!(1)),
            ("/tasks/lost", Value::Null),
            ("/tasks/succeeded", json!(2)),
            ("/tasks/failed", json!(1)),
            ("/exit_codes/1", json!(2)),
            ("/exit_codes", json!({"0": 3})),
        ];
        for (pointer, value) in in_job {
            let mut answers = answers();
            *answers.job.pointer_mut(pointer).unwrap() = value;
            assert!(judge("hello", &answers).is_err(), "{pointer} in job get");
        }
        let in_tasks = [
            ("/tasks/2/exit_code", json!(1)),
            ("/tasks/1/state", json!("succeeded")),
            ("/tasks/0/attempt", json!(2)),
            ("/tasks/0/index", json!(1)),
            ("/tasks/0/node", json!("")),
            ("/tasks", json!([])),
        ];
        for (pointer, value) in in_tasks {
            let mut answers = answers();
            *answers.tasks.pointer_mut(pointer).unwrap() = value;
            assert!(judge("hello", &answers).is_err(), "{pointer} in job tasks");
        }
    }
}
