//! Replicas say the same, do not forget what they applied, and no term has two leaders.
//!
//! Fed as things are seen, in any order between replicas; each observation is judged at once. Cost: O(log n) each.
//! Memory: digests of the last [`DIGESTS_MAX`] revisions; one entry per replica and per term.

use std::collections::BTreeMap;

use paceline_types::{Revision, Term};

/// Revisions whose digests are kept. At the bound the lowest is dropped: a replica that says something about it later
/// is compared with nobody, which [`Replicas::compared`] does not count.
pub const DIGESTS_MAX: usize = 65_536;

/// A promise that a replica broke.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Two replicas at one revision with different states.
    #[error(
        "{one} and {other} have different states at revision {revision}: {one} says {digest}, {other} {known}"
    )]
    Diverged {
        /// Where.
        revision: Revision,
        /// Who spoke last.
        one: String,
        /// What it said.
        digest: String,
        /// Who spoke first.
        other: String,
        /// What that one said.
        known: String,
    },
    /// A replica that was further before.
    #[error("{replica} showed revision {to} after revision {from}{}", after_restart(*.restarted))]
    WentBack {
        /// Who.
        replica: String,
        /// Where it was.
        from: Revision,
        /// Where it is.
        to: Revision,
        /// It was started anew in between.
        restarted: bool,
    },
    /// A replica whose term sank: its vote was not durable.
    #[error("{replica} is in term {to} after it was in term {from}{}", after_restart(*.restarted))]
    TermWentBack {
        /// Who.
        replica: String,
        /// Where it was.
        from: Term,
        /// Where it is.
        to: Term,
        /// It was started anew in between.
        restarted: bool,
    },
    /// Two leaders of one term.
    #[error("{one} and {other} both lead in term {term}")]
    TwoLeaders {
        /// Of which term.
        term: Term,
        /// The first.
        one: String,
        /// The second.
        other: String,
    },
}

const fn after_restart(restarted: bool) -> &'static str {
    if restarted { ", and a restart between" } else { "" }
}

#[derive(Clone, Debug, Default)]
struct Replica {
    revision: Revision,
    term: Term,
    restarted: bool,
}

#[derive(Clone, Debug)]
struct Digest {
    first: String,
    digest: Vec<u8>,
    /// Others that said the same.
    others: Vec<String>,
}

/// All replicas of a cell.
#[derive(Clone, Debug, Default)]
pub struct Replicas {
    replicas: BTreeMap<String, Replica>,
    digests: BTreeMap<Revision, Digest>,
    leaders: BTreeMap<Term, String>,
}

impl Replicas {
    /// A replica was started anew on its disk. Its term counts on: a vote is durable. What it shows may be older than
    /// before: it replays as far as it knows for certain that entries are committed, and that knowledge need not be
    /// durable.
    pub fn restarted(&mut self, replica: &str) {
        let known = self.replica(replica);
        (known.revision, known.restarted) = (Revision(0), true);
    }

    /// A replica begins with an empty disk, as another one: what the old one showed does not count.
    pub fn replaced(&mut self, replica: &str) {
        self.replicas.remove(replica);
    }

    /// A replica shows a view of this revision.
    ///
    /// # Errors
    /// [`Violation::WentBack`].
    pub fn shows(&mut self, replica: &str, revision: Revision) -> Result<(), Violation> {
        let known = self.replica(replica);
        let (from, restarted) = (known.revision, known.restarted);
        known.revision = from.max(revision);
        if revision < from {
            return Err(Violation::WentBack { replica: replica.to_owned(), from, to: revision, restarted });
        }
        Ok(())
    }

    /// The digest of a replica's state at a revision, its own or an older one.
    ///
    /// # Errors
    /// [`Violation::Diverged`].
    pub fn digest(&mut self, replica: &str, revision: Revision, digest: &[u8]) -> Result<(), Violation> {
        let known = self.digests.entry(revision).or_insert_with(|| Digest {
            first: replica.to_owned(),
            digest: digest.to_owned(),
            others: Vec::new(),
        });
        if known.digest != digest {
            return Err(Violation::Diverged {
                revision,
                one: replica.to_owned(),
                digest: hex(digest),
                other: known.first.clone(),
                known: hex(&known.digest),
            });
        }
        if known.first != replica && !known.others.iter().any(|other| other == replica) {
            known.others.push(replica.to_owned());
        }
        while self.digests.len() > DIGESTS_MAX {
            self.digests.pop_first();
        }
        Ok(())
    }

