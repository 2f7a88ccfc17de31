//! What each caller may have under way at once, so that one that asks for much leaves the log open to the others.
//! How much all callers together may have is the replica's business.

use paceline_identity::{PerCaller, Share};

/// Kilobytes of one caller's entries that are on their way: a quarter of what callers have together.
const SHARE_KILOBYTES: usize = 12 * 1024;

/// Kilobytes under way by principal.
#[derive(Clone, Debug)]
pub(crate) struct Shares(PerCaller<String>);

impl Default for Shares {
    fn default() -> Self {
        Self(PerCaller::new(SHARE_KILOBYTES, usize::MAX))
    }
}

impl Shares {
    /// Room for an entry of so many bytes; nothing when the principal's share is used up.
    pub(crate) fn take(&self, principal: &str, bytes: usize) -> Option<Share<String>> {
        // The largest entry has 2 MiB, so whoever has nothing under way is always let in.
        let kilobytes = bytes.div_ceil(1024).clamp(1, SHARE_KILOBYTES);
        self.0.take(principal.to_owned(), kilobytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_of_the_largest_entries_are_a_share_and_one_of_any_size_is_let_in() {
        let shares = Shares::default();
        let large = 2 * 1024 * 1024;
        let mut taken: Vec<_> = std::iter::from_fn(|| shares.take("user:a", large)).collect();
        assert_eq!(taken.len(), 6);
        assert!(shares.take("user:a", 1).is_none() && shares.take("user:b", usize::MAX).is_some());
        taken.pop();
        assert!(shares.take("user:a", 1).is_some());
    }
}
