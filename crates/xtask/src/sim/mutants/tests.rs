//! Hunts whose seeds are words.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;

use super::*;
use crate::command::Finished;

/// A folder of one test, gone after it.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        Self(std::env::temp_dir().join(format!("paceline-hunts-{}-{test}", std::process::id())))
    }

    fn ledger(&self) -> Ledger {
        Ledger::open(&self.0, "aa").unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn plan(seeds: u64) -> Plan {
    let simulations = vec![Simulation::Consensus];
    Plan { simulations, plant: None, seeds, budget: None, first: 11, resumes: false }
}

fn hunts(plan: Plan, plants: &[&str], folder: &Folder) -> Hunts {
    let plants = plants.iter().map(|name| (*name).to_owned()).collect();
    Hunts::new(plan, &[(Simulation::Consensus, plants)], folder.ledger()).unwrap()
}

#[derive(Clone, Copy)]
enum End {
    Holds,
    Violates,
    Panics,
}

fn outcome(task: &Task, end: End) -> Outcome {
    let plant = task.plant.as_ref().map_or("null".to_owned(), |name| format!("{name:?}"));
    let (code, verdict) = match end {
        End::Holds => (0, r#""held""#),
        End::Violates => (1, r#""violated","violated":["one-log"]"#),
        End::Panics => (101, r#""panicked""#),
    };
    let stdout = format!(r#"{{"seed":{},"plant":{plant},"verdict":{verdict}}}"#, task.seed);
    let finished = Finished { status: ExitStatus::from_raw(code << 8), stdout };
    Outcome::of(task.seed, task.plant.as_deref(), "sim", Ok(finished))
}

/// Runs all that the hunts ask for; how many processes that were.
fn run(hunts: &mut Hunts, end: impl Fn(&Task) -> End) -> usize {
    let (mut ran, mut follow_up) = (0, None);
    while let Some(task) = follow_up.take().or_else(|| hunts.next()) {
        ran += 1;
        follow_up = hunts.done(&task, outcome(&task, end(&task)));
    }
    ran
}

#[test]
fn a_bug_that_every_fifth_seed_shows_is_caught_with_that_rate() {
    let folder = Folder::new("rate");
    let mut hunts = hunts(plan(50), &["fifth"], &folder);
    // Ten of them, each with one control.
    let ran = run(&mut hunts, |task| match task.plant.is_some() && task.seed % 5 == 0 {
        true => End::Violates,
        false => End::Holds,
    });
    assert_eq!(ran, 60);
    let mutants = hunts.end().unwrap();
    let [mutant] = mutants.as_slice() else { panic!("{mutants:?}") };
    assert_eq!((mutant.seeds, mutant.caught), (50, 10));
    assert!((mutant.estimate().unwrap() - 3.466).abs() < 0.001);
    assert!(verdict(&mutants).is_ok());
    assert!(table(&mutants).contains("| `fifth` | consensus | 10 of 50 | 5 | 3.5 | one-log 10 |"));
    let summary: serde_json::Value = serde_json::from_str(&summary(&mutants, "aa")).unwrap();
    assert_eq!((&summary["caught"], &summary["mutants"][0]["until_caught"]), (&1.into(), &5.into()));
}

#[test]
fn a_rare_bug_is_hunted_up_to_the_first_seed_that_shows_it_and_a_hidden_one_up_to_the_bound() {
    let folder = Folder::new("rare");
    let mut hunts = hunts(plan(50), &["rare", "hidden"], &folder);
    run(&mut hunts, |task| match (task.plant.as_deref(), task.seed) {
        (Some("rare"), 310) => End::Violates,
        _ => End::Holds,
    });
    let mutants = hunts.end().unwrap();
    assert_eq!((mutants[0].seeds, mutants[0].caught), (300, 1));
    assert_eq!((mutants[1].seeds, mutants[1].caught), (SEEDS_MAX, 0));
    let why = verdict(&mutants).unwrap_err().to_string();
    assert!(why.starts_with("1 of 2") && why.contains("hidden: not caught within 2000 seeds"), "{why}");
}

#[test]
fn a_seed_that_fails_without_the_bug_as_well_catches_nothing_and_fails_the_hunt() {
    let folder = Folder::new("unplanted");
    let mut hunts = hunts(plan(20), &["one", "two"], &folder);
    run(&mut hunts, |task| if task.seed == 13 { End::Violates } else { End::Holds });
    let mutants = hunts.end().unwrap();
    assert!(mutants.iter().all(|mutant| mutant.caught == 0));
    let why = verdict(&mutants).unwrap_err().to_string();
    assert!(why.contains("seed 13 fails without one as well") && why.contains("without two"), "{why}");
}

#[test]
fn a_run_that_ends_otherwise_than_by_a_check_catches_nothing() {
    let folder = Folder::new("panics");
    let mut hunts = hunts(Plan { seeds: SEEDS_MAX, ..plan(1) }, &["loud"], &folder);
    let ran = run(&mut hunts, |_| End::Panics);
    assert_eq!(ran, SEEDS_MAX as usize, "no control is needed");
    let why = verdict(&hunts.end().unwrap()).unwrap_err().to_string();
    assert!(why.contains("2000 ended otherwise"), "{why}");
}

#[test]
fn controls_run_once_for_all_bugs_and_caught_bugs_are_not_hunted_again() {
    let folder = Folder::new("resume");
    let all = |task: &Task| if task.plant.is_some() { End::Violates } else { End::Holds };
    let mut first = hunts(plan(5), &["one", "two"], &folder);
    assert_eq!(run(&mut first, all), 15);
    let known = first.end().unwrap();
    let mut again = hunts(Plan { resumes: true, ..plan(5) }, &["one", "two", "three"], &folder);
    assert_eq!(run(&mut again, all), 10, "the third bug and the controls");
    let mutants = again.end().unwrap();
    assert_eq!((&mutants[..2], mutants.len()), (&known[..], 3));
    assert_eq!(run(&mut hunts(plan(5), &["one"], &folder), all), 10, "all anew where nobody resumes");
}

#[test]
fn time_is_shared_and_a_bug_that_was_not_caught_in_its_share_is_said_to_be_missed() {
    let folder = Folder::new("budget");
    let mut spent = hunts(Plan { budget: Some(Duration::ZERO), ..plan(5) }, &["one"], &folder);
    assert_eq!(run(&mut spent, |_| End::Violates), 0);
    let why = verdict(&spent.end().unwrap()).unwrap_err().to_string();
    assert!(why.contains("not caught within 0 seeds"), "{why}");
    let hour = Some(Duration::from_secs(3_600));
    let share = hunts(Plan { budget: hour, ..plan(5) }, &["one", "two", "three"], &folder).until.unwrap();
    let share = share - Instant::now();
    assert!(share <= Duration::from_secs(1_200) && share > Duration::from_secs(600), "{share:?}");
}

#[test]
fn a_bug_of_another_name_is_refused_with_those_there_are() {
    let folder = Folder::new("name");
    let plants = [(Simulation::Cell, vec!["one".to_owned(), "two".to_owned()])];
    let asked = Plan { plant: Some("three".into()), ..plan(5) };
    let error = Hunts::new(asked, &plants, folder.ledger()).unwrap_err().to_string();
    assert_eq!(error, "--plant three: one of one, two is expected");
}
