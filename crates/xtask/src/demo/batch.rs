//! The batch: its job file with this run's folders in it, and its results against those of a single process.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::documents::Documents;
use super::folder::Folder;
use super::words::Words;

/// The job file, from the root.
pub const JOB_FILE: &str = "ops/examples/words.yaml";
/// The job's name in it.
pub const JOB: &str = "words";
/// Its task count.
pub const TASKS: usize = 400;
/// Words that the summary shows.
const SHOWN: usize = 5;

/// What is about to run.
#[derive(Debug)]
pub struct Batch {
    /// The job file of this run.
    pub file: PathBuf,
    /// What it reads.
    pub documents: Documents,
    results: PathBuf,
    expected: Vec<String>,
    all: Words,
}

/// Results of the batch against those of this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// Tasks whose result is the same, byte by byte.
    pub equal: usize,
    /// The first that is not, in words.
    pub first_difference: Option<String>,
    /// All words that were counted.
    pub words: u64,
    /// The most frequent of them.
    pub most_frequent: Vec<(String, u64)>,
}

impl Batch {
    /// Chooses the documents, counts their words here, and writes the job file.
    pub fn prepare(tree: &Path, folder: &Folder) -> Result<Self> {
        let documents = Documents::choose(TASKS, folder, tree)?;
        let (expected, all) = count(&documents)?;
        let results = folder.shared("results")?;
        let template = tree.join(JOB_FILE);
        let text = fs::read_to_string(&template)
            .with_context(|| format!("could not read {}", template.display()))?;
        let text = set(&text, "DOCUMENTS", &documents.folder)?;
        let text = set(&text, "RESULTS", &results)?;
        let file = folder.path().join("words.yaml");
        fs::write(&file, text).with_context(|| format!("could not write {}", file.display()))?;
        Ok(Self { file, documents, results, expected, all })
    }

    /// Holds what the tasks wrote against what this process counted.
    pub fn compare(&self) -> Result<Comparison> {
        let differences: Vec<String> =
            self.expected.iter().enumerate().filter_map(|task| self.differs(task)).collect();
        // A verdict about the cell must not come from documents that changed under both.
        if !differences.is_empty() && count(&self.documents)?.0 != self.expected {
            bail!("{} changed while the batch ran: run the demo again", self.documents.folder.display());
        }
        Ok(Comparison {
            equal: self.expected.len() - differences.len(),
            first_difference: differences.into_iter().next(),
            words: self.all.total(),
            most_frequent: self.all.most_frequent(SHOWN),
        })
    }

    fn differs(&self, (task, expected): (usize, &String)) -> Option<String> {
        let path = self.results.join(task.to_string());
        match fs::read_to_string(&path) {
            Ok(found) if found == *expected => None,
            Ok(found) => Some(format!(
                "{} has {} lines, expected {}",
                path.display(),
                found.lines().count(),
                expected.lines().count()
            )),
            Err(error) => Some(format!("{}: {error}", path.display())),
        }
    }
}

/// The table of each task, and the words of all.
fn count(documents: &Documents) -> Result<(Vec<String>, Words)> {
    let (mut tables, mut all) = (Vec::new(), Words::default());
    for task in 0..TASKS {
        let mut words = Words::default();
        for document in documents.of_task(task, TASKS) {
            words.read(document)?;
        }
        tables.push(words.table());
        all.merge(&words);
    }
    Ok((tables, all))
}

/// The job file with another value for one variable of its environment.
fn set(text: &str, variable: &str, value: &Path) -> Result<String> {
    let value = value.to_str().with_context(|| format!("{} is not UTF-8", value.display()))?;
    // A text in JSON is one in YAML.
    let line = format!("  {variable}: {}", Value::from(value));
    let prefix = format!("  {variable}: ");
    let count = text.lines().filter(|line| line.starts_with(&prefix)).count();
    if count != 1 {
        bail!("{JOB_FILE}: expected one line `{prefix}…`, found {count}");
    }
    let lines = text.lines().map(|old| if old.starts_with(&prefix) { line.as_str() } else { old });
    Ok(lines.collect::<Vec<_>>().join("\n") + "\n")
}

/// The batch as it was when something was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Tasks that had ended.
    pub ended: u64,
    /// Tasks that ran.
    pub running: u64,
}

/// One look at the batch while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// How far it is.
    pub moment: Moment,
    /// Whether every task has ended.
    pub is_over: bool,
}

impl Look {
    /// From `job get`.
    pub fn read(job: &Value) -> Self {
        let count = |state: &str| job["tasks"][state].as_u64().unwrap_or_default();
        let ended = ["succeeded", "failed", "killed", "lost"].into_iter().map(count).sum();
        let is_over = !matches!(job["state"].as_str(), Some("active" | "stopping"));
        Self { moment: Moment { ended, running: count("running") }, is_over }
    }
}

/// How the cell says that the batch ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The job's uid.
    pub uid: String,
    /// Its state.
    pub state: String,
    /// Tasks by state, without those that no task is in.
    pub tasks: BTreeMap<String, u64>,
    /// Tasks that the cell listed.
    pub listed: usize,
    /// The highest attempt of any task.
    pub max_attempt: u64,
    /// Tasks that did not end in their first attempt.
    pub beyond_first: usize,
    /// Tasks by the node that they ended on.
    pub by_node: BTreeMap<String, u64>,
}

