//! A user id of its own for each attempt, out of a range that belongs to this node's tasks alone.
//!
//! Tasks of one user can signal each other, look into each other's memory and read each other's files, so
//! tasks that name nobody get a user and a group that nobody else has. An id is given back when the attempt is
//! forgotten, and is the last to be given out again: files that a task left elsewhere find a new owner late.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use paceline_supervisor::UserIds;
use paceline_types::AttemptId;

/// Below it are the accounts of the system.
const FIRST_MIN: u32 = 1000;

/// Ids for tasks: `FIRST:COUNT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskUids {
    first: u32,
    count: u32,
}

impl TaskUids {
    /// The range from `first` on.
    ///
    /// # Errors
    /// In words: it is empty, reaches into the system's accounts or past the kernel's last id.
    pub fn new(first: u32, count: u32) -> Result<Self, String> {
        let fits = first.checked_add(count).is_some_and(|end| end < u32::MAX);
        if first < FIRST_MIN || count == 0 || !fits {
            let end = u32::MAX - 1;
            return Err(format!(
                "task user ids `{first}:{count}`: expected FIRST:COUNT with FIRST from {FIRST_MIN}, COUNT from 1, \
                 and their sum at most {end}"
            ));
        }
        Ok(Self { first, count })
    }

    /// Whether an id is in it.
    #[must_use]
    pub const fn contains(self, uid: u32) -> bool {
        uid >= self.first && uid - self.first < self.count
    }
}

impl FromStr for TaskUids {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let numbers =
            text.split_once(':').and_then(|(first, count)| Some((first.parse().ok()?, count.parse().ok()?)));
        let (first, count) = numbers
            .ok_or_else(|| format!("task user ids `{text}`: expected FIRST:COUNT, as in 200000:1000"))?;
        Self::new(first, count)
    }
}

impl std::fmt::Display for TaskUids {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} to {}", self.first, self.first + (self.count - 1))
    }
}

#[derive(Debug, Default)]
struct Given {
    /// Distance from the first id to the one that is looked at first.
    next: u32,
    by_uid: BTreeMap<u32, AttemptId>,
    by_attempt: BTreeMap<AttemptId, u32>,
}

/// Who has which.
#[derive(Debug)]
pub struct Pool {
    range: Option<TaskUids>,
    given: Mutex<Given>,
}

/// Every id of the range is taken.
#[derive(Debug, thiserror::Error)]
#[error("all user ids for tasks, {0}, are in use by attempts that run or were not acknowledged")]
pub struct NoUidLeft(TaskUids);

impl Pool {
    /// None of them is taken.
    pub fn new(range: Option<TaskUids>) -> Self {
        Self { range, given: Mutex::default() }
    }

    /// Ids for an attempt whose job names no user; nothing where the node has no range.
    pub fn take(&self, attempt: AttemptId) -> Result<Option<UserIds>, NoUidLeft> {
        let Some(range) = self.range else { return Ok(None) };
        let mut given = self.given();
        let mut turn = (given.next..range.count).chain(0..given.next).map(|step| range.first + step);
        let uid = turn.find(|uid| !given.by_uid.contains_key(uid)).ok_or(NoUidLeft(range))?;
        given.next = (uid - range.first + 1) % range.count;
        given.by_uid.insert(uid, attempt);
        given.by_attempt.insert(attempt, uid);
        Ok(Some(UserIds { uid, gid: uid }))
    }

    /// An attempt has this one, whatever it was given: its order is of an earlier agent.
    pub fn inherit(&self, attempt: AttemptId, uid: u32) {
        self.give_back(&attempt);
        if self.range.is_some_and(|range| range.contains(uid)) {
            let mut given = self.given();
            given.by_uid.insert(uid, attempt);
            given.by_attempt.insert(attempt, uid);
        }
    }

    /// The attempt is gone.
    pub fn give_back(&self, attempt: &AttemptId) {
        let mut given = self.given();
        if let Some(uid) = given.by_attempt.remove(attempt)
            && given.by_uid.get(&uid) == Some(attempt)
        {
            given.by_uid.remove(&uid);
        }
    }

    fn given(&self) -> MutexGuard<'_, Given> {
        // Nothing between two changes can panic.
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(task: u32) -> AttemptId {
        format!("42-0.{task}.1").parse().unwrap()
    }

    fn taken(pool: &Pool, task: u32) -> Option<u32> {
        pool.take(attempt(task)).unwrap().map(|ids| ids.uid)
    }

    #[test]
    fn no_two_attempts_have_one_id_and_the_one_given_back_comes_last() {
        let pool = Pool::new(Some(TaskUids::new(5_000, 3).unwrap()));
        assert_eq!([0, 1].map(|task| taken(&pool, task)), [Some(5_000), Some(5_001)]);
        pool.give_back(&attempt(0));
        assert_eq!([2, 3].map(|task| taken(&pool, task)), [Some(5_002), Some(5_000)]);
        let refused = pool.take(attempt(4)).unwrap_err().to_string();
        assert!(refused.contains("5000 to 5002"), "{refused}");
    }

    #[test]
    fn ids_of_an_earlier_agent_stay_with_their_attempts() {
        let pool = Pool::new(Some(TaskUids::new(5_000, 2).unwrap()));
        pool.inherit(attempt(7), 5_000);
        pool.inherit(attempt(8), 65_534);
        assert_eq!(taken(&pool, 1), Some(5_001));
        assert!(pool.take(attempt(2)).is_err());
        pool.give_back(&attempt(7));
        assert_eq!(taken(&pool, 2), Some(5_000));
    }

    #[test]
    fn an_attempt_that_an_earlier_order_started_has_the_id_of_that_order_and_not_the_new_one() {
        let pool = Pool::new(Some(TaskUids::new(5_000, 2).unwrap()));
        assert_eq!(taken(&pool, 7), Some(5_000));
        pool.inherit(attempt(7), 5_001);
        assert_eq!(taken(&pool, 8), Some(5_000), "it is free, and the other is not");
        assert!(pool.take(attempt(9)).is_err());
        pool.give_back(&attempt(7));
        assert_eq!(taken(&pool, 9), Some(5_001));
    }

    #[test]
    fn without_a_range_there_is_nothing_to_take() {
        let pool = Pool::new(None);
        pool.inherit(attempt(7), 5_000);
        assert_eq!(taken(&pool, 1), None);
    }

    #[test]
    fn a_range_is_read_and_an_impossible_one_is_refused_with_what_was_expected() {
        assert_eq!("200000:1000".parse(), TaskUids::new(200_000, 1_000));
        assert_eq!(TaskUids::new(200_000, 1_000).unwrap().to_string(), "200000 to 200999");
        for bad in ["", "5000", "a:b", "0:5", "999:5", "5000:0", "4294967290:10", "5000:-1"] {
            let refused = bad.parse::<TaskUids>().unwrap_err();
            assert!(refused.contains(bad) && refused.contains("FIRST:COUNT"), "{refused}");
        }
    }
}
