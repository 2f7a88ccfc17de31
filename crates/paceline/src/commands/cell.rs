//! `paceline cell`.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use paceline_client::{Client, v1};
use paceline_types::Revision;
use serde_json::json;

use super::{connect, show};
use crate::cli::{CellCommand, CellOptions};
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
            let (revision, bytes) = snapshot(&client, &file).await?;
            let text = format!("the state at revision {revision} is in {}: {bytes} bytes", file.display());
            output::message(
                options.output,
                &text,
                &json!({"revision": revision, "bytes": bytes, "file": file}),
            )?;
        }
        CellCommand::TransferLeadership { to } => {
            let reply = client.cell().transfer_leadership(to.as_deref()).await?;
            let text = format!("{} leads in term {}", reply.leader, reply.term);
            output::message(options.output, &text, &json!({"leader": reply.leader, "term": reply.term}))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The setting whose value is a list of labels.
const FAILURE_DOMAINS: &str = "failure_domains";

async fn change(client: &Client, changes: &[(String, String)]) -> Result<v1::CellConfig> {
    let mut config = v1::CellConfig::default();
    for (name, value) in changes {
        if name == FAILURE_DOMAINS {
            let labels = value.split(',').filter(|label| !label.is_empty()).map(str::to_owned).collect();
            config.failure_domains = Some(v1::FailureDomains { labels });
        } else {
            let number = value.parse().with_context(|| format!("{name}: `{value}` is not a whole number"))?;
            config.settings.insert(name.clone(), number);
        }
    }
    Ok(client.cell().set_config(config).await?)
}

/// Writes the state beside the file and renames it, so that half a snapshot never has the name.
async fn snapshot(client: &Client, file: &Path) -> Result<(u64, u64)> {
    anyhow::ensure!(!file.exists(), "{} exists already", file.display());
    let beside = file.with_extension("part");
    let wrong = || format!("cannot write {}", beside.display());
    let mut target =
        OpenOptions::new().write(true).create(true).truncate(true).open(&beside).with_context(wrong)?;
    let mut pieces = client.cell().snapshot().await?;
    let mut bytes = 0;
    while let Some(piece) = pieces.next().await? {
        target.write_all(&piece).with_context(wrong)?;
        bytes += piece.len() as u64;
    }
    target.sync_all().with_context(wrong)?;
    std::fs::rename(&beside, file).with_context(wrong)?;
    Ok((pieces.revision().map_or(0, |revision| revision.0), bytes))
}
