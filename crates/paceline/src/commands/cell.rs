//! `paceline cell`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use paceline_client::{Client, v1};
use paceline_types::Revision;
use serde_json::{Value, json};

use super::part::PartFile;
use super::{connect, show};
use crate::cli::{BrakeCommand, CellCommand, CellOptions};
use crate::exit::{FaultyInput, InputFault};
use crate::output;

/// Runs one command.
pub async fn run(command: CellCommand, options: &CellOptions) -> Result<ExitCode> {
    let client = connect::client(options).await?;
    match command {
        CellCommand::Status { at_revision } => {
            let status = client.cell().status_at(Revision(at_revision)).await?;
            output::fields(options.output, show::cell_rows(&status), &show::cell_json(&status))?;
        }
        CellCommand::Config { changes } => {
            let config = if changes.is_empty() {
                client.cell().config().await?
            } else {
                change(&client, &changes).await?
            };
            let json = json!({
                "settings": config.settings,
                "failure_domains": config.failure_domains.unwrap_or_default().labels,
            });
            output::fields(options.output, output::flat(&json), &json)?;
        }
        CellCommand::Snapshot { file } => {
            let json = snapshot(&client, &file).await?;
            output::fields(options.output, output::flat(&json), &json)?;
        }
        CellCommand::Member { command } => super::member::run(command, &client, options).await?,
        CellCommand::Brake { command: BrakeCommand::Release } => {
            let released = client.cell().release_brake().await?;
            let text = if released { "the brake is off" } else { "the brake was not on" };
            output::message(options.output, text, &json!({"released": released}))?;
        }
        CellCommand::TransferLeadership { to } => {
            let reply = client.cell().transfer_leadership(to.as_deref()).await?;
            handed_to(to.as_deref(), &reply)?;
            let text = format!("{} leads in term {}", reply.leader, reply.term);
            output::message(options.output, &text, &json!({"leader": reply.leader, "term": reply.term}))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Whoever leads now may be another than was asked for: an election went its own way.
fn handed_to(to: Option<&str>, reply: &v1::TransferLeadershipReply) -> Result<()> {
    match to {
        Some(to) if to != reply.leader => {
            anyhow::bail!("{to} does not lead: {} does, in term {}", reply.leader, reply.term)
        }
        _ => Ok(()),
    }
}

/// The setting whose value is a list of labels.
const FAILURE_DOMAINS: &str = "failure_domains";

async fn change(client: &Client, changes: &[(String, String)]) -> Result<v1::CellConfig> {
    Ok(client.cell().set_config(config_of(changes)?).await?)
}

/// The change as the wire says it; every value that is no number is named.
fn config_of(changes: &[(String, String)]) -> Result<v1::CellConfig> {
    let mut config = v1::CellConfig::default();
    let mut faults = Vec::new();
    for (name, value) in changes {
        if name == FAILURE_DOMAINS {
            let labels = value.split(',').filter(|label| !label.is_empty()).map(str::to_owned).collect();
            config.failure_domains = Some(v1::FailureDomains { labels });
        } else if let Ok(number) = value.parse() {
            config.settings.insert(name.clone(), number);
        } else {
            let (field, value) = (format!("config.{name}"), value.clone());
            faults.push(InputFault { at: String::new(), field, value, expected: "a whole number".into() });
        }
    }
    if faults.is_empty() {
        return Ok(config);
    }
    let message = format!("{} of {} settings cannot be read", faults.len(), changes.len());
    Err(FaultyInput { message, faults }.into())
}

/// Writes the state; half a snapshot never has the name.
async fn snapshot(client: &Client, path: &Path) -> Result<Value> {
    let mut file = PartFile::create(path)?;
    let mut pieces = client.cell().snapshot().await?;
    let mut bytes = 0;
    while let Some(piece) = pieces.next().await? {
        file.write(&piece)?;
        bytes += piece.len() as u64;
    }
    file.finish()?;
    let end = pieces.end().context("the snapshot came without its end")?;
    let revision = pieces.revision().map_or(0, |revision| revision.0);
    Ok(json!({"revision": revision, "bytes": bytes, "file": path, "digest": show::hex(&end.digest)}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_that_is_no_number_is_named_at_once() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let changes = [pair("a", "1"), pair("b", "x"), pair("failure_domains", "rack"), pair("c", "-1")];
        let error = config_of(&changes).expect_err("two are wrong").to_string();
        assert!(error.contains("config.b: `x`") && error.contains("config.c: `-1`"), "{error}");
        let config = config_of(&[pair("a", "1"), pair("failure_domains", "rack,zone")]).expect("good");
        assert_eq!(config.settings["a"], 1);
        assert_eq!(config.failure_domains.map(|domains| domains.labels.len()), Some(2));
    }

    #[test]
    fn a_handover_to_another_master_than_was_asked_for_is_an_error() {
        let reply = v1::TransferLeadershipReply { revision: 9, leader: "m2".into(), term: 5 };
        assert!(handed_to(None, &reply).is_ok() && handed_to(Some("m2"), &reply).is_ok());
        let error = handed_to(Some("m3"), &reply).expect_err("not m3").to_string();
        assert_eq!(error, "m3 does not lead: m2 does, in term 5");
    }
}
