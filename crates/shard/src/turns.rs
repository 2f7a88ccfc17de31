//! Which master to dial next. Pure.
//!
//! Masters are tried in turn, and one that names the leader is believed; except that a leader that fell silent is
//! passed over for a round. It may be paused: it takes connections and answers nothing, and each try would cost a
//! deadline, while the others elect the next one in a fraction of it.

use crate::config::MasterAddress;

/// The masters in turn. There is at least one.
#[derive(Debug)]
pub(crate) struct Turns {
    masters: Vec<MasterAddress>,
    next: usize,
    silent: Option<MasterAddress>,
    /// So often it is still passed over: once by every master's turn or hint.
    passes: usize,
}

impl Turns {
    pub(crate) fn new(masters: Vec<MasterAddress>) -> Self {
        Self { masters, next: 0, silent: None, passes: 0 }
    }

    /// The masters are these now. There is at least one.
    pub(crate) fn follow(&mut self, masters: Vec<MasterAddress>) {
        self.masters = masters;
    }

    /// The master whose turn it is.
    pub(crate) fn next(&mut self) -> MasterAddress {
        let at = self.next;
        self.next += 1;
        let address = self.masters[at % self.masters.len()].clone();
        if self.masters.len() > 1 && self.passes_over(&address) { self.next() } else { address }
    }

    /// The leader there was given up because it said nothing.
    pub(crate) fn fell_silent(&mut self, address: &str) {
        (self.silent, self.passes) = (Some(address.to_owned()), self.masters.len());
    }

    /// A leader spoke: whoever was silent before is nobody special any more.
    pub(crate) fn spoke(&mut self) {
        self.silent = None;
    }

    /// Whether a hint at this address is passed over, this time.
    pub(crate) fn passes_over(&mut self, address: &str) -> bool {
        let pass = self.passes > 0 && self.silent.as_deref() == Some(address);
        self.passes -= usize::from(pass);
        pass
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(masters: &[&str]) -> Turns {
        Turns::new(masters.iter().map(|&master| master.to_owned()).collect())
    }

    #[test]
    fn masters_are_tried_in_turn() {
        let mut turns = turns(&["a", "b"]);
        assert_eq!([turns.next(), turns.next(), turns.next()], ["a", "b", "a"]);
    }

    #[test]
    fn a_leader_that_fell_silent_is_passed_over_for_a_round_whoever_names_it() {
        let mut turns = turns(&["a", "b", "c"]);
        turns.fell_silent("a");
        assert_eq!(turns.next(), "b");
        assert!(turns.passes_over("a"), "the others have not noticed yet");
        assert!(!turns.passes_over("c"));
        assert_eq!([turns.next(), turns.next()], ["c", "b"]);
        assert!(!turns.passes_over("a"), "the others insist");
        assert_eq!([turns.next(), turns.next()], ["c", "a"]);
    }

    #[test]
    fn masters_that_came_later_have_their_turn_too() {
        let mut turns = turns(&["a", "b"]);
        assert_eq!(turns.next(), "a");
        turns.follow(vec!["a".to_owned(), "b".to_owned(), "c".to_owned()]);
        assert_eq!([turns.next(), turns.next(), turns.next()], ["b", "c", "a"]);
    }

    #[test]
    fn another_leader_ends_it_and_a_lone_master_is_never_passed_over() {
        let mut many = turns(&["a", "b"]);
        many.fell_silent("a");
        many.spoke();
        assert_eq!(many.next(), "a");
        let mut lone = turns(&["a"]);
        lone.fell_silent("a");
        assert_eq!([lone.next(), lone.next()], ["a", "a"]);
    }
}
