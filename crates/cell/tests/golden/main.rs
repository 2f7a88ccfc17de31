//! Golden bytes: what was stored once is read for ever, and is written the same.
//!
//! Each `.hex` file has lines of `name bytes`. A test that fails prints the lines of today: put them into the
//! file only together with a migration, or when the line is new.

mod entries;
mod replies;
mod states;

use std::collections::BTreeMap;
use std::fmt::Write;

/// Bytes as a line of a golden file has them.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string grows");
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal digits");
    (0..text.len()).step_by(2).map(digit).collect()
}

/// Holds what is written today to a golden file, and returns the golden bytes by name.
fn golden(file: &str, text: &str, today: &[(&str, Vec<u8>)]) -> BTreeMap<String, Vec<u8>> {
    let lines = |sum: String, (name, bytes): &(&str, Vec<u8>)| sum + name + " " + &hex(bytes) + "\n";
    let written = today.iter().fold(String::new(), lines);
    assert!(text == written, "{file} differs from what is written today:\n{written}");
    let line = |line: &str| {
        let (name, bytes) = line.split_once(' ').expect("a name and bytes");
        (name.to_owned(), unhex(bytes))
    };
    text.lines().map(line).collect()
}
