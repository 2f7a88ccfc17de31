//! Structured log lines on standard error. What is worth a line is each crate's own decision.

use std::io::IsTerminal;
use std::str::FromStr;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::quiet::Quiet;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people; coloured on a terminal.
    #[default]
    Text,
    /// One JSON object a line, for collectors.
    Json,
}

impl FromStr for LogFormat {
    type Err = InitTracingError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(InitTracingError::Format { presented: text.to_owned() }),
        }
    }
}

/// Why log lines could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum InitTracingError {
    /// Not a format.
    #[error("{presented:?} is not a log format; the formats are text and json")]
    Format {
        /// The text as it was given.
        presented: String,
    },
    /// Not a filter.
    #[error("{presented:?} is not a log filter; expected is a level or TARGET=LEVEL,…")]
    Filter {
        /// The text as it was given.
        presented: String,
        /// What is wrong with it.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// A process has one subscriber, and it was set before.
    #[error("log lines are set up already")]
    Twice,
}

/// Sends the process's log lines to standard error; `filter` is a level or `TARGET=LEVEL,…`. Once only. What a library says
/// again and again is thinned, unless debug lines are asked for.
pub fn init_tracing(format: LogFormat, filter: &str) -> Result<(), InitTracingError> {
    let filter = EnvFilter::try_new(filter)
        .map_err(|source| InitTracingError::Filter { presented: filter.to_owned(), source })?;
    let wants_all = filter.max_level_hint().is_none_or(|most| most >= LevelFilter::DEBUG);
    let quiet = (!wants_all).then(Quiet::default);
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(format == LogFormat::Text && std::io::stderr().is_terminal());
    let installed = match format {
        LogFormat::Text => lines.finish().with(quiet).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).finish().with(quiet).try_init(),
    };
    installed.map_err(|_| InitTracingError::Twice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_filter_and_a_wrong_format_are_named() {
        let filter = init_tracing(LogFormat::Text, "paceline=loud").unwrap_err();
        assert!(filter.to_string().contains("paceline=loud"), "{filter}");
        let format = "xml".parse::<LogFormat>().unwrap_err();
        assert!(format.to_string().contains("xml"), "{format}");
    }

    #[test]
    fn setting_up_twice_is_an_error_and_not_a_panic() {
        let first = init_tracing(LogFormat::Json, "warn");
        let second = init_tracing(LogFormat::Text, "info");
        assert!(first.is_ok());
        assert!(matches!(second, Err(InitTracingError::Twice)));
    }
}
