//! Five masters on a graph of links that stays for a while: who commits is what the rule says, never two of them, and
//! soon after healing one that stays.
//!
//! The number of a seed is the number of its graph and decides the rest of the randomness, so that the first 1,024 seeds
//! are all graphs. Each master in turn leads when the links are cut. Clients call everyone who believes to lead.

mod graph;

pub use graph::{Case, Graph, MASTERS, Outcome};

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;

use super::host::Command;
use super::plan::Plan;
use super::world::World;
use crate::plants::Switch;
use crate::trace::Trace;

/// Every 50 ms a client writes.
const CALL_TICKS: u64 = 25;
/// What a window of half a second shows is compared with the rule.
const WINDOW_TICKS: u64 = 500 / 2;
/// Windows in which a leader that stays is watched: six lives of a lease and more.
const STAYS_WINDOWS: u32 = 6;
/// Windows in which nobody may commit: a leader without a majority falls silent and speaks again every 1.2 s, and who
/// saw a longer log waits a second longer, so whoever can win has tried several times.
const NOBODY_WINDOWS: u32 = 16;
/// By then another master has been elected: each attempt takes its chance within one silence of the old leader.
const ANOTHER_WINDOWS: u32 = 40;
/// Windows in a row with one and the same master committing are an office.
const OFFICE_WINDOWS: u32 = 4;
/// Within five seconds of healing there is a leader that stays.
const STEADY_TICKS: u64 = 5_000 / 2;
/// Handing the leadership to a given master is tried so often, a second each.
const HANDOVERS: u32 = 20;
const HANDOVER_TICKS: u64 = 500;
/// A cell without faults has one log within five seconds.
const QUIET_TICKS: u64 = 2_500;
/// A master that is to fall behind is away for so long, while the others write.
const AWAY_TICKS: u64 = 150;

/// What a part of a run comes to.
type Stepped<T> = Result<T, Box<dyn Error>>;

/// Holds the graph of a seed with this master leading, or with each in turn. What is wrong stands in the trace.
///
/// # Errors
/// The simulation itself failed.
pub fn run(
    seed: u64,
    leader: Option<usize>,
    behind: Option<usize>,
    switch: Option<Switch>,
    trace: &Trace,
) -> anyhow::Result<()> {
    let leaders = leader.map_or_else(|| (0..MASTERS).collect(), |leader| vec![leader]);
    let cases = leaders.into_iter().filter(|leader| behind != Some(*leader));
    let cases = cases.map(|leader| Case { graph: Graph::of(seed), leader, behind }).collect();
    let held = World::new(Plan::quiet(seed, MASTERS as u64, switch), trace.clone()).hold(cases);
    held.map_err(|error| anyhow::anyhow!("turmoil gave up: {error}"))
}

fn name(master: usize) -> String {
    format!("m{}", master + 1)
}

impl World {
    fn hold(mut self, cases: Vec<Case>) -> Stepped<()> {
        if !self.begin()? {
            self.trace.violation("begins", "no leader within ten seconds of the beginning");
            return Ok(());
        }
        for case in cases {
            self.trace.event("graph", format_args!("{case}: {:?}", case.outcome()));
            self.trace.count("cases", 1);
            if !self.hold_one(&case)? {
                break;
            }
        }
        self.note_truncations();
        Ok(())
    }

    /// One case from a quiet cell to a healed one; false where what was found makes the next meaningless.
    fn hold_one(&mut self, case: &Case) -> Stepped<bool> {
        if !self.lead(&name(case.leader))? {
            self.trace.violation("hands-over", format_args!("{case}: not within {HANDOVERS} tries"));
            return Ok(false);
        }
        if let Some(behind) = case.behind {
            self.leave_behind(behind)?;
        }
        let term = self.term_of(case.leader);
        let links: Vec<_> = case.graph.pairs().collect();
        self.cut_links(&links);
        match case.outcome() {
            Outcome::TheLeader => self.watch_leader(case, term)?,
            Outcome::Another => self.watch_election(case)?,
            Outcome::Nobody => self.watch_nobody(case)?,
        }
        let term = (case.outcome() == Outcome::TheLeader).then_some(term);
        self.heal_graph(case, term)
    }

    /// Makes a master the leader of a cell whose logs are equal.
    fn lead(&mut self, wanted: &str) -> Stepped<bool> {
        for _ in 0..HANDOVERS {
            match self.leading() {
                Some(leader) if leader == wanted => return self.grow_quiet(wanted),
                Some(leader) => self.tell(&leader, Command::Transfer(Some(wanted.to_owned()))),
                None => false,
            };
            self.until(HANDOVER_TICKS, |world| world.leading().as_deref() == Some(wanted))?;
        }
        Ok(false)
    }

    fn grow_quiet(&mut self, leader: &str) -> Stepped<bool> {
        let floor = self.ledger.floor();
        self.make_call(leader, 0, false, 16);
        self.until(QUIET_TICKS, |world| world.ledger.floor() > floor && world.is_steady(leader))
    }

    /// Everyone follows this leader and has applied all that anybody has.
    fn is_steady(&self, leader: &str) -> bool {
        let standing = |host: &super::world::Host| {
            let life = host.seat.life.lock();
            let status = life.status.as_ref()?.borrow().clone();
            let follows = status.leader.as_ref().is_some_and(|member| member.name == leader);
            follows.then_some((status.term, status.last_log, status.applied))
        };
        let mut all = self.hosts.values().map(standing);
        let first = all.next().flatten();
        first.is_some_and(|(_, last, applied)| last == applied) && all.all(|other| other == first)
    }

