//! A set of seeds as ranges, for campaigns are runs of consecutive seeds with few gaps.
//!
//! Its text form is what the ledger and people read: `1-300,512`.

use std::fmt;

use anyhow::{Context, Result, ensure};

/// Disjoint ranges in order, both ends included; ranges that touch are one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seeds(Vec<(u64, u64)>);

impl Seeds {
    /// Reads the text form.
    pub fn parse(text: &str) -> Result<Self> {
        let mut seeds = Self::default();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let wrong = || format!("seeds {text}: `{part}` is neither a number nor a range such as 1-300");
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (first.parse().with_context(wrong)?, last.parse().with_context(wrong)?);
            ensure!(first <= last, wrong());
            seeds.add_range(first, last);
        }
        Ok(seeds)
    }

    /// Puts one in; false where it was there.
    pub fn add(&mut self, seed: u64) -> bool {
        let is_new = !self.contains(seed);
        if is_new {
            self.add_range(seed, seed);
        }
        is_new
    }

    /// Puts all of another set in.
    pub fn add_all(&mut self, other: &Self) {
        for (first, last) in &other.0 {
            self.add_range(*first, *last);
        }
    }

    fn add_range(&mut self, mut first: u64, mut last: u64) {
        // Everything that overlaps or touches becomes one with it.
        let from = self.0.partition_point(|(_, end)| end.saturating_add(1) < first);
        let until = self.0.partition_point(|(begin, _)| *begin <= last.saturating_add(1));
        if let (Some((begin, _)), Some((_, end))) = (self.0.get(from), self.0[..until].last())
            && from < until
        {
            (first, last) = (first.min(*begin), last.max(*end));
        }
        self.0.splice(from..until.max(from), [(first, last)]);
    }

    /// Whether a seed is in it.
    pub fn contains(&self, seed: u64) -> bool {
        let at = self.0.partition_point(|(_, last)| *last < seed);
        self.0.get(at).is_some_and(|(first, _)| *first <= seed)
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|(first, last)| last - first + 1).sum()
    }
}

impl fmt::Display for Seeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (first, last)) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            match first == last {
                true => write!(f, "{comma}{first}")?,
                false => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn it_is_the_set_that_was_put_in_whatever_the_order() {
        // A walk over all of 0..41 in steps of 17: neighbours meet from both sides.
        let (mut seeds, mut model) = (Seeds::default(), BTreeSet::new());
        for step in 0..41 {
            let seed = step * 17 % 41;
            assert!(seeds.add(seed) && !seeds.add(seed));
            model.insert(seed);
            assert!((0..60).all(|seed| seeds.contains(seed) == model.contains(&seed)), "{seeds}");
            assert_eq!(seeds.count(), model.len() as u64);
            assert_eq!(Seeds::parse(&seeds.to_string()).unwrap(), seeds);
        }
        assert_eq!(seeds.to_string(), "0-40");
    }

    #[test]
    fn ranges_that_overlap_or_touch_become_one() {
        let mut seeds = Seeds::parse("10-20,30,40-50").unwrap();
        seeds.add_all(&Seeds::parse("5-9,19-35,51").unwrap());
        assert_eq!((seeds.to_string().as_str(), seeds.count()), ("5-35,40-51", 43));
        assert!(seeds.add(u64::MAX) && seeds.add(0));
        assert_eq!(seeds.to_string(), format!("0,5-35,40-51,{}", u64::MAX));
    }

    #[test]
    fn a_wrong_text_is_named() {
        for text in ["1-", "x", "9-3", "1,,2-b"] {
            assert!(format!("{:#}", Seeds::parse(text).unwrap_err()).contains(text), "{text}");
        }
    }
}
