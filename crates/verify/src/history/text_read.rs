//! Reads a history from text. Total: whatever the text is, the answer is a history or an error that names the line,
//! the field, its value and what was expected.

use std::collections::BTreeSet;
use std::str::FromStr;

use paceline_types::{JobState, JobUid, Revision};

use super::History;
use super::call::{Action, Call, CallId, ClientNumber, Freshness, RequestId, Target};
use super::outcome::{Answer, Outcome, Refused, SeenJob};
use super::recorder::CALLS_MAX;
use super::text::HEADER;

/// Why a text is not a history.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {field}: `{value}`: expected {expected}")]
pub struct ReadError {
    /// From 1.
    pub line: usize,
    /// Which part of it.
    pub field: &'static str,
    /// What stands there.
    pub value: String,
    /// What should.
    pub expected: &'static str,
}

/// Reads what [`super::text::write`] wrote, and what people changed in it.
///
/// # Errors
/// [`ReadError`] for the first fault.
pub fn read(text: &str) -> Result<History, ReadError> {
    let mut lines = (1..).zip(text.lines());
    let (first, header) = lines.next().unwrap_or((1, ""));
    if header != HEADER {
        return Err(fault(first, "header", header, "paceline-history 1"));
    }
    let mut calls: Vec<Call> = Vec::new();
    let mut ids = BTreeSet::new();
    for (number, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        if calls.len() >= CALLS_MAX {
            return Err(fault(number, "calls", &calls.len().to_string(), "at most a million calls"));
        }
        let call = Line { number, words: line.split(' ').collect(), at: 0 }.call()?;
        if !ids.insert(call.id) {
            return Err(fault(number, "number", &call.id.0.to_string(), "another number for each call"));
        }
        calls.push(call);
    }
    Ok(calls.into_iter().collect())
}

fn fault(line: usize, field: &'static str, value: &str, expected: &'static str) -> ReadError {
    ReadError { line, field, value: value.to_owned(), expected }
}

/// A line that is being read, word by word.
struct Line<'t> {
    number: usize,
    words: Vec<&'t str>,
    at: usize,
}

impl<'t> Line<'t> {
    fn call(mut self) -> Result<Call, ReadError> {
        let id = CallId(self.parsed("number", "a number")?);
        let client =
            ClientNumber(self.with("client", "c and a number", |word| word.strip_prefix('c')?.parse().ok())?);
        let request = self.with("request id", "PRINCIPAL:CLIENT:SEQUENCE or -", optional(request_id))?;
        let invoked = self.parsed("invoked", "a number")?;
        let returned = self.with("returned", "a number that is not before invoked, or -", |word| {
            optional(|word| word.parse().ok().filter(|at| *at >= invoked))(word)
        })?;
        let action = self.action()?;
        self.with("arrow", "->", |word| (word == "->").then_some(()))?;
        let outcome = self.outcome()?;
        if let Some(rest) = self.words.get(self.at) {
            return Err(fault(self.number, "end of the line", rest, "nothing more"));
        }
        if returned.is_none() && outcome != Outcome::Unknown {
            return Err(fault(self.number, "returned", "-", "an instant, since there is an outcome"));
        }
        Ok(Call { id, client, request, invoked, returned, action, outcome })
    }

    fn action(&mut self) -> Result<Action, ReadError> {
        match self.word("call")? {
            "submit" => Ok(Action::Submit {
                name: self.with("name", NAME, unescaped)?,
                spec: self.with("spec", "a hexadecimal number", |word| u64::from_str_radix(word, 16).ok())?,
            }),
            "stop" => Ok(Action::Stop { job: self.target()? }),
            "delete" => Ok(Action::Delete { job: self.target()? }),
            "get" => Ok(Action::Get { job: self.target()?, read: self.freshness()? }),
            "list" => Ok(Action::List {
                prefix: self.with("prefix", NAME, unescaped)?,
                retired: self.with("which", "all or live", |word| match word {
                    "all" => Some(true),
                    "live" => Some(false),
                    _ => None,
                })?,
                read: self.freshness()?,
            }),
            other => Err(fault(self.number, "call", other, "submit, stop, delete, get or list")),
        }
    }

    fn outcome(&mut self) -> Result<Outcome, ReadError> {
        let word = self.word("outcome")?;
        match word {
            "?" => return Ok(Outcome::Unknown),
            "no" => return Ok(Outcome::Refused(self.with("refusal", REFUSALS, refused)?)),
            _ => {}
        }
        let revision = word.strip_prefix('@').and_then(|revision| revision.parse().ok()).map(Revision);
        let revision =
            revision.ok_or_else(|| fault(self.number, "outcome", word, "?, no or @ and a revision"))?;
        Ok(Outcome::Answered { revision, answer: self.answer()? })
    }

    fn answer(&mut self) -> Result<Answer, ReadError> {
        match self.word("answer")? {
            "submitted" => Ok(Answer::Submitted {
                uid: self.uid()?,
                existing: self.with("existing", "new or found", |word| match word {
                    "found" => Some(true),
                    "new" => Some(false),
                    _ => None,
                })?,
            }),
            "stopping" => Ok(Answer::Stopping { uid: self.uid()?, state: self.state()? }),
            "deleted" => Ok(Answer::Deleted { uid: self.uid()? }),
            "seen" => Ok(Answer::Seen(SeenJob {
                name: self.with("name", NAME, unescaped)?,
                uid: self.uid()?,
                state: self.state()?,
            })),
            "listed" => {
                let mut jobs = Vec::new();
                while self.at < self.words.len() {
                    jobs.push(self.with("listed job", "NAME=UID=STATE", listed)?);
                }
                Ok(Answer::Listed(jobs))
            }
            other => Err(fault(self.number, "answer", other, "submitted, stopping, deleted, seen or listed")),
        }
    }

