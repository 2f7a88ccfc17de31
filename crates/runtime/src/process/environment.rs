//! The environment of a task: little from us, then the job's, then what tells the task who it is.

use std::collections::BTreeMap;

use crate::process::options::ProcessOptions;
use crate::runtime::Launch;

/// Names with this prefix are ours; a job cannot set them.
const OWN_PREFIX: &str = "PACELINE_";

/// Nothing of the agent's own environment reaches a task.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";
const LANG: &str = "C.UTF-8";

/// Builds it. `work` is the folder that the task runs in. Refused in words.
pub fn of(launch: &Launch, options: &ProcessOptions, work: &str) -> Result<Vec<(String, String)>, String> {
    if let Some(name) = launch.env.keys().find(|name| name.is_empty() || name.contains('=')) {
        return Err(format!("`{name}` cannot be the name of an environment variable"));
    }
    let base = [("PATH", PATH), ("HOME", work), ("LANG", LANG)];
    let mut env: BTreeMap<String, String> =
        base.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let theirs = launch.env.iter().filter(|(name, _)| !name.starts_with(OWN_PREFIX));
    env.extend(theirs.map(|(name, value)| (name.clone(), value.clone())));
    env.extend(own(launch, options, work).map(|(name, value)| (format!("{OWN_PREFIX}{name}"), value)));
    Ok(env.into_iter().collect())
}

fn own(launch: &Launch, options: &ProcessOptions, work: &str) -> [(&'static str, String); 8] {
    let attempt = &launch.attempt;
    [
        ("CELL", options.cell.clone()),
        ("NODE", options.node.clone()),
        ("JOB", launch.job_name.clone()),
        ("JOB_UID", attempt.job.to_string()),
        ("TASK_INDEX", attempt.task.to_string()),
        ("TASK_COUNT", launch.task_count.to_string()),
        ("ATTEMPT", attempt.attempt.to_string()),
        ("DIR", work.to_owned()),
    ]
}
