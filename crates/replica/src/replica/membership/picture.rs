//! The masters as the leader sees them at one moment, and the next step towards what was asked for. No clock, no network.
//!
//! What was asked for is in the membership itself: a member without a vote is to have one, a member that replaces another
//! is to be there without it, and two sets of voters at once are to be one. So whoever leads can go on with it.

use std::collections::{BTreeMap, BTreeSet};

use crate::member::Member;

/// A new master may be this many entries behind when it gets its vote: less than a second of a busy cell's, so that the
/// cell does not wait for it longer than for a slow disk.
pub const VOTE_LAG_ENTRIES: u64 = 1_000;

/// What the leader knows.
#[derive(Debug, Clone, Default)]
pub struct Picture {
    /// The leader.
    pub me: u64,
    /// The voters; of both sets while there are two.
    pub voters: BTreeSet<u64>,
    /// Whether there are two sets of voters: a change that was begun and not finished.
    pub is_joint: bool,
    /// Everyone, voting or not.
    pub members: BTreeMap<u64, Member>,
    /// The entry that made it so.
    pub changed_at: u64,
    /// The leader's last entry.
    pub last_log: u64,
    /// The last entry that each member is known to hold.
    pub matched: BTreeMap<u64, Option<u64>>,
    /// Who answered lately, the leader included.
    pub live: BTreeSet<u64>,
    /// Of whom a leader that has only begun to lead knows nothing yet. Empty later: then silence is silence.
    pub unheard: BTreeSet<u64>,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Finish a change that an earlier leader began.
    Finish,
    /// Give a member its vote.
    Promote(u64),
    /// Give a member its vote and take another's, at once.
    Swap { new: u64, old: u64 },
    /// Take a member out.
    Remove(u64),
    /// The leader itself is to go: let another one lead first.
    HandOver,
}

/// Too few masters would be left that answer and keep up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TooFew {
    /// How many would vote.
    pub voters: usize,
    /// How many of them answer and keep up.
    pub live: usize,
    /// How many of them have to.
    pub majority: usize,
    /// Those that do not answer.
    pub silent: BTreeSet<u64>,
    /// Those that answer and have to receive much first: until then they count for nothing that is written.
    pub behind: BTreeSet<u64>,
    /// Those of them that a leader which has only begun to lead knows nothing of yet.
    pub unheard: BTreeSet<u64>,
}

impl TooFew {
    /// Whether there may be enough after all, once the new leader has heard from everyone.
    pub fn may_pass(&self) -> bool {
        self.live + self.unheard.len() >= self.majority
    }
}

impl Picture {
    /// Whether a member has nearly everything that the leader has, the membership in which it is included.
    pub fn is_caught_up(&self, id: u64) -> bool {
        let matched = self.matched.get(&id).copied().flatten();
        self.live.contains(&id) && matched >= Some(self.changed_at) && self.lag(id) <= Some(VOTE_LAG_ENTRIES)
    }

    /// How many entries a member is known to lack, if that is known.
    pub fn lag(&self, id: u64) -> Option<u64> {
        let matched = self.matched.get(&id).copied().flatten()?;
        Some(self.last_log.saturating_sub(matched))
    }

    /// Refuses voters of whom no majority would answer and keep up: one that receives a snapshot answers heartbeats, and
    /// nothing could be written until it has it.
    pub fn check_live(&self, voters: &BTreeSet<u64>) -> Result<(), TooFew> {
        let keeps_up = |id: u64| id == self.me || self.lag(id).is_some_and(|lag| lag <= VOTE_LAG_ENTRIES);
        let (answer, silent): (BTreeSet<u64>, BTreeSet<u64>) =
            voters.iter().copied().partition(|id| self.live.contains(id));
        let behind: BTreeSet<u64> = answer.into_iter().filter(|id| !keeps_up(*id)).collect();
        let live = voters.len() - silent.len() - behind.len();
        let majority = voters.len() / 2 + 1;
        if live >= majority {
            return Ok(());
        }
        let unheard = silent.union(&behind).filter(|id| self.unheard.contains(*id)).copied().collect();
        Err(TooFew { voters: voters.len(), live, majority, silent, behind, unheard })
    }

    /// A member without a vote that is itself to stand in the place of another one, and of which: whoever comes instead
    /// of it comes instead of both.
    pub fn learner_in_place(&self, id: u64) -> Option<(u64, u64)> {
        let learner = self.members.get(&id).filter(|_| !self.voters.contains(&id))?;
        let old = learner.replaces.filter(|old| self.members.contains_key(old))?;
        Some((id, old))
    }

    /// The voters without one.
    pub fn without(&self, id: u64) -> BTreeSet<u64> {
        self.voters.iter().copied().filter(|voter| *voter != id).collect()
    }

    /// The next step, if one is due and possible.
    pub fn next(&self) -> Option<Step> {
        if self.is_joint {
            return Some(Step::Finish);
        }
        self.members.iter().find_map(|(id, member)| self.next_of(*id, member))
    }

