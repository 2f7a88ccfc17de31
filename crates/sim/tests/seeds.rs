//! Seeds as people and `cargo xtask sim` run them: one process each.

use std::process::{Command, Output};

fn run(seed: u64) -> Output {
    of_family("smoke", seed)
}

fn of_family(family: &str, seed: u64) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paceline-sim"));
    command.args(["cell", "--plan", family, "--seed", &seed.to_string()]);
    command.output().expect("the simulation starts")
}

fn summary(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().last().unwrap_or_default().to_owned()
}

#[test]
fn a_seed_holds_and_runs_the_same_twice() {
    for seed in 1..=3 {
        let (first, second) = (run(seed), run(seed));
        assert!(first.status.success(), "seed {seed}: {}", String::from_utf8_lossy(&first.stdout));
        assert_eq!(summary(&first), summary(&second), "seed {seed}");
    }
}

#[test]
fn a_seed_with_every_kind_of_trouble_holds_and_runs_the_same_twice() {
    let (first, second) = (of_family("swarm", 107), of_family("swarm", 107));
    assert!(first.status.success(), "{}", String::from_utf8_lossy(&first.stdout));
    assert_eq!(summary(&first), summary(&second));
}

#[test]
fn a_cell_whose_disks_lie_is_found_out() {
    let output = of_family("canary", 1);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "{text}");
    // The job that was acknowledged is gone, and the masters tell two stories.
    for found in ["linearizable: job name `first`", "replicas-agree: ", "watches: "] {
        assert!(text.contains(found), "{found} is missing in {text}");
    }
}

#[test]
fn seeds_differ() {
    let digest = |seed| summary(&run(seed)).split("\"digest\":").nth(1).map(|rest| rest[..18].to_owned());
    assert_ne!(digest(1), digest(2));
}

#[test]
fn a_wrong_word_is_refused_by_name() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paceline-sim"));
    let output = command.args(["cell", "--seed", "many"]).output().expect("the simulation starts");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("--seed many: a number is expected"), "{text}");
}

fn lines(words: &[&str]) -> Vec<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_paceline-sim")).args(words).output().expect("it starts");
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn points_and_plants_are_listed_one_in_a_line() {
    for simulation in ["cell", "consensus"] {
        let points = lines(&["points", simulation]);
        assert!(points.len() >= 5 && points.iter().all(|point| point.contains(' ')), "{points:?}");
        let plants = lines(&["plants", simulation]);
        assert!(plants.contains(&"lying-sync".to_owned()), "{plants:?}");
    }
}

#[test]
fn a_planted_bug_is_caught_by_a_check_and_the_summary_names_both() {
    let output = Command::new(env!("CARGO_BIN_EXE_paceline-sim"))
        .args(["cell", "--plan", "canary", "--seed", "1", "--plant", "lying-sync"])
        .output()
        .expect("the simulation starts");
    let summary = summary(&output);
    assert!(!output.status.success(), "{summary}");
    for words in [r#""plant":"lying-sync""#, r#""verdict":"violated""#, "--plant lying-sync --trace"] {
        assert!(summary.contains(words), "{words}: {summary}");
    }
    assert!(summary.contains(r#""violated":["#) && !summary.contains(r#""violated":[]"#), "{summary}");
}
