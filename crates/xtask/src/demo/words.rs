//! The words of documents, counted by this process alone: what the batch must come to as well.
//!
//! A word is a run of the letters a to z, in either case; everything else ends it, the end of a document too.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// How often each word occurs.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Words(BTreeMap<String, u64>);

impl Words {
    /// Counts the words of one more document.
    pub fn read(&mut self, document: &Path) -> Result<()> {
        let bytes = fs::read(document).with_context(|| format!("could not read {}", document.display()))?;
        self.add(&bytes);
        Ok(())
    }

    /// Adds another count to this one.
    pub fn merge(&mut self, other: &Self) {
        for (word, count) in &other.0 {
            *self.0.entry(word.clone()).or_default() += count;
        }
    }

    /// As the batch writes it: a line `COUNT WORD` for each, in the order of the words.
    pub fn table(&self) -> String {
        let mut table = String::new();
        for (word, count) in &self.0 {
            writeln!(table, "{count} {word}").expect("writing to a String cannot fail");
        }
        table
    }

    /// All occurrences of all words.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// The `count` most frequent words, the most frequent first.
    pub fn most_frequent(&self, count: usize) -> Vec<(String, u64)> {
        let mut words: Vec<(String, u64)> = self.0.clone().into_iter().collect();
        words.sort_by_key(|(_, occurrences)| std::cmp::Reverse(*occurrences));
        words.truncate(count);
        words
    }

    fn add(&mut self, bytes: &[u8]) {
        let mut word = String::new();
        for letters in bytes.split(|byte| !byte.is_ascii_alphabetic()).filter(|letters| !letters.is_empty()) {
            word.clear();
            word.extend(letters.iter().map(|letter| char::from(letter.to_ascii_lowercase())));
            // Most words have been seen before: they cost no allocation.
            match self.0.get_mut(&word) {
                Some(count) => *count += 1,
                None => _ = self.0.insert(word.clone(), 1),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_runs_of_letters_in_either_case() {
        let mut words = Words::default();
        words.add("The cat's Naïve\0THE-hat".as_bytes());
        words.add(b"the");
        assert_eq!(words.table(), "1 cat\n1 hat\n1 na\n1 s\n3 the\n1 ve\n");
        assert_eq!((words.total(), words.most_frequent(1)), (8, vec![("the".to_owned(), 3)]));
        let mut twice = Words::default();
        twice.merge(&words);
        twice.merge(&words);
        assert_eq!(twice.total(), 16);
    }
}
