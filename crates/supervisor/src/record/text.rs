//! The text form of a record: a header, one `key value` line per field, a checksum line.
//!
//! ```text
//! paceline intent 1
//! attempt 42-0.7.1
//! supervisor_pid 4711
//! crc32c 1a2b3c4d
//! ```
//!
//! Text, because the first reader of a record in trouble is a person with `cat`. Line breaks and backslashes
//! in values are escaped. Where records live and how they are published is in `folder`.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::checksum::crc32c;

/// Version of all record texts. A field that is added gets a default for its absence; anything else
/// raises this.
const VERSION: &str = "1";

/// Starts the last line.
const CHECKSUM_KEY: &str = "crc32c ";

/// What is wrong with the bytes of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    /// The last line is not a checksum: the file is cut short or is something else.
    NoChecksum,
    /// The bytes are not those that were written.
    Checksum {
        /// The sum that the record carries.
        carried: u32,
        /// The sum of its bytes.
        computed: u32,
    },
    /// Whole, but of another kind or version.
    Header {
        /// What was expected.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// A field that must be there is not.
    Missing(&'static str),
    /// A field that cannot be read.
    Field {
        /// The name.
        key: &'static str,
        /// What stands there.
        value: String,
    },
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoChecksum => f.write_str("it has no checksum line: cut short, or not a record"),
            Self::Checksum { carried, computed } => {
                write!(f, "its checksum is {carried:08x}, its bytes give {computed:08x}")
            }
            Self::Header { expected, found } => write!(f, "it starts with `{found}` instead of `{expected}`"),
            Self::Missing(key) => write!(f, "the field `{key}` is missing"),
            Self::Field { key, value } => write!(f, "the field `{key}` cannot be read: `{value}`"),
        }
    }
}

impl Error for Damage {}

/// Why a record could not be read.
#[derive(Debug)]
pub enum RecordError {
    /// The file system refused.
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file was read and is not what was written.
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Damage,
    },
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, .. } => write!(f, "cannot read the record {}", path.display()),
            Self::Damaged { path, .. } => write!(
                f,
                "the record {} is damaged; move its folder aside to go on without this attempt",
                path.display()
            ),
        }
    }
}

impl Error for RecordError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Read { source, .. } => Some(source),
            Self::Damaged { source, .. } => Some(source),
        }
    }
}

/// Writes a record line by line.
pub struct Writer(String);

impl Writer {
    /// An empty record of a kind.
    pub fn new(kind: &str) -> Self {
        Self(format!("{}\n", header(kind)))
    }

    /// Adds a field. Keys may repeat; their order is kept.
    pub fn field(&mut self, key: &str, value: impl fmt::Display) -> &mut Self {
        self.0.push_str(key);
        self.0.push(' ');
        escape_into(&mut self.0, &value.to_string());
        self.0.push('\n');
        self
    }

    /// Adds a field that may be absent.
    pub fn optional(&mut self, key: &str, value: Option<impl fmt::Display>) -> &mut Self {
        if let Some(value) = value {
            self.field(key, value);
        }
        self
    }

    /// The bytes with their checksum.
    pub fn finish(mut self) -> Vec<u8> {
        let sum = crc32c(self.0.as_bytes());
        self.0.push_str(&format!("{CHECKSUM_KEY}{sum:08x}\n"));
        self.0.into_bytes()
    }
}

/// The fields of a record whose checksum was right.
#[derive(Debug)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// The record of a kind in a file that holds one or several, one behind the other. In a file of its own
    /// name it must be; in another's it may be absent, or not quite written yet.
    pub fn find(kind: &str, file: &str, bytes: &[u8]) -> Result<Option<Self>, Damage> {
        let header = header(kind);
        let is_wanted = |record: &[u8]| record.split(|byte| *byte == b'\n').next() == Some(header.as_bytes());
        match records(bytes).find(|record| is_wanted(record)) {
            Some(record) => Self::parse(kind, record).map(Some),
            None if kind == file => Self::parse(kind, bytes).map(Some),
            None => Ok(None),
        }
    }

    /// Checks and splits the bytes of a record of a kind.
    pub fn parse(kind: &str, bytes: &[u8]) -> Result<Self, Damage> {
        let body = checked(bytes)?;
        let mut lines = body.lines();
        let (expected, found) = (header(kind), lines.next().unwrap_or_default());
        if found != expected {
            return Err(Damage::Header { expected, found: found.to_owned() });
        }
        let split = |line: &str| {
            let (key, value) = line.split_once(' ').unwrap_or((line, ""));
            (key.to_owned(), unescape(value))
        };
        Ok(Self(lines.map(split).collect()))
    }

    /// Every value of a key, in order.
    pub fn all(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(k, _)| k == key).map(|(_, value)| value.as_str())
    }

    /// The value of a key that must be there.
    pub fn text(&self, key: &'static str) -> Result<&str, Damage> {
        self.all(key).next().ok_or(Damage::Missing(key))
    }

    /// The parsed value of a key that must be there.
    pub fn value<T: std::str::FromStr>(&self, key: &'static str) -> Result<T, Damage> {
        self.optional(key)?.ok_or(Damage::Missing(key))
    }

    /// The parsed value of a key that may be absent.
    pub fn optional<T: std::str::FromStr>(&self, key: &'static str) -> Result<Option<T>, Damage> {
        let parse = |value: &str| value.parse().map_err(|_| Damage::Field { key, value: value.to_owned() });
        self.all(key).next().map(parse).transpose()
    }
}