impl Ended {
    /// From `job get` and `job tasks`.
    pub fn read(job: &Value, tasks: &Value) -> Self {
        let listed = tasks["tasks"].as_array().map_or(&[][..], Vec::as_slice);
        let attempts: Vec<u64> = listed.iter().filter_map(|task| task["attempt"].as_u64()).collect();
        let mut by_node: BTreeMap<String, u64> = BTreeMap::new();
        for node in listed.iter().filter_map(|task| task["node"].as_str()) {
            *by_node.entry(node.to_owned()).or_default() += 1;
        }
        let counts = job["tasks"].as_object().into_iter().flatten();
        Self {
            uid: job["uid"].as_str().unwrap_or_default().to_owned(),
            state: job["state"].as_str().unwrap_or_default().to_owned(),
            tasks: counts
                .filter_map(|(state, count)| {
                    Some((state.clone(), count.as_u64().filter(|count| *count > 0)?))
                })
                .collect(),
            listed: listed.len(),
            max_attempt: attempts.iter().copied().max().unwrap_or_default(),
            beyond_first: listed.len() - attempts.iter().filter(|attempt| **attempt == 1).count(),
            by_node,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn template() -> String {
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(JOB_FILE)).unwrap()
    }

    #[test]
    fn the_job_file_has_the_name_and_the_tasks_that_the_demo_counts_with() {
        let text = template();
        assert!(text.contains(&format!("\nname: {JOB}\n")) && text.contains(&format!("\ntasks: {TASKS}\n")));
    }

    #[test]
    fn folders_are_set_in_the_job_file_and_nothing_else_changes() {
        let text = template();
        let changed = set(&text, "RESULTS", Path::new("/a \"b\"")).unwrap();
        assert!(changed.contains("  RESULTS: \"/a \\\"b\\\"\"\n"), "{changed}");
        let differing = text.lines().zip(changed.lines()).filter(|(old, new)| old != new).count();
        assert_eq!((differing, changed.lines().count()), (1, text.lines().count()));
        assert!(set(&text, "NOTHING", Path::new("/a")).is_err());
    }

    /// The job's own script against this process's count, without a cell.
    #[test]
    fn the_script_of_the_job_file_and_this_process_count_alike_and_a_difference_is_seen() {
        let root = std::env::temp_dir().join(format!("xtask-batch-{}", std::process::id()));
        let (documents, results) = (root.join("documents"), root.join("results"));
        fs::create_dir_all(documents.join("more")).unwrap();
        fs::create_dir_all(&results).unwrap();
        fs::write(documents.join("a"), "One two\0two, Ünï 3three").unwrap();
        fs::write(documents.join("more/b"), "end without a line break").unwrap();
        fs::write(documents.join("more/c"), "ONE").unwrap();
        let documents = Documents {
            files: ["a", "more/b", "more/c"].map(|name| documents.join(name)).to_vec(),
            folder: documents,
        };
        let text = template();
        let script: String = text
            .lines()
            .skip_while(|line| !line.ends_with("- |"))
            .skip(1)
            .map(|line| format!("{line}\n"))
            .collect();
        let run = |task: usize, count: usize| {
            let mut shell = std::process::Command::new("/bin/sh");
            shell.args(["-euc", &script]).env("DOCUMENTS", &documents.folder).env("RESULTS", &results);
            shell.env("REST_SECONDS", "0").env("PACELINE_ATTEMPT", "1").env("PACELINE_NODE", "n1");
            shell.env("PACELINE_TASK_INDEX", task.to_string()).env("PACELINE_TASK_COUNT", count.to_string());
            assert!(shell.output().unwrap().status.success());
        };
        let (expected, all) = count(&documents).unwrap();
        // Of 400 tasks, 1 to 3 have a document each; of one, the task has them all.
        [1, 2, 3, 4].into_iter().for_each(|task| run(task, TASKS));
        let batch = Batch { file: PathBuf::new(), documents, results: results.clone(), expected, all };
        let differs = |task: usize| batch.differs((task, &batch.expected[task]));
        assert_eq!([1, 2, 3, 4].map(differs), [None, None, None, None]);
        assert!(differs(5).is_some(), "a result that is missing");
        fs::write(results.join("2"), "1 end\n").unwrap();
        assert!(differs(2).is_some_and(|why| why.contains("1 lines, expected 5")));
        assert_eq!(batch.compare().unwrap().equal, 3);
        fs::write(batch.documents.folder.join("a"), "changed").unwrap();
        assert!(batch.compare().unwrap_err().to_string().contains("changed while the batch ran"));
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_look_adds_up_what_has_ended() {
        let tasks = json!({"pending": 9, "running": 5, "succeeded": 1, "failed": 2, "killed": 3, "lost": 4});
        let look = |state: &str| Look::read(&json!({"state": state, "tasks": tasks}));
        assert_eq!(look("active"), Look { moment: Moment { ended: 10, running: 5 }, is_over: false });
        assert!(look("failed").is_over && !look("stopping").is_over);
    }

    #[test]
    fn attempts_and_nodes_are_read_from_the_list_of_tasks() {
        let task = |attempt: u64, node: &str| json!({"attempt": attempt, "node": node});
        let tasks = json!({"tasks": [task(1, "n1"), task(3, "n2"), task(1, "n2"), json!({})]});
        let job = json!({"uid": "8-0", "state": "succeeded", "tasks": {"succeeded": 4, "failed": 0}});
        let ended = Ended::read(&job, &tasks);
        assert_eq!((ended.listed, ended.max_attempt, ended.beyond_first), (4, 3, 2));
        assert_eq!(ended.by_node, BTreeMap::from([("n1".to_owned(), 1), ("n2".to_owned(), 2)]));
        assert_eq!(ended.tasks, BTreeMap::from([("succeeded".to_owned(), 4)]));
    }
}
