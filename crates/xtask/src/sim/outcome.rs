//! What one seed came to: its last line, or why there is none.

use anyhow::Result;
use serde_json::Value;

use crate::command::Finished;

/// Checks of the simulation of itself: what they find is no bug that was caught.
const OF_THE_SIMULATION: [&str; 2] = ["points-are-known", "no-panics"];

/// One finished seed.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub seed: u64,
    /// Its last line, word for word.
    pub line: String,
    /// What went wrong, by line, if anything did.
    pub wrong: Vec<String>,
    /// It ended as a run whose checks found something ends.
    violated: bool,
    summary: Value,
}

impl Outcome {
    /// What a process left behind that was to run this seed with this bug planted; `again` is the line that runs it again.
    pub fn of(seed: u64, plant: Option<&str>, again: &str, finished: Result<Finished>) -> Self {
        let finished = match finished {
            Ok(finished) => finished,
            Err(error) => {
                let wrong = vec![format!("{error:#}"), format!("to reproduce: {again}")];
                return Self { seed, line: String::new(), wrong, violated: false, summary: Value::Null };
            }
        };
        let line = finished.stdout.lines().last().unwrap_or_default().to_owned();
        let summary: Value = serde_json::from_str(&line).unwrap_or_default();
        let is_ours = summary["seed"] == seed && summary["plant"].as_str() == plant;
        let held = finished.status.success() && summary["verdict"] == "held" && is_ours;
        let violated = finished.status.code() == Some(1) && summary["verdict"] == "violated" && is_ours;
        let mut wrong: Vec<String> = Vec::new();
        if !held {
            wrong.extend(finished.stdout.lines().filter(|said| *said != line).map(str::to_owned));
            if wrong.is_empty() {
                wrong.push(format!("it ended with {} and said {line:?}", finished.status));
            }
            wrong.push(format!("to reproduce: {again}"));
        }
        Self { seed, line, wrong, violated, summary }
    }

    /// Whether everything held.
    pub fn held(&self) -> bool {
        self.wrong.is_empty()
    }

    /// The checks that found something; none where the run failed in another way.
    pub fn caught_by(&self) -> Vec<String> {
        let checks = self.summary["violated"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let checks = checks.filter(|check| self.violated && !OF_THE_SIMULATION.contains(check));
        checks.map(str::to_owned).collect()
    }

    /// Points that a sweep must reach.
    pub fn points(&self) -> impl Iterator<Item = &str> {
        self.summary["sometimes"].as_array().into_iter().flatten().filter_map(Value::as_str)
    }

    /// What it counted.
    pub fn counts(&self) -> impl Iterator<Item = (&str, u64)> {
        let counts = self.summary["counts"].as_object().into_iter().flatten();
        counts.filter_map(|(name, count)| Some((name.as_str(), count.as_u64()?)))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::*;

    fn outcome(code: i32, stdout: &str) -> Outcome {
        planted(code, stdout, None)
    }

    fn planted(code: i32, stdout: &str, plant: Option<&str>) -> Outcome {
        let finished = Finished { status: ExitStatus::from_raw(code << 8), stdout: stdout.to_owned() };
        Outcome::of(7, plant, "sim --seed 7", Ok(finished))
    }

    #[test]
    fn only_a_clean_exit_with_the_right_last_line_held() {
        let held = r#"{"seed":7,"verdict":"held","counts":{"jobs":3},"sometimes":["x"]}"#;
        let good = outcome(0, held);
        assert!(good.held());
        assert_eq!(good.points().collect::<Vec<_>>(), ["x"]);
        assert_eq!(good.counts().collect::<Vec<_>>(), [("jobs", 3)]);
        assert!(!outcome(1, held).held());
        assert!(!outcome(0, "").held());
        assert!(!outcome(0, r#"{"seed":8,"verdict":"held"}"#).held());
        assert!(
            !outcome(0, r#"{"seed":7,"plant":"x","verdict":"held"}"#).held(),
            "a bug that nobody asked for"
        );
    }

    #[test]
    fn a_failure_says_what_and_how_to_see_it_again() {
        let said = "seed 7: acknowledged: lost\n{\"seed\":7,\"verdict\":\"violated\"}";
        assert_eq!(outcome(1, said).wrong, ["seed 7: acknowledged: lost", "to reproduce: sim --seed 7"]);
        assert_eq!(outcome(101, "").wrong.last().unwrap(), "to reproduce: sim --seed 7");
        let hung = Outcome::of(7, None, "sim --seed 7", Err(anyhow::anyhow!("not finished")));
        assert_eq!(hung.wrong, ["not finished", "to reproduce: sim --seed 7"]);
    }

    #[test]
    fn a_bug_is_caught_by_a_check_of_the_run_that_it_was_planted_in_and_by_nothing_else() {
        let said = |verdict: &str, checks: &str| {
            format!(r#"{{"seed":7,"plant":"bug","verdict":"{verdict}","violated":[{checks}]}}"#)
        };
        let caught = |code, said: &str| planted(code, said, Some("bug")).caught_by();
        assert_eq!(caught(1, &said("violated", r#""one-log","no-panics""#)), ["one-log"]);
        assert_eq!(caught(1, &said("violated", r#""points-are-known""#)), Vec::<String>::new());
        assert_eq!(caught(101, &said("panicked", r#""one-log""#)), Vec::<String>::new());
        assert_eq!(caught(101, &said("violated", r#""one-log""#)), Vec::<String>::new());
        assert_eq!(caught(1, "no summary"), Vec::<String>::new());
        let unplanted = planted(1, &said("violated", r#""one-log""#), Some("other"));
        assert_eq!(unplanted.caught_by(), Vec::<String>::new());
    }
}