fn header(kind: &str) -> String {
    format!("paceline {kind} {VERSION}")
}

/// The records of a file, each with its checksum line; what is not finished is left out.
fn records(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let mut end = 0;
        loop {
            let line = rest[end..].iter().position(|byte| *byte == b'\n')? + 1;
            let is_last = rest[end..].starts_with(CHECKSUM_KEY.as_bytes());
            end += line;
            if is_last {
                let (record, behind) = rest.split_at(end);
                rest = behind;
                return Some(record);
            }
        }
    })
}

/// The text before the checksum line, when that line fits it.
fn checked(bytes: &[u8]) -> Result<&str, Damage> {
    let text = std::str::from_utf8(bytes).map_err(|_| Damage::NoChecksum)?;
    let start = text.trim_end_matches('\n').rfind('\n').ok_or(Damage::NoChecksum)? + 1;
    let (body, last) = text.split_at(start);
    let digits = last.strip_prefix(CHECKSUM_KEY).and_then(|rest| rest.strip_suffix('\n'));
    let carried = digits.and_then(|d| u32::from_str_radix(d, 16).ok()).ok_or(Damage::NoChecksum)?;
    let computed = crc32c(body.as_bytes());
    if carried == computed { Ok(body) } else { Err(Damage::Checksum { carried, computed }) }
}

fn escape_into(out: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            other => out.push(other),
        }
    }
}

fn unescape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, false) => out.push(c),
            (_, true) => match chars.next() {
                Some('n') => out.push('\n'),
                Some('r') => out.push('\r'),
                Some(other) => out.push(other),
                None => {}
            },
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Vec<u8> {
        let mut writer = Writer::new("test");
        writer.field("arg", "a b").field("arg", "two\nlines\r\\n").field("empty", "").field("n", 7);
        writer.finish()
    }

    #[test]
    fn values_with_line_breaks_and_backslashes_read_back() {
        let fields = Fields::parse("test", &record()).unwrap();
        assert_eq!(fields.all("arg").collect::<Vec<_>>(), ["a b", "two\nlines\r\\n"]);
        assert_eq!(fields.text("empty"), Ok(""));
        assert_eq!(fields.value::<u32>("n"), Ok(7));
        assert_eq!(fields.optional::<u32>("absent"), Ok(None));
        assert_eq!(fields.value::<u32>("absent"), Err(Damage::Missing("absent")));
    }

    #[test]
    fn every_flipped_or_missing_byte_is_damage() {
        let good = record();
        for position in 0..good.len() {
            let mut bad = good.clone();
            bad[position] ^= 1;
            assert!(Fields::parse("test", &bad).is_err(), "byte {position}");
            assert!(Fields::parse("test", &good[..position]).is_err(), "cut at {position}");
        }
    }

    fn pair() -> Vec<u8> {
        let mut second = Writer::new("second");
        second.field("n", 8);
        [record(), second.finish()].concat()
    }

    #[test]
    fn each_of_two_records_in_one_file_is_found_and_a_third_is_not() {
        let bytes = pair();
        let number =
            |kind| Fields::find(kind, "test", &bytes).unwrap().map(|fields| fields.value::<u32>("n"));
        assert_eq!([number("test"), number("second"), number("third")], [Some(Ok(7)), Some(Ok(8)), None]);
    }

    #[test]
    fn a_record_that_is_being_added_is_not_there_yet_and_does_not_hide_the_one_before() {
        let bytes = pair();
        for cut in record().len()..bytes.len() {
            let found = |kind| Fields::find(kind, "test", &bytes[..cut]).unwrap().is_some();
            assert_eq!((found("test"), found("second")), (true, false), "cut at {cut}");
        }
    }

    #[test]
    fn a_file_without_the_record_of_its_name_is_damaged() {
        let bytes = pair();
        for cut in 0..bytes.len() {
            assert!(Fields::find("second", "second", &bytes[..cut]).is_err(), "cut at {cut}");
        }
        for position in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[position] ^= 1;
            let first = Fields::find("test", "test", &bad);
            let second = Fields::find("second", "second", &bad);
            assert!(first.is_err() || second.is_err(), "byte {position}");
        }
    }

    #[test]
    fn another_kind_is_refused_by_name() {
        let found = Fields::parse("other", &record()).unwrap_err();
        assert_eq!(
            found,
            Damage::Header { expected: "paceline other 1".into(), found: "paceline test 1".into() }
        );
    }
}