    fn term_of(&self, master: usize) -> u64 {
        let life = self.hosts[&name(master)].seat.life.lock();
        life.status.as_ref().map_or(0, |status| status.borrow().term)
    }

    /// Cuts a master off, lets the others write, and leaves it so.
    fn leave_behind(&mut self, behind: usize) -> Stepped<()> {
        let alone: Vec<_> = Graph::of(0)
            .pairs()
            .map(|(one, other, _)| (one, other, one != behind && other != behind))
            .collect();
        self.cut_links(&alone);
        for _ in 0..AWAY_TICKS / CALL_TICKS {
            self.call_leaders();
            self.steps(CALL_TICKS)?;
        }
        Ok(())
    }

    /// From now on there are these links and no others.
    fn cut_links(&mut self, pairs: &[(usize, usize, bool)]) {
        for (one, other, linked) in pairs {
            let (one, other) = (name(*one), name(*other));
            let was_cut = self.cut_pairs.contains(&(one.clone(), other.clone()));
            if *linked && was_cut {
                self.sim.repair(one.as_str(), other.as_str());
                self.connections.reset(&one, &other);
                self.cut_pairs.remove(&(one, other));
            } else if !*linked && !was_cut {
                self.sim.partition(one.as_str(), other.as_str());
                self.cut_pairs.insert((one, other));
            }
        }
    }

    fn steps(&mut self, ticks: u64) -> Stepped<()> {
        (0..ticks).try_for_each(|_| self.step())
    }

    fn call_leaders(&mut self) {
        for leader in self.leaders() {
            self.make_call(&leader, 1, false, 16);
        }
    }

    /// Half a second of calls; who acknowledged any.
    fn window(&mut self) -> Stepped<BTreeSet<String>> {
        let before: BTreeMap<String, u64> = self.ledger.acknowledged_by();
        for _ in 0..WINDOW_TICKS / CALL_TICKS {
            self.call_leaders();
            self.steps(CALL_TICKS)?;
        }
        let after = self.ledger.acknowledged_by();
        let rose = |(host, count): &(&String, &u64)| before.get(*host).is_none_or(|known| known < *count);
        Ok(after.iter().filter(rose).map(|(host, _)| host.clone()).collect())
    }

    fn broken(&self, case: &Case, what: impl std::fmt::Display) {
        self.trace.violation("the-rule-of-graphs", format_args!("{case}: {what}"));
    }

    fn watch_leader(&mut self, case: &Case, term: u64) -> Stepped<()> {
        self.trace.sometimes("the leader stayed");
        for _ in 0..STAYS_WINDOWS {
            let commit = self.window()?;
            let now = self.term_of(case.leader);
            if commit != BTreeSet::from([name(case.leader)]) || now != term {
                self.broken(case, format_args!("{commit:?} committed, the term is {now} after {term}"));
                return Ok(());
            }
        }
        Ok(())
    }

    fn watch_election(&mut self, case: &Case) -> Stepped<()> {
        self.trace.sometimes("another master took over");
        let (mut office, mut held) = (BTreeSet::new(), 0);
        for _ in 0..ANOTHER_WINDOWS {
            let commit = self.window()?;
            held = if commit.len() == 1 && commit == office { held + 1 } else { 0 };
            office = commit;
            if held == OFFICE_WINDOWS {
                return Ok(());
            }
        }
        self.broken(case, format_args!("nobody stays in office, the last to commit was {office:?}"));
        Ok(())
    }

    fn watch_nobody(&mut self, case: &Case) -> Stepped<()> {
        self.trace.sometimes("nobody could commit");
        for _ in 0..NOBODY_WINDOWS {
            let commit = self.window()?;
            if !commit.is_empty() {
                self.broken(case, format_args!("{commit:?} committed"));
                return Ok(());
            }
        }
        Ok(())
    }

    /// Every link is there again: in five seconds one leads, whom all follow, and it stays; the one that led all the
    /// time does so in its term.
    fn heal_graph(&mut self, case: &Case, term: Option<u64>) -> Stepped<bool> {
        let all: Vec<_> = Graph::of(0).pairs().map(|(one, other, _)| (one, other, true)).collect();
        self.cut_links(&all);
        let (began, floor) = (self.tick, self.ledger.floor());
        while self.tick < began + STEADY_TICKS {
            if self.tick % CALL_TICKS == 0 {
                self.call_leaders();
            }
            self.step()?;
            let Some(leader) = self.leading() else { continue };
            if self.ledger.floor() > floor && self.is_steady(&leader) {
                return self.watch_office(case, &leader, term);
            }
        }
        let what = format_args!("{case}: no leader that all follow within five seconds of healing");
        self.trace.violation("steady-after-healing", what);
        Ok(false)
    }

    fn watch_office(&mut self, case: &Case, leader: &str, term: Option<u64>) -> Stepped<bool> {
        let elected = self.term_of(case.leader);
        for _ in 0..OFFICE_WINDOWS {
            let commit = self.window()?;
            let now = self.term_of(case.leader);
            let stays = commit == BTreeSet::from([leader.to_owned()]) && now == elected;
            if !stays || term.is_some_and(|term| term != now) {
                let words = format!("{case}: {leader} led in {elected}, before in {term:?}; now {now}");
                let what = format_args!("{words}, and {commit:?} committed");
                self.trace.violation("steady-after-healing", what);
                return Ok(false);
            }
        }
        Ok(true)
    }
}