    fn next_of(&self, new: u64, member: &Member) -> Option<Step> {
        let votes = self.voters.contains(&new);
        if !votes && !self.is_caught_up(new) {
            return None;
        }
        // Its id never comes back: once it is gone the wish is fulfilled.
        let old = member.replaces.filter(|old| self.members.contains_key(old));
        let Some(old) = old else { return (!votes).then_some(Step::Promote(new)) };
        if !self.voters.contains(&old) {
            return Some(if votes { Step::Remove(old) } else { Step::Promote(new) });
        }
        if old == self.me {
            // A leader that has nobody to hand over to makes somebody first.
            return Some(if self.voters.len() > 1 { Step::HandOver } else { Step::Promote(new) });
        }
        let mut after = self.without(old);
        after.insert(new);
        self.check_live(&after).ok()?;
        Some(if votes { Step::Remove(old) } else { Step::Swap { new, old } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Masters 1 to 3, all live and equal, 1 leads; 9 is new and has everything.
    fn picture(replaces: Option<u64>) -> Picture {
        let member = |raft_id, replaces| Member { raft_id, replaces, ..Member::default() };
        let ids = [1, 2, 3, 9];
        Picture {
            me: 1,
            voters: [1, 2, 3].into(),
            is_joint: false,
            members: ids.map(|id| (id, member(id, replaces.filter(|_| id == 9)))).into(),
            changed_at: 40,
            last_log: 5_000,
            matched: ids.map(|id| (id, Some(5_000))).into(),
            live: ids.into(),
            unheard: BTreeSet::new(),
        }
    }

    #[test]
    fn a_new_master_votes_once_it_answers_and_has_nearly_everything() {
        let ready = picture(None);
        assert_eq!(ready.next(), Some(Step::Promote(9)));
        for behind in [None, Some(39), Some(3_999)] {
            let mut picture = ready.clone();
            picture.matched.insert(9, behind);
            assert_eq!(picture.next(), None, "{behind:?}");
        }
        let mut young = ready.clone();
        (young.last_log, young.changed_at) = (41, 40);
        young.matched.insert(9, Some(39));
        assert_eq!(young.next(), None, "it does not have the entry that made it a member");
        let mut silent = ready;
        silent.live.remove(&9);
        assert_eq!(silent.next(), None);
    }

    #[test]
    fn a_replaced_master_goes_as_the_new_one_gets_its_vote() {
        assert_eq!(picture(Some(3)).next(), Some(Step::Swap { new: 9, old: 3 }));
        let mut dead = picture(Some(3));
        dead.live.remove(&3);
        assert_eq!(dead.next(), Some(Step::Swap { new: 9, old: 3 }), "that it is dead is why it goes");
        let mut half_way = picture(Some(3));
        half_way.voters.insert(9);
        assert_eq!(half_way.next(), Some(Step::Remove(3)));
        let mut done = picture(Some(3));
        done.voters = [1, 2, 9].into();
        done.members.remove(&3);
        assert_eq!(done.next(), None);
    }

    #[test]
    fn a_leader_that_is_replaced_lets_another_lead_first() {
        assert_eq!(picture(Some(1)).next(), Some(Step::HandOver));
        let mut alone = picture(Some(1));
        alone.voters = [1].into();
        alone.members.retain(|id, _| [1, 9].contains(id));
        assert_eq!(alone.next(), Some(Step::Promote(9)), "there is nobody else to lead");
        alone.voters.insert(9);
        assert_eq!(alone.next(), Some(Step::HandOver));
    }

    #[test]
    fn what_an_earlier_leader_began_is_finished_first() {
        let joint = Picture { is_joint: true, ..picture(Some(3)) };
        assert_eq!(joint.next(), Some(Step::Finish));
    }

    #[test]
    fn a_swap_that_would_leave_too_few_waits_and_says_the_numbers() {
        let mut picture = picture(Some(3));
        picture.live = [1, 9].into();
        assert_eq!(picture.next(), Some(Step::Swap { new: 9, old: 3 }), "two of three");
        picture.voters = [1, 2, 3, 4, 5].into();
        picture.live = [1, 9].into();
        assert_eq!(picture.next(), None);
        let few = picture.check_live(&[1, 2].into()).expect_err("one of two");
        assert_eq!((few.voters, few.live, few.majority), (2, 1, 2));
        assert_eq!((few.silent, few.behind), ([2].into(), [].into()));
    }

    #[test]
    fn a_voter_that_answers_and_is_far_behind_carries_no_majority() {
        let mut picture = picture(None);
        picture.matched.insert(2, Some(3_999));
        let few = picture.check_live(&[1, 2].into()).expect_err("2 would have to hold every write");
        assert_eq!((few.live, few.majority), (1, 2));
        assert_eq!((few.silent.clone(), few.behind.clone()), ([].into(), [2].into()));
        assert!(!few.may_pass());
        picture.check_live(&[1, 2, 3].into()).expect("two of three keep up");
        picture.matched.insert(2, Some(4_000));
        picture.check_live(&[1, 2].into()).expect("within the lag of one that may vote");
        picture.matched.insert(1, None);
        picture.check_live(&[1, 2].into()).expect("the leader has its own log");

        let mut swap = self::picture(Some(3));
        swap.matched.insert(2, None);
        assert_eq!(swap.next(), Some(Step::Swap { new: 9, old: 3 }), "the leader and the new one");
        swap.matched.insert(9, None);
        assert_eq!(swap.next(), None);
    }

    #[test]
    fn a_leader_that_has_only_begun_to_lead_tells_not_yet_from_no() {
        let mut young = picture(None);
        young.live = [1].into();
        young.unheard = [2, 3].into();
        let few = young.check_live(&[1, 2].into()).expect_err("2 has not answered");
        assert!(few.may_pass(), "it may be about to");
        young.unheard = [3].into();
        let few = young.check_live(&[1, 2].into()).expect_err("2 is silent");
        assert!(!few.may_pass());
    }
}
