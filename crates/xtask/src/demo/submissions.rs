//! Small jobs, submitted one after the other all along, and held against the cell at the end: whatever it
//! acknowledged, it must still have, once, and have done.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

use super::cli::Cli;
use super::wait;

/// Between two submissions: each is a process of its own, and the batch shall have the machine.
const SUBMIT_EVERY: Duration = Duration::from_millis(250);
/// Every name begins like this, and nobody else's does.
const PREFIX: &str = "small-";
/// A task that does nothing takes a moment; a loaded machine may need much longer.
const END_LIMIT: Duration = Duration::from_secs(180);
/// `paceline job submit`: no answer in time, and nothing was done as far as the client can tell: the audit holds it as open.
const EXIT_NOT_DONE: i32 = 4;
/// `paceline job submit`: no answer in time, the outcome is not known.
const EXIT_UNKNOWN: i32 = 6;
/// `paceline job get`: there is no such job.
const EXIT_REFUSED: i32 = 3;

/// How one submission was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The cell has it, under this uid.
    Acknowledged(String),
    /// The cell said no.
    Refused(String),
    /// Nobody knows.
    Unknown,
}

/// Submits.
#[derive(Debug)]
pub struct Submitter {
    cli: Cli,
    folder: PathBuf,
    number: AtomicU64,
    answers: Mutex<BTreeMap<String, Answer>>,
}

impl Submitter {
    /// Job files are written to the folder.
    pub fn new(cli: Cli, folder: PathBuf) -> Arc<Self> {
        Arc::new(Self { cli, folder, number: AtomicU64::new(0), answers: Mutex::default() })
    }

    /// Submits one small job and remembers the answer.
    pub fn submit(&self) -> Result<Answer> {
        // ORDERING: Relaxed, only the number counts, nothing is published with it.
        let name = format!("{PREFIX}{:04}", self.number.fetch_add(1, Ordering::Relaxed));
        let file = self.folder.join(format!("{name}.yaml"));
        let text =
            format!("name: {name}\ntasks: 1\nrun: [/bin/true]\nresources: {{cpu: 10m, memory: 8Mi}}\n");
        fs::write(&file, text).with_context(|| format!("could not write {}", file.display()))?;
        let path = file.to_str().context("the path of the demo's folder is not UTF-8")?;
        let finished = self.cli.call(&["job", "submit", path])?;
        let answer = match (finished.status.code(), uid(&finished.stdout)) {
            (Some(0), Some(uid)) => Answer::Acknowledged(uid),
            (Some(EXIT_NOT_DONE | EXIT_UNKNOWN), _) => Answer::Unknown,
            (_, _) => Answer::Refused(format!("{name}: {}", finished.status)),
        };
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).insert(name, answer.clone());
        Ok(answer)
    }

    /// Every answer until now.
    pub fn answers(&self) -> BTreeMap<String, Answer> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn submit_until(&self, stop: &AtomicBool) -> Result<()> {
        // ORDERING: Relaxed, a lone flag; nothing else is published with it.
        while !stop.load(Ordering::Relaxed) {
            self.submit()?;
            thread::sleep(SUBMIT_EVERY);
        }
        Ok(())
    }
}

fn uid(stdout: &str) -> Option<String> {
    let answer: Value = serde_json::from_str(stdout).ok()?;
    Some(answer["uid"].as_str()?.to_owned())
}

/// Submissions in the background. Dropping it cuts off the one that is under way.
#[derive(Debug)]
pub struct Background {
    stop: Arc<AtomicBool>,
    cut: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Background {
    /// Begins. Calls end once `cut` is set.
    pub fn start(submitter: &Arc<Submitter>, cut: &Arc<AtomicBool>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (flag, submitter) = (Arc::clone(&stop), Arc::clone(submitter));
        let thread = thread::spawn(move || submitter.submit_until(&flag));
        Self { stop, cut: Arc::clone(cut), thread: Some(thread) }
    }

    /// Ends after the submission that is under way.
    pub fn stop(mut self) -> Result<()> {
        self.join()
    }

    fn join(&mut self) -> Result<()> {
        // ORDERING: Relaxed, as where it is read.
        self.stop.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().map_err(|_| anyhow!("the submissions in the background panicked"))?
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if self.thread.is_some() {
            // ORDERING: Relaxed, a lone flag; nothing else is published with it.
            self.cut.store(true, Ordering::Relaxed);
            // The demo has failed already, and says why.
            let _ = self.join();
        }
    }
}

/// What the cell has of what it acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// Submissions that the cell acknowledged.
    pub acknowledged: usize,
    /// Why it refused others.
    pub refused: Vec<String>,
    /// Submissions of which nobody knows.
    pub unknown: usize,
    /// Acknowledged ones that the cell does not have.
    pub lost: Vec<String>,
    /// Names that it has more than once.
    pub doubled: Vec<String>,
    /// Acknowledged ones that it has and that did not succeed.
    pub not_succeeded: Vec<String>,
}

