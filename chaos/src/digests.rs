//! Masters that have applied the same revision have the same state, byte by byte: digests held against each
//! other wherever two masters were seen at one revision.

use std::collections::BTreeMap;

/// Digests seen so far.
#[derive(Debug, Default)]
pub struct Digests {
    seen: BTreeMap<u64, BTreeMap<String, Vec<u8>>>,
}

impl Digests {
    /// Keeps what a master said. A digest that differs from another's at this revision, or from its own before, is
    /// a violation.
    pub fn saw(&mut self, master: &str, revision: u64, digest: &[u8]) -> Option<String> {
        let at = self.seen.entry(revision).or_default();
        let other = at.iter().find(|(_, known)| known.as_slice() != digest).map(|(name, _)| name.clone());
        at.insert(master.to_owned(), digest.to_owned());
        other.map(|other| format!("{master} and {other} differ in their digest at revision {revision}"))
    }

    /// The highest revision at which this many masters were seen.
    pub fn compared(&self, masters: usize) -> Option<u64> {
        self.seen.iter().rev().find(|(_, at)| at.len() >= masters).map(|(revision, _)| *revision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masters_are_compared_once_all_were_seen_at_one_revision() {
        let mut digests = Digests::default();
        assert_eq!(digests.saw("m1", 7, b"a"), None);
        assert_eq!(digests.saw("m2", 8, b"b"), None);
        assert_eq!(digests.compared(2), None);
        assert_eq!(digests.saw("m2", 7, b"a"), None);
        assert_eq!(digests.compared(2), Some(7));
    }

    /// The canary: a replica that has gone its own way.
    #[test]
    fn a_master_with_another_state_is_caught() {
        let mut digests = Digests::default();
        assert_eq!(digests.saw("m1", 7, b"a"), None);
        let violation = digests.saw("m2", 7, b"x").expect("caught");
        assert_eq!(violation, "m2 and m1 differ in their digest at revision 7");
    }
}
