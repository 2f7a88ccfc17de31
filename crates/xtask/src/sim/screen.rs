//! What somebody who waits sees on stderr: a bar on a terminal, a line now and then elsewhere.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Width of the bar.
const CELLS: usize = 30;
/// How often a bar moves.
const BAR_EVERY: Duration = Duration::from_millis(500);
/// How often a line is printed where no bar can be.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// How far something is.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// From nothing to one.
    pub fraction: f64,
    /// In words.
    pub words: String,
}

/// Where it is shown.
#[derive(Debug)]
pub struct Screen {
    bar: bool,
    shown: Instant,
}

impl Screen {
    /// A terminal that CI pretends to have gets plain lines.
    pub fn new() -> Self {
        Self { bar: is_terminal(), shown: Instant::now() }
    }

    /// Shows it if it is time to.
    pub fn show(&mut self, progress: impl FnOnce() -> Progress) {
        if self.shown.elapsed() < if self.bar { BAR_EVERY } else { LINE_EVERY } {
            return;
        }
        self.shown = Instant::now();
        let progress = progress();
        if self.bar {
            eprint!("\r\x1b[K{}", drawn(&progress));
            // A bar that is a moment late harms nobody.
            let _ = std::io::stderr().flush();
        } else {
            eprintln!("{}", progress.words);
        }
    }

    /// Takes the bar away.
    pub fn clear(&self) {
        if self.bar {
            eprint!("\r\x1b[K");
        }
    }
}

/// A line of its own, above a bar that may be there.
pub fn line(text: &str) {
    let clear = if is_terminal() { "\r\x1b[K" } else { "" };
    eprintln!("{clear}{text}");
}

fn is_terminal() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("CI").is_none()
}

fn drawn(progress: &Progress) -> String {
    let full = (1..=CELLS).filter(|cell| *cell as f64 <= progress.fraction * CELLS as f64 + 1e-9).count();
    format!("{}{} {}", "█".repeat(full), "░".repeat(CELLS - full), progress.words)
}

/// A time in the largest units that tell something: `48 s`, `12:05`, `3:00:10`.
pub fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    match (hours, seconds / 60) {
        (0, 0) => format!("{seconds} s"),
        (0, _) => format!("{minutes}:{:02}", seconds % 60),
        _ => format!("{hours}:{minutes:02}:{:02}", seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_fits_whatever_it_is_told() {
        for (fraction, full) in [(0.0, 0), (0.5, 15), (1.0, 30), (7.0, 30), (-1.0, 0), (f64::NAN, 0)] {
            let bar = drawn(&Progress { fraction, words: "x".into() });
            assert_eq!(bar.matches('█').count(), full, "{fraction}");
            assert_eq!(bar.chars().count(), CELLS + 2, "{fraction}");
        }
    }

    #[test]
    fn spans_are_short() {
        for (seconds, text) in [(0, "0 s"), (59, "59 s"), (60, "1:00"), (725, "12:05"), (10_810, "3:00:10")] {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
    }
}
