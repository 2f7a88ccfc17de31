//! Sweeps whose seeds are words: what runs, what counts, what the ledger has afterwards.

use std::path::{Path, PathBuf};

use super::super::tally::tests::outcome;
use super::*;

/// A folder of one test, gone after it.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        Self(std::env::temp_dir().join(format!("paceline-sweep-{}-{test}", std::process::id())))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn plan(first: u64, count: u64, resumes: bool) -> Plan {
    let extent = Extent::Count(count);
    Plan { simulation: Simulation::Cell, extent, first, resumes, passed_on: Vec::new() }
}

fn sweep(plan: Plan, folder: &Path) -> Sweep {
    let points = ["p", "never"].map(str::to_owned).to_vec();
    Sweep::new(plan, points, "dev", Some(Ledger::open(folder, "aa").unwrap())).unwrap()
}

/// Runs all that a sweep asks for; the seeds that ran, second runs included.
fn run(sweep: &mut Sweep, mut verdict: impl FnMut(u64) -> (&'static str, u64)) -> Vec<u64> {
    let (mut ran, mut follow_up) = (Vec::new(), None);
    while let Some(task) = follow_up.take().or_else(|| sweep.next()) {
        ran.push(task.seed);
        let (verdict, digest) = verdict(task.seed);
        follow_up = sweep.done(&task, outcome(task.seed, verdict, digest));
    }
    ran
}

#[test]
fn a_campaign_goes_on_where_its_ledger_stands_and_what_stands_there_counts() {
    let folder = Folder::new("resume");
    let mut first = sweep(plan(1, 3, true), &folder.0);
    assert_eq!(run(&mut first, |seed| (if seed == 2 { "violated" } else { "held" }, 5)), [1, 2, 3]);
    let first = first.end().unwrap();
    assert_eq!((first.tally.held(), first.ran), (2, 3));

    let mut second = sweep(plan(1, 6, true), &folder.0);
    assert_eq!(run(&mut second, |_| ("held", 5)), [4, 5, 6]);
    let second = second.end().unwrap();
    assert_eq!((second.tally.seeds.to_string().as_str(), second.tally.held(), second.ran), ("1-6", 5, 3));
    let why = second.tally.verdict().unwrap_err().to_string();
    assert!(why.contains("1 of 6 seeds failed"), "a failure of the ledger still fails: {why}");
    assert!(second.tally.failures()[0].contains("seed 2"));

    // Nothing left to run, and the verdict stands.
    let mut third = sweep(plan(1, 6, true), &folder.0);
    assert_eq!(run(&mut third, |_| ("held", 5)), Vec::<u64>::new());
    assert!(third.end().unwrap().tally.verdict().is_err());
}

#[test]
fn without_resuming_all_seeds_run_and_count_in_the_ledger_once() {
    let folder = Folder::new("anew");
    for _ in 0..2 {
        let mut again = sweep(plan(1, 4, false), &folder.0);
        assert_eq!(run(&mut again, |_| ("held", 5)), [1, 2, 3, 4]);
        assert_eq!(again.end().unwrap().tally.seeds.count(), 4);
    }
    let ledger = Ledger::open(&folder.0, "aa").unwrap();
    let tally = &ledger.campaign.sweeps["cell"];
    assert_eq!((tally.seeds.count(), tally.points["p"]), (4, 4));
}

#[test]
fn a_seed_that_held_and_now_fails_is_written_down() {
    let folder = Folder::new("flaky");
    run(&mut sweep(plan(1, 2, false), &folder.0), |_| ("held", 5));
    let mut held = sweep(plan(1, 2, false), &folder.0);
    run(&mut held, |_| ("held", 5));
    held.end().unwrap();
    let mut fails = sweep(plan(1, 2, false), &folder.0);
    run(&mut fails, |_| ("violated", 5));
    fails.end().unwrap();
    let resumed = sweep(plan(1, 2, true), &folder.0).end().unwrap();
    assert_eq!((resumed.tally.held(), resumed.ran), (0, 0));
}

#[test]
fn every_hundredth_seed_runs_twice_and_must_do_the_same() {
    let folder = Folder::new("replay");
    let mut same = sweep(plan(99, 3, false), &folder.0);
    assert_eq!(run(&mut same, |_| ("held", 5)), [99, 100, 100, 101]);
    let same = same.end().unwrap();
    assert_eq!((same.tally.replayed, same.ran), (1, 3));
    assert!(same.tally.verdict().is_ok());

    let mut digest = 0;
    let mut other = sweep(plan(200, 1, false), &folder.0);
    run(&mut other, |_| {
        digest += 1;
        ("held", digest)
    });
    assert_eq!(other.end().unwrap().tally.failures(), ["seed 200 did not do the same twice"]);
    let resumed = sweep(plan(99, 0, true), &folder.0).end().unwrap();
    assert_eq!((resumed.tally.replayed, resumed.tally.differed.len()), (2, 1), "the ledger has both");
}

#[test]
fn a_chunk_is_in_the_ledger_before_the_sweep_has_ended() {
    let folder = Folder::new("chunks");
    let mut sweep = sweep(plan(1, CHUNK_SEEDS + 7, false), &folder.0);
    run(&mut sweep, |_| ("held", 5));
    // As if killed here: what is on the disk is what another process would find.
    let campaign = super::super::ledger::Campaign::read(&folder.0, "aa").unwrap();
    assert_eq!(campaign.sweeps["cell"].seeds.count(), CHUNK_SEEDS);
}

#[test]
fn a_budget_that_is_spent_ends_a_sweep() {
    let spent = Plan { extent: Extent::Budget(Duration::ZERO), ..plan(1, 0, false) };
    let mut sweep = Sweep::new(spent, Vec::new(), "dev", None).unwrap();
    assert_eq!(sweep.next(), None);
    let open = Plan { extent: Extent::Budget(Duration::from_secs(3_600)), ..plan(u64::MAX, 0, false) };
    let mut sweep = Sweep::new(open, Vec::new(), "dev", None).unwrap();
    assert_eq!(sweep.next().map(|task| task.seed), Some(u64::MAX));
    assert_eq!(sweep.next(), None, "there is no seed after the last");
}

#[test]
fn progress_counts_what_has_ended_and_not_what_is_under_way() {
    let folder = Folder::new("progress");
    let mut sweep = sweep(plan(1, 4, false), &folder.0);
    let tasks = [sweep.next().unwrap(), sweep.next().unwrap()];
    assert_eq!(sweep.progress().fraction, 0.0);
    sweep.done(&tasks[1], outcome(2, "held", 5));
    assert_eq!(sweep.progress().fraction, 0.25);
    assert!(sweep.progress().words.starts_with("cell: 1 seeds, 0 failed"), "{}", sweep.progress().words);
    sweep.done(&tasks[0], outcome(1, "violated", 5));
    run(&mut sweep, |_| ("held", 5));
    assert_eq!(sweep.progress().fraction, 1.0);
    assert!(sweep.progress().words.ends_with("about 0 s left"));
}

#[test]
fn the_summary_says_what_was_reached_and_what_was_not() {
    let folder = Folder::new("summary");
    let mut sweep = sweep(plan(1, 2, false), &folder.0);
    run(&mut sweep, |seed| (if seed == 2 { "violated" } else { "held" }, 5));
    let mut swept = sweep.end().unwrap();
    let summary = swept.summary("aa", 2);
    assert_eq!((&summary["seeds"], &summary["held"], &summary["ran"]), (&2.into(), &1.into(), &2.into()));
    assert_eq!((&summary["failed"][0], &summary["points_missing"][0]), (&2.into(), &"never".into()));
    assert_eq!((&summary["points_reached"], &summary["replayed"]), (&1.into(), &0.into()));
    assert_eq!(swept.covered().unwrap_err().to_string(), "never reached: never");
    swept.points.retain(|point| point == "p");
    assert!(swept.covered().is_ok());
}
