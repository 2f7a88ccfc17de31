//! What each caller may have under way at once, so that one that asks for much leaves the log open to the others.
//! How much all callers together may have is the replica's business.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of one caller's entries that are on their way: a quarter of what callers have together.
const SHARE_KILOBYTES: usize = 12 * 1024;

/// Kilobytes under way by principal; one with nothing under way is not in it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shares {
    used: Arc<Mutex<BTreeMap<String, usize>>>,
}

/// A part of a share, given back when dropped.
#[derive(Debug)]
pub(crate) struct Taken {
    shares: Shares,
    principal: String,
    kilobytes: usize,
}

impl Shares {
    /// Room for an entry of so many bytes; nothing when the principal's share is used up. Whoever has nothing under
    /// way is always let in.
    pub(crate) fn take(&self, principal: &str, bytes: usize) -> Option<Taken> {
        let kilobytes = bytes.div_ceil(1024).max(1);
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = used.get(principal).copied().unwrap_or(0);
        if mine > 0 && mine + kilobytes > SHARE_KILOBYTES {
            return None;
        }
        used.insert(principal.to_owned(), mine + kilobytes);
        Some(Taken { shares: self.clone(), principal: principal.to_owned(), kilobytes })
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut used = self.shares.used.lock().unwrap_or_else(PoisonError::into_inner);
        let left = used.get(&self.principal).map_or(0, |mine| mine.saturating_sub(self.kilobytes));
        if left == 0 {
            used.remove(&self.principal);
        } else {
            used.insert(self.principal.clone(), left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_at_its_bound_is_turned_away_and_another_is_not() {
        let shares = Shares::default();
        let large = 2 * 1024 * 1024;
        let mut taken: Vec<_> = std::iter::from_fn(|| shares.take("user:a", large)).collect();
        assert_eq!(taken.len(), 6);
        assert!(shares.take("user:a", 1).is_none() && shares.take("user:b", large).is_some());
        taken.pop();
        assert!(shares.take("user:a", 1).is_some());
        taken.clear();
        assert!(shares.used.lock().expect("not poisoned").is_empty(), "nothing is kept of whoever is gone");
    }
}
