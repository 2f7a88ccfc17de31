//! What one seed came to: its last line, or why there is none.

use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use crate::command::Finished;

/// One finished seed.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub seed: u64,
    /// How long its process took.
    pub took: Duration,
    /// Its last line, word for word.
    pub line: String,
    /// What went wrong, by line, if anything did.
    pub wrong: Vec<String>,
    summary: Value,
}

impl Outcome {
    /// What a process left behind.
    pub fn of(seed: u64, command: &str, finished: Result<Finished>, took: Duration) -> Self {
        let (line, summary, mut wrong) = match &finished {
            Err(error) => (String::new(), Value::Null, vec![format!("{error:#}")]),
            Ok(finished) => {
                let line = finished.stdout.lines().last().unwrap_or_default().to_owned();
                let summary: Value = serde_json::from_str(&line).unwrap_or_default();
                let held =
                    finished.status.success() && summary["verdict"] == "held" && summary["seed"] == seed;
                let said = finished.stdout.lines().filter(|said| !held && *said != line).map(str::to_owned);
                let mut wrong: Vec<String> = said.collect();
                if !held && wrong.is_empty() {
                    wrong.push(format!("it ended with {} and said {line:?}", finished.status));
                }
                (line, summary, wrong)
            }
        };
        if !wrong.is_empty() {
            let reproduce = summary["reproduce"].as_str().unwrap_or(command);
            wrong.push(format!("to reproduce: {reproduce}"));
        }
        Self { seed, took, line, wrong, summary }
    }

    /// Whether everything held.
    pub fn held(&self) -> bool {
        self.wrong.is_empty()
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
        let finished = Finished { status: ExitStatus::from_raw(code << 8), stdout: stdout.to_owned() };
        Outcome::of(7, "sim --seed 7", Ok(finished), Duration::ZERO)
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
    }

    #[test]
    fn a_failure_says_what_and_how_to_see_it_again() {
        let said =
            "seed 7: acknowledged: lost\n{\"seed\":7,\"verdict\":\"violated\",\"reproduce\":\"again\"}";
        assert_eq!(outcome(1, said).wrong, ["seed 7: acknowledged: lost", "to reproduce: again"]);
        assert_eq!(outcome(101, "").wrong.last().unwrap(), "to reproduce: sim --seed 7");
    }
}
