//! The beginning of a cell: one master asks the others who they are, and makes all of them its voters at once.

use std::time::Duration;

use paceline_replica::{InitializeError, Member, NO_RAFT_ID, Replica};
use tokio::time::sleep;

use crate::config::{Founder, MasterConfig};

/// First and longest pause before a founder that did not answer is asked again: it may still be starting.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Begins the cell, if this disk is pristine. Founders are waited for as long as it takes: a cell that begins with
/// fewer masters than it was asked for would look like one that has them.
/// A cell that exists is left as it is, since a restart repeats the request.
pub(crate) async fn begin_cell(
    replica: &Replica,
    config: &MasterConfig,
    founders: &[Founder],
) -> Result<(), InitializeError> {
    if !replica.status().members.is_empty() {
        return Ok(());
    }
    let mut members = vec![Member {
        raft_id: config.raft_id,
        name: config.name.clone(),
        peer_address: config.peer_address.clone(),
        api_address: config.api_address.clone(),
        disk_id: replica.disk_id(),
        replaces: None,
    }];
    for founder in founders {
        members.push(ask(replica, founder, &config.name).await?);
    }
    match replica.initialize(members).await {
        Err(InitializeError::OtherMembers { found }) => {
            tracing::info!(masters = found.join(", "), "the cell exists already");
            Ok(())
        }
        outcome => outcome,
    }
}

async fn ask(replica: &Replica, founder: &Founder, me: &str) -> Result<Member, InitializeError> {
    let mut pause = PAUSE_FIRST;
    loop {
        match replica.probe(&founder.peer_address, &founder.name).await {
            // This disk knows no masters, and that one does: this one has lost what it was.
            Ok(description) if description.has_begun => {
                let (by, me) = (founder.name.clone(), me.to_owned());
                return Err(InitializeError::HasBegun { by, me });
            }
            Ok(description) if description.raft_id == NO_RAFT_ID => {
                tracing::warn!(founder = founder.name, "waits to join a cell (--join) and cannot begin one");
            }
            Ok(description) => {
                return Ok(Member {
                    raft_id: description.raft_id,
                    name: description.name,
                    peer_address: founder.peer_address.clone(),
                    api_address: founder.api_address.clone(),
                    disk_id: description.disk_id,
                    replaces: None,
                });
            }
            Err(error) => {
                tracing::info!(founder = founder.name, %error, "waiting for a founder of the cell");
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}