    /// The highest revision at which so many replicas were seen with one digest.
    #[must_use]
    pub fn compared(&self, replicas: usize) -> Option<Revision> {
        let met = |digest: &Digest| digest.others.len() + 1 >= replicas;
        self.digests.iter().rev().find(|(_, digest)| met(digest)).map(|(revision, _)| *revision)
    }

    /// A replica says that it is in a term, and whether it leads there.
    ///
    /// # Errors
    /// [`Violation::TermWentBack`], [`Violation::TwoLeaders`].
    pub fn term(&mut self, replica: &str, term: Term, leads: bool) -> Result<(), Violation> {
        let known = self.replica(replica);
        let (from, restarted) = (known.term, known.restarted);
        known.term = from.max(term);
        if term < from {
            return Err(Violation::TermWentBack { replica: replica.to_owned(), from, to: term, restarted });
        }
        if !leads {
            return Ok(());
        }
        let leader = self.leaders.entry(term).or_insert_with(|| replica.to_owned());
        if leader != replica {
            return Err(Violation::TwoLeaders { term, one: leader.clone(), other: replica.to_owned() });
        }
        Ok(())
    }

    fn replica(&mut self, name: &str) -> &mut Replica {
        self.replicas.entry(name.to_owned()).or_default()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_that_agree_and_go_forward_are_accepted() {
        let mut replicas = Replicas::default();
        for (replica, revision) in [("m1", 5), ("m2", 3), ("m1", 5), ("m2", 7)] {
            assert_eq!(replicas.shows(replica, Revision(revision)), Ok(()));
            assert_eq!(replicas.digest(replica, Revision(revision), &[7]), Ok(()));
        }
        assert_eq!(replicas.compared(2), None);
        assert_eq!(replicas.digest("m2", Revision(5), &[7]), Ok(()), "an older one");
        assert_eq!(replicas.compared(2), Some(Revision(5)));
        assert_eq!(replicas.term("m1", Term(1), true), Ok(()));
        assert_eq!(replicas.term("m2", Term(2), true), Ok(()));
        assert_eq!(replicas.term("m1", Term(2), false), Ok(()));
    }

    #[test]
    fn a_replica_with_another_state_is_caught() {
        let mut replicas = Replicas::default();
        assert_eq!(replicas.digest("m1", Revision(5), &[0xa1]), Ok(()));
        let found = replicas.digest("m2", Revision(5), &[0xa2]).expect_err("caught").to_string();
        assert_eq!(found, "m2 and m1 have different states at revision 5: m2 says a2, m1 a1");
    }

    #[test]
    fn a_replica_that_changes_its_mind_is_caught() {
        let mut replicas = Replicas::default();
        assert_eq!(replicas.digest("m1", Revision(5), &[1]), Ok(()));
        assert!(replicas.digest("m1", Revision(5), &[2]).is_err());
    }

    #[test]
    fn a_replica_that_forgets_is_caught_and_after_a_restart_only_its_term_counts_on() {
        let mut replicas = Replicas::default();
        assert_eq!(replicas.shows("m1", Revision(5)), Ok(()));
        assert!(replicas.shows("m1", Revision(4)).is_err());
        assert_eq!(replicas.term("m1", Term(3), false), Ok(()));
        replicas.restarted("m1");
        assert_eq!(
            replicas.shows("m1", Revision(4)),
            Ok(()),
            "it replays, and may not know yet what is committed"
        );
        let found = replicas.shows("m1", Revision(3)).expect_err("caught").to_string();
        assert_eq!(found, "m1 showed revision 3 after revision 4, and a restart between");
        let found = replicas.term("m1", Term(2), false).expect_err("caught").to_string();
        assert_eq!(found, "m1 is in term 2 after it was in term 3, and a restart between");
        replicas.replaced("m1");
        assert_eq!(replicas.shows("m1", Revision(1)), Ok(()));
    }

    #[test]
    fn two_leaders_of_one_term_are_caught() {
        let mut replicas = Replicas::default();
        assert_eq!(replicas.term("m1", Term(3), true), Ok(()));
        let two = Violation::TwoLeaders { term: Term(3), one: "m1".into(), other: "m2".into() };
        assert_eq!(replicas.term("m2", Term(3), true), Err(two));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut replicas = Replicas::default();
        for revision in 0..DIGESTS_MAX as u64 + 5 {
            assert_eq!(replicas.digest("m1", Revision(revision), &[1]), Ok(()));
        }
        assert_eq!(replicas.digests.len(), DIGESTS_MAX);
    }
}
