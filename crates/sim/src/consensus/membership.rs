//! Masters that join and leave while everything else goes wrong: one change at a time, each step asked of whoever leads.

use super::host::{Changed, Command, Stage};
use super::world::World;
use crate::draw::Draw;

/// No seed has more masters over its time than this: each costs time to simulate.
const HOSTS_MAX: usize = 10;
/// The cell does not grow beyond this, as an operator would keep it.
const VOTERS_MAX: usize = 7;
/// Nor shrink below this.
const VOTERS_MIN: usize = 3;
/// A step that is not answered within three seconds is asked again.
const STEP_TICKS: u64 = 1_500;
/// And given up after so many times.
const TRIES: u32 = 4;

/// A change under way.
#[derive(Debug, Clone)]
pub struct Change {
    step: Step,
    asked_at: u64,
    tries: u32,
}

#[derive(Debug, Clone)]
enum Step {
    Mint,
    Open(String),
    Add(String),
    Remove(String),
}

impl World {
    /// Begins a change if one is due, and drives the one under way.
    pub(super) fn change_masters(&mut self) {
        let answers = std::mem::take(&mut *self.changes.lock());
        for answer in answers {
            self.note_cut(&answer);
            self.hear(answer);
        }
        let rate = self.plan.rates.membership;
        match self.change.clone() {
            Some(change) => self.drive(change),
            None if self.happens("membership", rate) => self.begin_change(),
            None => {}
        }
    }

    fn begin_change(&mut self) {
        let Some(leader) = self.leading() else { return };
        let status =
            self.hosts[&leader].seat.life.lock().status.as_ref().map(|status| status.borrow().clone());
        let Some(status) = status else { return };
        let voters: Vec<_> = status.voters.iter().map(|voter| voter.name.clone()).collect();
        let broken = voters.iter().find(|name| self.hosts[*name].broken).cloned();
        let (room, hosts) = (voters.len() < VOTERS_MAX, self.hosts.len());
        let draw: &mut Draw = self.draw("members");
        let step = if broken.is_some() && voters.len() > VOTERS_MIN {
            broken.map(Step::Remove)
        } else if room && hosts < HOSTS_MAX && (voters.len() <= VOTERS_MIN || draw.chance(500)) {
            Some(Step::Mint)
        } else if voters.len() > VOTERS_MIN {
            Some(Step::Remove(draw.one_of(&voters)))
        } else {
            None
        };
        if let Some(step) = step {
            self.ask(step, 1);
        }
    }

    /// Asks whoever leads for a step.
    fn ask(&mut self, step: Step, tries: u32) {
        let command = match &step {
            Step::Mint => Some(Command::Mint),
            Step::Open(_) => None,
            Step::Add(name) => self.hosts[name].seat.member().map(Command::Add),
            Step::Remove(name) => Some(Command::Remove(name.clone())),
        };
        if let (Some(command), Some(leader)) = (command, self.leading()) {
            self.trace.event(&leader, format_args!("is asked: {step:?}"));
            if matches!(&step, Step::Remove(name) if *name == leader) {
                self.leaving_leader = Some(leader.clone());
            }
            self.tell(&leader, command);
        }
        self.change = Some(Change { step, asked_at: self.tick, tries });
    }

    fn note_cut(&self, answer: &Changed) {
        if self.cut.is_none() {
            return;
        }
        match answer {
            Changed::Added(Ok(())) | Changed::Removed(Ok(())) => {
                self.trace.sometimes("the masters changed while the network was cut");
            }
            Changed::HandedOver => {
                self.trace.sometimes("leadership was handed over while the network was cut");
            }
            _ => {}
        }
    }

    fn hear(&mut self, answer: Changed) {
        let Some(Change { step, .. }) = self.change.clone() else { return };
        match (answer, step) {
            (Changed::Minted(Ok(raft_id)), Step::Mint) => {
                let name = self.add_host(raft_id);
                self.change = Some(Change { step: Step::Open(name), asked_at: self.tick, tries: 1 });
            }
            (Changed::Added(Ok(())), Step::Add(_)) => {
                self.trace.sometimes("a master joined");
                self.trace.count("joined", 1);
                self.change = None;
            }
            (Changed::Removed(Ok(())), Step::Remove(name)) => {
                self.trace.sometimes("a master left");
                if self.leaving_leader.take().as_ref() == Some(&name) {
                    self.trace.sometimes("the leader was removed");
                }
                self.trace.count("left", 1);
                self.change = None;
                // Whoever removes it takes a while to stop it.
                let after = self.draw("members").one_of(&[1, 100, 1_000]);
                let at = self.tick + after;
                self.hosts.get_mut(&name).expect("a member has a host").retire_at = Some(at);
            }
            // A refusal is followed by another try in due time.
            _ => {}
        }
    }

    fn drive(&mut self, change: Change) {
        if let Step::Open(name) = &change.step {
            let host = &self.hosts[name];
            let running = host.up && host.seat.life.lock().stage == Stage::Running;
            if running && host.seat.member().is_some() {
                self.ask(Step::Add(name.clone()), 1);
                return;
            }
        }
        if self.tick < change.asked_at + STEP_TICKS {
            return;
        }
        if change.tries >= TRIES {
            // It may have become a member all the same, so it stays.
            self.trace.event("world", format_args!("gives up: {:?}", change.step));
            self.change = None;
        } else {
            self.ask(change.step, change.tries + 1);
        }
    }
}
