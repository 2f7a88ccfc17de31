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

/// Too few masters would be left that answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TooFew {
    /// How many would vote.
    pub voters: usize,
    /// How many of them answer.
    pub live: usize,
    /// How many of them have to.
    pub majority: usize,
    /// Those that do not.
    pub silent: BTreeSet<u64>,
}

impl Picture {
    /// Whether a member has nearly everything that the leader has, the membership in which it is included.
    pub fn is_caught_up(&self, id: u64) -> bool {
        let matched = self.matched.get(&id).copied().flatten();
        let near =
            |matched| matched >= self.changed_at && self.last_log.saturating_sub(matched) <= VOTE_LAG_ENTRIES;
        self.live.contains(&id) && matched.is_some_and(near)
    }

    /// Refuses voters of whom no majority would answer.
    pub fn check_live(&self, voters: &BTreeSet<u64>) -> Result<(), TooFew> {
        let silent: BTreeSet<u64> = voters.difference(&self.live).copied().collect();
        let (live, majority) = (voters.len() - silent.len(), voters.len() / 2 + 1);
        if live >= majority { Ok(()) } else { Err(TooFew { voters: voters.len(), live, majority, silent }) }
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
        assert_eq!(few.silent, [2].into());
    }
}