/// Waits until every small job has ended, and holds the answers against the cell.
pub fn audit(submitter: &Submitter) -> Result<Audit> {
    let cli = &submitter.cli;
    let mut jobs = Vec::new();
    wait::until("every small job has ended", END_LIMIT, cli.interrupted(), || {
        jobs = small_jobs(&cli.ask(&["job", "list"])?);
        Ok(!jobs.iter().any(|job| matches!(job.state.as_str(), "active" | "stopping")))
    })?;
    let answers = submitter.answers();
    // A job that has ended may have retired from the list; by its uid it stays readable.
    let listed: BTreeSet<String> = jobs.iter().map(|job| job.uid.clone()).collect();
    for answer in answers.values() {
        if let Answer::Acknowledged(uid) = answer
            && !listed.contains(uid)
        {
            jobs.extend(retired(cli, uid)?);
        }
    }
    Ok(judge(&answers, &jobs))
}

#[derive(Debug, Clone)]
struct SmallJob {
    name: String,
    uid: String,
    state: String,
}

impl SmallJob {
    fn read(job: &Value) -> Option<Self> {
        let text = |field: &str| Some(job[field].as_str()?.to_owned());
        Some(Self { name: text("name")?, uid: text("uid")?, state: text("state")? })
    }
}

/// The job of this uid, where the cell still knows it.
fn retired(cli: &Cli, uid: &str) -> Result<Option<SmallJob>> {
    let finished = cli.call(&["job", "get", uid])?;
    match finished.status.code() {
        Some(0) => Ok(serde_json::from_str(&finished.stdout).ok().as_ref().and_then(SmallJob::read)),
        Some(EXIT_REFUSED) => Ok(None),
        _ => bail!(
            "`paceline job get {uid}` ended with {}, expected exit code 0 or {EXIT_REFUSED}",
            finished.status
        ),
    }
}

fn small_jobs(list: &Value) -> Vec<SmallJob> {
    let jobs = list["jobs"].as_array().into_iter().flatten().filter_map(SmallJob::read);
    jobs.filter(|job| job.name.starts_with(PREFIX)).collect()
}

fn judge(answers: &BTreeMap<String, Answer>, jobs: &[SmallJob]) -> Audit {
    let mut audit = Audit {
        acknowledged: 0,
        refused: Vec::new(),
        unknown: 0,
        lost: Vec::new(),
        doubled: Vec::new(),
        not_succeeded: Vec::new(),
    };
    for (name, answer) in answers {
        match answer {
            Answer::Refused(why) => audit.refused.push(why.clone()),
            Answer::Unknown => audit.unknown += 1,
            Answer::Acknowledged(uid) => {
                audit.acknowledged += 1;
                match jobs.iter().find(|job| job.uid == *uid && job.name == *name) {
                    None => audit.lost.push(format!("{name} ({uid})")),
                    Some(job) if job.state != "succeeded" => {
                        audit.not_succeeded.push(format!("{name} is {}", job.state))
                    }
                    Some(_) => {}
                }
            }
        }
        if jobs.iter().filter(|job| job.name == *name).count() > 1 {
            audit.doubled.push(name.clone());
        }
    }
    audit
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(name: &str, uid: &str, state: &str) -> SmallJob {
        SmallJob { name: name.into(), uid: uid.into(), state: state.into() }
    }

    /// The canary: what is lost, done twice or not done is found.
    #[test]
    fn an_acknowledged_job_that_is_missing_doubled_or_not_done_is_found() {
        let yes = |uid: &str| Answer::Acknowledged(uid.to_owned());
        let answers = [
            ("small-1", yes("1-0")),
            ("small-2", yes("2-0")),
            ("small-3", yes("3-0")),
            ("small-4", yes("4-0")),
            ("small-5", Answer::Unknown),
            ("small-6", Answer::Refused("small-6: 3".into())),
        ];
        let answers: BTreeMap<String, Answer> =
            answers.map(|(name, answer)| (name.to_owned(), answer)).into();
        let good = job("small-1", "1-0", "succeeded");
        let jobs = [
            good.clone(),
            job("small-2", "9-0", "succeeded"),
            job("small-3", "3-0", "failed"),
            job("small-4", "4-0", "succeeded"),
            job("small-4", "5-0", "succeeded"),
        ];
        let audit = judge(&answers, &jobs);
        assert_eq!((audit.acknowledged, audit.unknown, audit.refused.len()), (4, 1, 1));
        assert_eq!(audit.lost, ["small-2 (2-0)"]);
        assert_eq!(audit.not_succeeded, ["small-3 is failed"]);
        assert_eq!(audit.doubled, ["small-4"]);
    }

    #[test]
    fn a_uid_is_read_from_an_answer() {
        assert_eq!(uid("{\"uid\": \"7-0\"}"), Some("7-0".to_owned()));
        assert_eq!(uid("error"), None);
    }
}
