//! Five masters on every kind of graph, with a leader in every kind of place: one process each, as in the campaign over
//! all 1,024 (`cargo xtask sim graphs --seeds 1024 --first-seed 0`).

use std::process::{Command, Output};
use std::sync::Mutex;
use std::thread;

use paceline_sim::consensus::{Graph, MASTERS};

fn run(words: &[String]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paceline-sim"));
    command.arg("graphs").args(words).output().expect("the simulation starts")
}

fn case(graph: Graph, leader: usize) -> Vec<String> {
    ["--seed".to_owned(), graph.number().to_string(), "--leader".to_owned(), (leader + 1).to_string()].into()
}

/// The graph with links between these masters, from 1.
fn graph(links: &[(usize, usize)]) -> Graph {
    let wanted = |graph: &Graph| {
        graph.pairs().all(|(one, other, linked)| linked == links.contains(&(one + 1, other + 1)))
    };
    (0..u64::from(Graph::COUNT)).map(Graph::of).find(wanted).expect("every set of links is a graph")
}

#[test]
fn a_leader_commits_exactly_where_the_rule_says_and_one_stays_soon_after_healing() {
    let kinds = Mutex::new(Graph::kinds());
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some((graph, leader)) = kinds.lock().unwrap().pop_first() {
                    let output = run(&case(graph, leader));
                    if !output.status.success() {
                        failures.lock().unwrap().push(String::from_utf8_lossy(&output.stdout).into_owned());
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{}", failures.concat());
}

#[test]
fn nobody_votes_for_a_master_whose_log_is_behind_however_many_links_it_has() {
    let star = graph(&[(2, 3), (2, 4)]);
    let reached = graph(&[(1, 2), (2, 3), (2, 4)]);
    for (graph, outcome) in [(star, "nobody could commit"), (reached, "another master took over")] {
        let words = [case(graph, 0), vec!["--behind".to_owned(), "2".to_owned()]].concat();
        let output = run(&words);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains(outcome), "{text}");
    }
}

/// Each of these keeps the cell from what the rule promises, on a graph where that shows.
#[test]
fn what_keeps_a_leader_in_office_and_lets_one_be_elected_is_missed_when_it_is_not_there() {
    let lonely = graph(&[(1, 2), (1, 3), (2, 3), (3, 4)]);
    let star = graph(&[(1, 2), (2, 3), (2, 4), (2, 5)]);
    for (graph, bug) in [(lonely, "pre-vote-granted"), (star, "quorum-loss-unseen")] {
        let words = [case(graph, 0), vec!["--plant".to_owned(), bug.to_owned()]].concat();
        let output = run(&words);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success() && text.contains("graph"), "{bug}: {text}");
    }
}

#[test]
fn a_master_that_is_not_there_is_refused_by_name() {
    let words = ["--seed", "0", "--leader", &(MASTERS + 1).to_string()].map(str::to_owned);
    let text = String::from_utf8_lossy(&run(&words).stderr).into_owned();
    assert!(text.contains("--leader 6: a number from 1 to 5"), "{text}");
}