    fn target(&mut self) -> Result<Target, ReadError> {
        let name = self.with("name", NAME, unescaped)?;
        let uid = self.with("uid", "REVISION-ORDINAL or -", optional(|word| word.parse().ok()))?;
        Ok(Target { name, uid })
    }

    fn freshness(&mut self) -> Result<Freshness, ReadError> {
        self.with("freshness", "now or stale, and >=REVISION where one was asked for", |word| {
            let (word, revision) = word.split_once(">=").unwrap_or((word, "0"));
            let stale = match word {
                "stale" => true,
                "now" => false,
                _ => return None,
            };
            Some(Freshness { stale, min_revision: Revision(revision.parse().ok()?) })
        })
    }

    fn uid(&mut self) -> Result<JobUid, ReadError> {
        self.parsed("uid", "REVISION-ORDINAL, as in 42-0")
    }

    fn state(&mut self) -> Result<JobState, ReadError> {
        self.parsed("state", "active, stopping, succeeded, failed or killed")
    }

    fn parsed<T: FromStr>(&mut self, field: &'static str, expected: &'static str) -> Result<T, ReadError> {
        self.with(field, expected, |word| word.parse().ok())
    }

    fn with<T>(
        &mut self,
        field: &'static str,
        expected: &'static str,
        parse: impl FnOnce(&'t str) -> Option<T>,
    ) -> Result<T, ReadError> {
        let word = self.words.get(self.at).copied().unwrap_or("");
        let parsed = parse(word).ok_or_else(|| fault(self.number, field, word, expected))?;
        self.at += 1;
        Ok(parsed)
    }

    fn word(&mut self, field: &'static str) -> Result<&'t str, ReadError> {
        self.with(field, "a word", |word| (!word.is_empty()).then_some(word))
    }
}

const NAME: &str = "a name, escaped with % where needed";
const REFUSALS: &str = "name_in_use, not_found, conflict, too_old, answered, other_body or not_done";

fn optional<'t, T>(parse: impl FnOnce(&'t str) -> Option<T>) -> impl FnOnce(&'t str) -> Option<Option<T>> {
    |word| if word == "-" { Some(None) } else { parse(word).map(Some) }
}

fn request_id(word: &str) -> Option<RequestId> {
    let (principal, rest) = word.split_once(':')?;
    let (digits, sequence) = rest.split_once(':')?;
    let mut client = [0; 16];
    if digits.len() != 2 * client.len() {
        return None;
    }
    for (byte, pair) in client.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        *byte = hex_byte(pair)?;
    }
    Some(RequestId { principal: unescaped(principal)?, client, sequence: sequence.parse().ok()? })
}

fn refused(word: &str) -> Option<Refused> {
    Refused::ALL.into_iter().find(|refused| refused.as_str() == word)
}

fn listed(word: &str) -> Option<SeenJob> {
    let (name, rest) = word.split_once('=')?;
    let (uid, state) = rest.split_once('=')?;
    Some(SeenJob { name: unescaped(name)?, uid: uid.parse().ok()?, state: state.parse().ok()? })
}

fn unescaped(word: &str) -> Option<String> {
    match word {
        "" => return None,
        "%" => return Some(String::new()),
        _ => {}
    }
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if first == b'%' {
            bytes.push(hex_byte(after.get(..2)?)?);
            rest = &after[2..];
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

fn hex_byte(pair: &[u8]) -> Option<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let [high, low] = pair else { return None };
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_names_line_field_value_and_what_was_expected() {
        let good = "paceline-history 1\n0 c1 - 5 9 get a - now -> @7 seen a 5-0 active\n";
        assert_eq!(read(good).map(|history| history.len()), Ok(1));
        let cases = [
            ("paceline-history 1", "paceline-history 2", "line 1: header: `paceline-history 2`"),
            ("0 c1", "x c1", "line 2: number: `x`: expected a number"),
            ("c1", "d1", "line 2: client: `d1`: expected c and a number"),
            ("c1 -", "c1 ann:00:1", "line 2: request id: `ann:00:1`"),
            ("5 9", "5 4", "line 2: returned: `4`: expected a number that is not before invoked, or -"),
            ("5 9", "5 -", "line 2: returned: `-`: expected an instant, since there is an outcome"),
            ("get a", "put a", "line 2: call: `put`"),
            ("get a", "get %zz", "line 2: name: `%zz`"),
            ("now", "later", "line 2: freshness: `later`"),
            ("->", "=>", "line 2: arrow: `=>`: expected ->"),
            ("@7", "7", "line 2: outcome: `7`"),
            ("5-0 active", "5 active", "line 2: uid: `5`"),
            ("active", "lazy", "line 2: state: `lazy`"),
            ("active", "active too", "line 2: end of the line: `too`: expected nothing more"),
            ("active\n", "active\n0 c1 - 5 - stop a - -> ?\n", "line 3: number: `0`: expected another"),
        ];
        for (from, to, expected) in cases {
            let error = read(&good.replacen(from, to, 1)).expect_err(expected).to_string();
            assert!(error.starts_with(expected), "{expected}: {error}");
        }
    }

    #[test]
    fn what_a_person_writes_between_is_passed_over() {
        let text = "paceline-history 1\n# the leader was killed here\n\n0 c1 - 5 - stop a - -> ?\n";
        assert_eq!(read(text).map(|history| history.len()), Ok(1));
    }
}
