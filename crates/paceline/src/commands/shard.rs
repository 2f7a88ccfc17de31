//! `paceline shard list` and `paceline shard remove`; the role is started in `roles`.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::{Value, json};

use super::{connect, show};
use crate::cli::{CellOptions, ShardCommand};
use crate::output;

/// Runs one command.
pub async fn run(command: ShardCommand, options: &CellOptions) -> Result<ExitCode> {
    let client = connect::client(options).await?;
    match command {
        ShardCommand::List => {
            let reply = client.shards().list().await?;
            let row = |shard: &paceline_client::v1::Shard| {
                vec![
                    shard.id.to_string(),
                    shard.name.clone(),
                    shard.address.clone(),
                    show::link(shard).to_owned(),
                    show::count_text(shard.nodes),
                ]
            };
            let shards = reply.shards.iter().map(show::shard_json).collect::<Vec<Value>>();
            let json = json!({"shards": shards, "list_version": reply.list_version});
            let rows = reply.shards.iter().map(row).collect();
            output::table(options.output, &["ID", "SHARD", "ADDRESS", "LINK", "NODES"], rows, &json)?;
        }
        ShardCommand::Remove { shard } => {
            let reply = client.shards().remove(&shard).await?;
            let text = format!("shard {shard}: removed at revision {}", reply.revision);
            output::message(options.output, &text, &json!({"shard": shard, "revision": reply.revision}))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
