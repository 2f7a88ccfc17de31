//! What tasks write down themselves when they start and when they end: the one witness that no part of the cell can
//! make forget a second start.
//!
//! ```text
//! MARKS/JOB.INDEX      a line per start and per end: `JOB INDEX ATTEMPT PID start`
//! MARKS/JOB.stage-N    tasks of stage N may end once this is there
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Violations of one kind that are listed.
const LISTED_MAX: usize = 10;
/// Seconds after which a task ends by itself: nobody released it, so its run is over.
const TASK_SECONDS_MAX: u32 = 1_800;
/// Exit codes go round from 0 to here, excluded: neighbours differ, and none looks like a signal's 128 and more.
pub const EXIT_CODES: u32 = 101;

/// The exit code of a task that has marked its end.
pub const fn exit_code(index: u32) -> i32 {
    (index % EXIT_CODES).cast_signed()
}

/// The marks of one job.
#[derive(Clone, Debug)]
pub struct Marks {
    folder: PathBuf,
    job: String,
    stages: u32,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The attempt that wrote it.
    pub attempt: u32,
    /// The process that wrote it.
    pub pid: u32,
    /// `start` or `end`.
    pub what: String,
}

impl Marks {
    /// The marks of a job whose task N belongs to stage N modulo `stages`; with no stages at all tasks end at once.
    pub fn new(folder: &Path, job: &str, stages: u32) -> Self {
        Self { folder: folder.to_owned(), job: job.to_owned(), stages }
    }

    /// What a task runs: marks its start, waits for the release of its stage, marks its end, and exits with
    /// [`exit_code`].
    pub fn script(&self) -> String {
        let file = format!("{}/{}", self.folder.display(), self.job);
        let mark = |what| {
            format!(
                "echo \"{} $PACELINE_TASK_INDEX $PACELINE_ATTEMPT $$ {what}\" >> {file}.$PACELINE_TASK_INDEX",
                self.job
            )
        };
        let wait = match self.stages {
            0 => String::new(),
            stages => format!(
                "n=0; while [ ! -e {file}.stage-$((PACELINE_TASK_INDEX % {stages})) ] && \
                 [ $n -lt {TASK_SECONDS_MAX} ]; do sleep 1; n=$((n + 1)); done; "
            ),
        };
        let (start, end) = (mark("start"), mark("end"));
        format!("{start}; {wait}{end}; exit $((PACELINE_TASK_INDEX % {EXIT_CODES}))")
    }

    /// The stage of a task.
    pub const fn stage(&self, index: u32) -> u32 {
        match self.stages {
            0 => 0,
            stages => index % stages,
        }
    }

    /// Lets the tasks of a stage end.
    pub fn release(&self, stage: u32) -> Result<()> {
        let path = self.folder.join(format!("{}.stage-{stage}", self.job));
        fs::write(&path, "").with_context(|| format!("cannot write {}", path.display()))
    }

    /// What a task wrote so far; nothing before its start.
    pub fn of(&self, index: u32) -> Result<Vec<Mark>> {
        let path = self.folder.join(format!("{}.{index}", self.job));
        match fs::read_to_string(&path) {
            Ok(text) => parse(&text).with_context(|| format!("{} is not as tasks write it", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Holds the marks of all tasks against one start in attempt 1 by the process that the cell told of, where it
    /// told of one, and against `ends` ends of the same process.
    pub fn hold(&self, count: u32, ends: usize, pid: impl Fn(u32) -> Option<u32>) -> Result<Vec<String>> {
        let mut wrong = Vec::new();
        for index in 0..count {
            wrong.extend(hold(&self.of(index)?, ends, pid(index)).map(|what| format!("task {index} {what}")));
        }
        let more = wrong.len().saturating_sub(LISTED_MAX);
        wrong.truncate(LISTED_MAX);
        wrong.extend((more > 0).then(|| format!("and {more} more tasks")));
        Ok(wrong.into_iter().map(|what| format!("job {}: {what}", self.job)).collect())
    }
}

fn parse(text: &str) -> Result<Vec<Mark>> {
    text.lines()
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let [_, _, attempt, pid, what] = words[..] else { anyhow::bail!("`{line}` is no mark") };
            Ok(Mark { attempt: attempt.parse()?, pid: pid.parse()?, what: what.to_owned() })
        })
        .collect()
}

/// What is wrong with the marks of one task.
fn hold(marks: &[Mark], ends: usize, pid: Option<u32>) -> Option<String> {
    let count = |what: &str| marks.iter().filter(|mark| mark.what == what).count();
    if count("start") != 1 || count("end") != ends {
        return Some(format!("started {} times and ended {} times: {marks:?}", count("start"), count("end")));
    }
    let first = marks.first()?;
    if let Some(mark) = marks.iter().find(|mark| mark.attempt != 1 || mark.pid != first.pid) {
        return Some(format!("was process {} and then {mark:?}", first.pid));
    }
    let other = pid.filter(|pid| *pid != first.pid)?;
    Some(format!("was process {}, and the cell tells of process {other}", first.pid))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn run(marks: &Marks, index: u32, attempt: u32) -> Option<i32> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &marks.script()]).env("PACELINE_TASK_INDEX", index.to_string());
        command.env("PACELINE_ATTEMPT", attempt.to_string()).status().expect("a shell").code()
    }

    #[test]
    fn a_task_marks_start_and_end_and_exits_with_its_code() {
        let dir = tempfile::tempdir().expect("a folder");
        let marks = Marks::new(dir.path(), "j", 2);
        marks.release(0).expect("written");
        assert_eq!(run(&marks, 4, 1), Some(exit_code(4)));
        let written = marks.of(4).expect("marks");
        assert_eq!(written.iter().map(|mark| mark.what.as_str()).collect::<Vec<_>>(), ["start", "end"]);
        assert_eq!(hold(&written, 1, Some(written[0].pid)), None);
        assert_eq!(marks.of(0).expect("none yet"), []);
    }

    /// The canaries: a second start, another attempt, another process, a task that never ended or never began.
    #[test]
    fn a_second_start_and_whatever_else_must_not_be_is_caught() {
        let mark = |attempt, pid, what: &str| Mark { attempt, pid, what: what.to_owned() };
        let (start, end) = (mark(1, 7, "start"), mark(1, 7, "end"));
        let cases = [
            ("started 2 times", vec![start.clone(), mark(1, 8, "start"), end.clone()]),
            ("then Mark { attempt: 2", vec![start.clone(), mark(2, 7, "end")]),
            ("then Mark { attempt: 1, pid: 9", vec![start.clone(), mark(1, 9, "end")]),
            ("ended 0 times", vec![start.clone()]),
            ("started 0 times", vec![]),
        ];
        for (expected, marks) in cases {
            let wrong = hold(&marks, 1, Some(7)).expect("caught");
            assert!(wrong.contains(expected), "{expected}: {wrong}");
        }
        assert!(hold(&[start, end], 1, Some(8)).expect("caught").contains("tells of process 8"));
    }

    #[test]
    fn a_task_that_ran_twice_is_seen_in_its_file() {
        let dir = tempfile::tempdir().expect("a folder");
        let marks = Marks::new(dir.path(), "j", 0);
        run(&marks, 0, 1);
        assert_eq!(marks.hold(1, 1, |_| None).expect("read"), Vec::<String>::new());
        run(&marks, 0, 1);
        let wrong = marks.hold(1, 1, |_| None).expect("read");
        assert!(wrong[0].starts_with("job j: task 0 started 2 times and ended 2 times"), "{wrong:?}");
    }
}
