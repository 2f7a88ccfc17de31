//! How far the batch is: a bar on a terminal, a line for every tenth elsewhere. On stderr, because stdout belongs to
//! the summary.

use std::io::{IsTerminal, Write};

/// Width of the bar.
const CELLS: u64 = 40;
/// Lines of a run without a terminal.
const STEPS: u64 = 10;

/// What is shown.
#[derive(Debug)]
pub struct Progress {
    total: u64,
    bar: bool,
    /// The last step that was printed; nothing before the first.
    step: Option<u64>,
}

impl Progress {
    /// For `total` tasks. A terminal that CI pretends to have gets plain lines.
    pub fn new(total: u64) -> Self {
        let bar = std::io::stderr().is_terminal() && std::env::var_os("CI").is_none();
        Self { total, bar, step: None }
    }

    /// `done` tasks have ended and `running` run.
    pub fn at(&mut self, done: u64, running: u64) {
        if self.bar {
            eprint!("\r\x1b[K{}", self.drawn(done, running));
            // A bar that is a moment late harms nobody.
            let _ = std::io::stderr().flush();
        } else if let Some(line) = self.plain(done, running) {
            eprintln!("{line}");
        }
    }

    /// A line of its own, above the bar.
    pub fn say(&self, line: &str) {
        self.clear();
        eprintln!("{line}");
    }

    /// Takes the bar away.
    pub fn clear(&self) {
        if self.bar {
            eprint!("\r\x1b[K");
        }
    }

    fn drawn(&self, done: u64, running: u64) -> String {
        let full = (done * CELLS).checked_div(self.total).unwrap_or(0).min(CELLS);
        let (full, rest) = ("█".repeat(count(full)), "░".repeat(count(CELLS - full)));
        format!("{full}{rest} {done}/{} tasks, {running} running", self.total)
    }

    fn plain(&mut self, done: u64, running: u64) -> Option<String> {
        let step = (done * STEPS).checked_div(self.total).unwrap_or(0);
        if self.step == Some(step) {
            return None;
        }
        self.step = Some(step);
        Some(format!("{done}/{} tasks, {running} running", self.total))
    }
}

fn count(cells: u64) -> usize {
    usize::try_from(cells).expect("a bar is at most CELLS wide")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_every_tenth_and_a_bar_that_fits() {
        let mut progress = Progress { total: 400, bar: false, step: None };
        let lines: Vec<String> = (0..=400).filter_map(|done| progress.plain(done, 7)).collect();
        assert_eq!(lines.len(), 11);
        assert_eq!(lines[1], "40/400 tasks, 7 running");
        assert!(progress.drawn(200, 3).starts_with(&format!("{}{} 200/400", "█".repeat(20), "░".repeat(20))));
        assert!(progress.drawn(400, 0).starts_with(&"█".repeat(40)));
    }
}
