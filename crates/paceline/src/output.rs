//! How answers are printed: tables and sentences for people, one JSON document for scripts.

use std::io::Write;

use anyhow::Result;
use comfy_table::{Table, presets};
use serde_json::Value;

use crate::cli::Output;

/// Prints a sentence, or its JSON.
pub fn message(format: Output, text: &str, json: &Value) -> Result<()> {
    match format {
        Output::Table => print(text),
        Output::Json => print(&serde_json::to_string_pretty(json)?),
    }
}

/// Prints rows under a heading, or their JSON.
pub fn table(format: Output, heading: &[&str], rows: Vec<Vec<String>>, json: &Value) -> Result<()> {
    if format == Output::Json {
        return print(&serde_json::to_string_pretty(json)?);
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(heading.iter().copied());
    rows.into_iter().for_each(|row| {
        table.add_row(row);
    });
    print(&table.trim_fmt())
}

/// Prints a line; a reader that went away is no error.
pub fn print(text: &str) -> Result<()> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        outcome => Ok(outcome?),
    }
}

/// Prints fields, one a line, or their JSON.
pub fn fields(format: Output, rows: Vec<Vec<String>>, json: &Value) -> Result<()> {
    if format == Output::Json {
        return print(&serde_json::to_string_pretty(json)?);
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    rows.into_iter().for_each(|row| {
        table.add_row(row);
    });
    print(&table.trim_fmt())
}

/// A document as fields, one a line: `labels.zone  east`.
pub fn flat(json: &Value) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    flatten("", json, &mut rows);
    rows
}

fn flatten(path: &str, json: &Value, rows: &mut Vec<Vec<String>>) {
    match json {
        Value::Object(fields) => {
            for (name, value) in fields {
                let inner = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                flatten(&inner, value, rows);
            }
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(text).collect();
            rows.push(vec![path.to_owned(), items.join(", ")]);
        }
        other => rows.push(vec![path.to_owned(), text(other)]),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
