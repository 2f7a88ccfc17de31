//! How much each caller has of something that all share: connections, bytes, seats. One that has nothing is not
//! remembered, so the count is as large as what it counts.
//!
//! What is counted, which bounds it has and what is said to whoever meets one is the owner's business.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What callers have, by caller. Clones count together.
#[derive(Debug)]
pub struct PerCaller<K> {
    /// What one caller may have.
    each: usize,
    /// What all of them may have together.
    all: usize,
    taken: Arc<Mutex<Taken<K>>>,
}

#[derive(Debug)]
struct Taken<K> {
    all: usize,
    each: BTreeMap<K, usize>,
}

/// A caller's part; given back when it is dropped.
#[derive(Debug)]
pub struct Share<K: Ord> {
    of: PerCaller<K>,
    caller: K,
    amount: usize,
    /// What this caller may have.
    most: usize,
}

/// Which bound is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// The caller's own.
    Own {
        /// What the caller has.
        has: usize,
        /// What it may have.
        most: usize,
    },
    /// That of all callers together.
    All {
        /// What they may have.
        most: usize,
    },
}

impl<K> Clone for PerCaller<K> {
    fn clone(&self) -> Self {
        Self { each: self.each, all: self.all, taken: Arc::clone(&self.taken) }
    }
}

impl<K: Ord + Clone> PerCaller<K> {
    /// Nobody has anything. One caller may have `each`, all together `all`.
    #[must_use]
    pub fn new(each: usize, all: usize) -> Self {
        let taken = Taken { all: 0, each: BTreeMap::new() };
        Self { each, all, taken: Arc::new(Mutex::new(taken)) }
    }

    /// Takes so much for a caller.
    ///
    /// # Errors
    /// The bound that leaves no room for it; the caller's own first.
    pub fn take(&self, caller: K, amount: usize) -> Result<Share<K>, Full> {
        let most = self.each;
        self.take_within(caller, amount, most)
    }

    /// The same for a caller that has a bound of its own.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub fn take_within(&self, caller: K, amount: usize, most: usize) -> Result<Share<K>, Full> {
        self.add(&caller, amount, most)?;
        Ok(Share { of: self.clone(), caller, amount, most })
    }

    /// What all callers have.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.lock().all
    }

    /// What one caller has.
    #[must_use]
    pub fn taken_by<Q: Ord + ?Sized>(&self, caller: &Q) -> usize
    where
        K: Borrow<Q>,
    {
        self.lock().each.get(caller).copied().unwrap_or(0)
    }

    fn add(&self, caller: &K, amount: usize, most: usize) -> Result<(), Full> {
        let mut taken = self.lock();
        let has = taken.each.get(caller).copied().unwrap_or(0);
        if amount > most.saturating_sub(has) {
            return Err(Full::Own { has, most });
        }
        if amount > self.all.saturating_sub(taken.all) {
            return Err(Full::All { most: self.all });
        }
        taken.all += amount;
        match taken.each.get_mut(caller) {
            Some(has) => *has += amount,
            None => drop(taken.each.insert(caller.clone(), amount)),
        }
        Ok(())
    }
}

impl<K> PerCaller<K> {
    fn lock(&self) -> MutexGuard<'_, Taken<K>> {
        // Nothing is left half done where a holder could panic.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Ord> Share<K> {
    /// How much it is.
    #[must_use]
    pub fn amount(&self) -> usize {
        self.amount
    }
}

impl<K: Ord + Clone> Share<K> {
    /// Takes more.
    ///
    /// # Errors
    /// As [`PerCaller::take`]; the share stays as it was.
    pub fn grow(&mut self, more: usize) -> Result<(), Full> {
        self.of.add(&self.caller, more, self.most)?;
        self.amount += more;
        Ok(())
    }
}

impl<K: Ord> Drop for Share<K> {
    fn drop(&mut self) {
        let mut taken = self.of.lock();
        taken.all -= self.amount;
        if let Some(has) = taken.each.get_mut(&self.caller) {
            *has -= self.amount;
            if *has == 0 {
                taken.each.remove(&self.caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_at_its_bound_is_turned_away_and_another_is_not() {
        let seats = PerCaller::new(2, 10);
        let own: Vec<_> = (0..2).map(|_| seats.take("a", 1).expect("room")).collect();
        assert_eq!(seats.take("a", 1).expect_err("its bound"), Full::Own { has: 2, most: 2 });
        let other = seats.take("b", 2).expect("room for others");
        assert_eq!((seats.taken(), seats.taken_by("a"), seats.taken_by("b")), (4, 2, 2));
        drop(own);
        assert!(seats.take("a", 2).is_ok());
        drop(other);
        assert!(seats.lock().each.is_empty() && seats.taken() == 0, "nothing is kept of whoever is gone");
    }

    #[test]
    fn all_callers_together_are_bounded_and_the_own_bound_is_named_first() {
        let bytes = PerCaller::new(6, 8);
        let _first = bytes.take(1, 6).expect("room");
        assert_eq!(bytes.take(2, 3).expect_err("no room for all"), Full::All { most: 8 });
        assert_eq!(bytes.take(1, 3).expect_err("its own"), Full::Own { has: 6, most: 6 });
        assert_eq!(bytes.take(3, usize::MAX).expect_err("no overflow"), Full::Own { has: 0, most: 6 });
        assert!(bytes.take(2, 2).is_ok());
    }

    #[test]
    fn a_share_that_cannot_grow_stays_as_it_was() {
        let bytes = PerCaller::new(6, 100);
        let mut share = bytes.take("a", 2).expect("room");
        share.grow(3).expect("room");
        assert_eq!(share.grow(2), Err(Full::Own { has: 5, most: 6 }));
        assert_eq!((share.amount(), bytes.taken()), (5, 5));
        drop(share);
        assert_eq!(bytes.taken(), 0);
    }

    #[test]
    fn a_caller_may_have_a_bound_of_its_own() {
        let seats = PerCaller::new(1, 10);
        let mut share = seats.take_within("group", 5, 8).expect("its own bound");
        assert!(share.grow(3).is_ok());
        assert_eq!(share.grow(1), Err(Full::Own { has: 8, most: 8 }));
    }
}
