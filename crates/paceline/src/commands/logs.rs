//! `paceline job logs`: the bytes as the task wrote them, or one JSON document per line.

use std::io::{ErrorKind, Write};

use anyhow::Result;
use paceline_client::v1::ErrorCode;
use paceline_client::{Client, ClientError, Logs, LogsOf};
use serde_json::json;

use super::connect;
use crate::cli::{LogsArgs, Output};

/// Longest line of a JSON document; a longer one is printed in parts.
const LINE_BYTES_MAX: usize = 64 << 10;
/// Most that is held to find the last lines. A node keeps half of it of one stream.
const TAIL_BYTES_MAX: usize = 16 << 20;

/// Prints what was asked for. Whoever reads us may stop reading: that is no error.
pub async fn print(client: &Client, of: LogsArgs, format: Output) -> Result<()> {
    let LogsArgs { job, task, attempt, stderr, follow, tail, offset } = of;
    let begin = LogsOf { task, attempt, stderr, offset, max_bytes: 0, follow: follow && tail.is_none() };
    let mut logs = client.jobs().logs(connect::job(&job), begin);
    let mut printer = Printer { out: std::io::stdout(), format, at: Some(offset), attempt, line: Vec::new() };
    if let Some(lines) = tail {
        let last = last_lines(&mut logs, lines, follow).await?;
        printer.at = None;
        if !printer.piece(last.attempt, last.offset, &last.bytes)? {
            return Ok(());
        }
        if follow {
            logs.follow();
        }
    }
    if tail.is_none() || follow {
        while let Some(piece) = logs.next().await? {
            if !printer.piece(piece.attempt, piece.offset, &piece.data)? {
                return Ok(());
            }
        }
    }
    printer.rest()
}

/// The end of what is there.
struct LastLines {
    attempt: u32,
    /// Position of the first byte.
    offset: u64,
    bytes: Vec<u8>,
}

async fn last_lines(logs: &mut Logs, lines: usize, follow: bool) -> Result<LastLines> {
    let (mut held, mut end, mut attempt) = (Vec::new(), 0, 0);
    loop {
        match logs.next().await {
            Ok(None) => break,
            Ok(Some(piece)) => {
                (attempt, end) = (piece.attempt, piece.offset + piece.data.len() as u64);
                held.extend_from_slice(&piece.data);
                let above = held.len().saturating_sub(TAIL_BYTES_MAX);
                held.drain(..above);
            }
            // An attempt that has not begun has no lines; whoever follows waits for it.
            Err(ClientError::Refused(detail)) if follow && detail.code() == ErrorCode::Conflict => break,
            Err(error) => return Err(error.into()),
        }
    }
    let bytes = held.split_off(start_of_last(&held, lines));
    Ok(LastLines { attempt, offset: end - bytes.len() as u64, bytes })
}

/// Where the last lines begin. What follows the last line feed is a line too.
fn start_of_last(bytes: &[u8], lines: usize) -> usize {
    let Some(lines) = lines.checked_sub(1) else { return bytes.len() };
    let body = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let feeds = body.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
    feeds.map(|(at, _)| at + 1).nth(lines).unwrap_or(0)
}

/// Prints pieces in order.
struct Printer<W> {
    out: W,
    format: Output,
    /// The position expected next, where something before it would be missed.
    at: Option<u64>,
    /// Of the last piece.
    attempt: u32,
    /// A line that has not ended, for JSON.
    line: Vec<u8>,
}

impl<W: Write> Printer<W> {
    /// Prints one piece; false when nobody reads any more.
    fn piece(&mut self, attempt: u32, offset: u64, data: &[u8]) -> Result<bool> {
        if let Some(at) = self.at.replace(offset + data.len() as u64).filter(|at| offset > *at) {
            eprintln!(
                "note: bytes {at} to {} were removed on the node to keep the output within its bounds",
                offset - 1
            );
        }
        self.attempt = attempt;
        let written = match self.format {
            Output::Table => self.out.write_all(data),
            Output::Json => self.lines(offset, data),
        };
        match written.and_then(|()| self.out.flush()) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// One document per line: `{"attempt": 1, "end_offset": 12, "line": "…"}`. To go on after it, ask from there.
    fn lines(&mut self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        for (at, byte) in (offset..).zip(data) {
            if *byte != b'\n' {
                self.line.push(*byte);
            }
            if *byte == b'\n' || self.line.len() >= LINE_BYTES_MAX {
                self.document(at + 1)?;
            }
        }
        Ok(())
    }

    fn document(&mut self, end: u64) -> std::io::Result<()> {
        let line = String::from_utf8_lossy(&self.line);
        writeln!(self.out, "{}", json!({"attempt": self.attempt, "end_offset": end, "line": line}))?;
        self.line.clear();
        Ok(())
    }

    /// The last line, where no line feed ended it.
    fn rest(&mut self) -> Result<()> {
        if self.line.is_empty() {
            return Ok(());
        }
        match self.document(self.at.unwrap_or_default()) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_found_whether_or_not_the_last_one_has_ended() {
        for (text, lines, rest) in [
            ("a\nb\nc\n", 2, "b\nc\n"),
            ("a\nb\nc", 2, "b\nc"),
            ("a\nb\nc\n", 9, "a\nb\nc\n"),
            ("a\nb\n", 0, ""),
            ("\n\n\n", 1, "\n"),
            ("", 3, ""),
        ] {
            assert_eq!(&text[start_of_last(text.as_bytes(), lines)..], rest, "{text:?} {lines}");
        }
    }

    fn printed(format: Output, pieces: &[(u64, &str)]) -> String {
        let mut printer = Printer { out: Vec::new(), format, at: Some(0), attempt: 0, line: Vec::new() };
        for (offset, data) in pieces {
            assert!(printer.piece(2, *offset, data.as_bytes()).expect("written"));
        }
        printer.rest().expect("written");
        String::from_utf8(printer.out).expect("text")
    }

    #[test]
    fn bytes_are_printed_as_they_came() {
        assert_eq!(printed(Output::Table, &[(0, "a\nb"), (3, "c\n")]), "a\nbc\n");
    }

    #[test]
    fn json_is_one_document_per_line_across_pieces() {
        let documents = printed(Output::Json, &[(0, "a\nb"), (3, "c\nrest")]);
        let lines: Vec<serde_json::Value> =
            documents.lines().map(|line| serde_json::from_str(line).expect("a document")).collect();
        assert_eq!(
            lines,
            [
                json!({"attempt": 2, "end_offset": 2, "line": "a"}),
                json!({"attempt": 2, "end_offset": 5, "line": "bc"}),
                json!({"attempt": 2, "end_offset": 9, "line": "rest"}),
            ]
        );
    }

    #[test]
    fn a_line_without_end_is_printed_in_parts() {
        let documents = printed(Output::Json, &[(0, &"x".repeat(LINE_BYTES_MAX + 1))]);
        assert_eq!(documents.lines().count(), 2);
    }
}
