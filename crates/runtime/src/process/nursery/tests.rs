//! Nurseries that do not do what they should. A shell script stands for the program.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;

/// Long enough for a script to answer on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// For those that never answer.
const NO_PATIENCE: Duration = Duration::from_millis(300);

fn nursery(folder: &Path, script: &str, answer_within: Duration) -> Nursery {
    let program = folder.join("program");
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    Nursery { answer_within, ..Nursery::new(program) }
}

fn ordered(nursery: &Nursery, attempt: &str, frame: &[u8]) -> Result<Answer, NurseryError> {
    nursery.ask(attempt, frame).and_then(Asked::answer)
}

fn unknown(outcome: Result<Answer, NurseryError>) -> io::Error {
    match outcome {
        Err(NurseryError::Unknown(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_that_ends_without_an_answer_is_reported_with_its_status_and_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let dies = "if [ -e NAME ]; then read -r _; echo 'b taken 7 9'; sleep 60; else touch NAME; exec head -c 4 >&2; fi";
    let mark = folder.path().join("was-here");
    let nursery = nursery(folder.path(), &dies.replace("NAME", mark.to_str().unwrap()), PATIENCE);
    assert!(unknown(ordered(&nursery, "a", b"frame\n")).to_string().contains("exit status: 0"));
    assert_eq!(ordered(&nursery, "b", b"frame\n").unwrap(), Answer::Taken { pid: 7, start_ticks: 9 });
}

#[test]
fn a_stopped_one_is_given_up_killed_and_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let nursery = nursery(folder.path(), "kill -STOP $$", NO_PATIENCE);
    assert_eq!(unknown(ordered(&nursery, "a", b"frame")).kind(), ErrorKind::TimedOut);
    let process = lock(&nursery.running).as_ref().unwrap().process.clone();
    assert!(process.ended().to_string().contains("signal: 9"));
}

#[test]
fn one_that_takes_no_orders_does_not_hold_the_agent() {
    let folder = tempfile::tempdir().unwrap();
    let nursery = nursery(folder.path(), "exec sleep 60", NO_PATIENCE);
    let more_than_a_pipe = vec![b'x'; 1 << 20];
    assert_eq!(unknown(ordered(&nursery, "a", &more_than_a_pipe)).kind(), ErrorKind::TimedOut);
    assert!(lock(&nursery.running).is_none(), "half an order is in its pipe");
}

#[test]
fn one_that_says_what_is_no_answer_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let nursery = nursery(folder.path(), "read -r _; echo nonsense; sleep 60", PATIENCE);
    assert!(unknown(ordered(&nursery, "a", b"frame\n")).to_string().contains("signal: 9"));
}

#[test]
fn a_program_that_is_not_there_is_no_answer() {
    let nursery = Nursery::new("/no/such/program".into());
    assert_eq!(unknown(ordered(&nursery, "a", b"frame")).kind(), ErrorKind::NotFound);
}

#[test]
fn the_time_for_an_answer_runs_from_the_order_and_not_from_the_wait_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let nursery = nursery(folder.path(), "read -r _; sleep 30; echo 'a taken 7 9'; sleep 60", PATIENCE);
    let asked = nursery.ask("a", b"frame\n").unwrap();
    assert!(asked.until <= Instant::now() + PATIENCE);
    let late = Asked { until: Instant::now(), ..asked };
    assert_eq!(unknown(late.answer()).kind(), ErrorKind::TimedOut);
}

#[test]
fn an_answer_that_came_in_time_counts_however_late_it_is_looked_for() {
    let (tell, answer) = sync_channel(ANSWERS);
    tell.send(Answer::Theirs).unwrap();
    let process = Process::new(Command::new("/bin/sleep").arg("0").spawn().unwrap());
    let asked = Asked { answer, process: process.clone(), within: PATIENCE, until: Instant::now() };
    assert_eq!(asked.answer().unwrap(), Answer::Theirs);
    process.end();
}
