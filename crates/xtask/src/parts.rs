//! How long each part of a command took, printed as the parts end and once more at the end.
//!
//! The final lines have the fixed form `time: PART SECONDS s`; `.ci/run` reads them to hold each part
//! against its budget. Says nothing about what a part does.

use std::time::{Duration, Instant};

use anyhow::Result;

/// Parts in the order in which they ran.
#[derive(Debug, Default)]
pub struct Parts {
    done: Vec<(&'static str, Duration)>,
}

impl Parts {
    /// Runs one part and keeps its time, whether it worked or not.
    pub fn time<T>(&mut self, name: &'static str, part: impl FnOnce() -> Result<T>) -> Result<T> {
        eprintln!("==> {name}");
        let started = Instant::now();
        let outcome = part();
        let took = started.elapsed();
        self.done.push((name, took));
        match &outcome {
            Ok(_) => eprintln!("==> {name}: {:.1} s", took.as_secs_f64()),
            Err(_) => eprintln!("==> {name}: failed after {:.1} s", took.as_secs_f64()),
        }
        outcome
    }

    /// Seconds that a finished part took; a part that ran twice counts twice.
    pub fn seconds(&self, name: &str) -> f64 {
        self.done.iter().filter(|(part, _)| *part == name).map(|(_, took)| took.as_secs_f64()).sum()
    }

    /// Prints every part on stderr.
    pub fn report(&self) {
        for (name, took) in &self.done {
            eprintln!("time: {name} {:.1} s", took.as_secs_f64());
        }
    }
}
