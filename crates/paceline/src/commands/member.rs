//! `paceline cell member`: who is a master, and how one is added, replaced or removed.
//!
//! The cell goes on by itself with what it was asked for. This waits beside it and says how far it is.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use paceline_client::{Client, MasterRef, v1};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{connect, show};
use crate::cli::{CellOptions, MemberCommand, MemberPlace};
use crate::output;

/// Between two looks at a master that catches up.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// Runs one command.
pub async fn run(command: MemberCommand, client: &Client, options: &CellOptions) -> Result<()> {
    match command {
        MemberCommand::List => list(client, options).await,
        MemberCommand::Add { name, place } => {
            let (peer, api) = addresses(&place, &name, options)?;
            let member = client.members().add(&name, &peer, &api).await?.member;
            let member = member.context("the reply names no master")?;
            let done = Done { member: &member, gone: None };
            done.tell(client, options, place.no_wait, &format!("{name}: a master of the cell")).await
        }
        MemberCommand::Replace { name, raft_id, by, place } => {
            let by = by.unwrap_or_else(|| name.clone());
            let (peer, api) = addresses(&place, &by, options)?;
            let member =
                client.members().replace(MasterRef { name: &name, raft_id }, &by, &peer, &api).await?.member;
            let member = member.context("the reply names no master")?;
            let done = Done { member: &member, gone: Some(member.replaces).filter(|id| *id != 0) };
            done.tell(client, options, place.no_wait, &format!("{by}: a master in the place of {name}")).await
        }
        MemberCommand::Remove { name, raft_id } => {
            let removed = client.members().remove(MasterRef { name: &name, raft_id }).await?.removed;
            let text =
                if removed { format!("{name}: removed") } else { format!("{name}: had been removed before") };
            output::message(options.output, &text, &json!({"name": name, "removed": removed}))
        }
    }
}

async fn list(client: &Client, options: &CellOptions) -> Result<()> {
    let reply = client.members().list().await?;
    let members: Vec<Value> = reply.members.iter().map(member_json).collect();
    let json = json!({
        "members": members,
        "members_revision": reply.members_revision,
        "last_revision": reply.last_revision,
        "answered_by": reply.answered_by,
    });
    let rows = reply.members.iter().map(|member| row(member, &reply.members)).collect();
    let heading = ["MASTER", "RAFT ID", "STATE", "LAG", "SILENT", "DISK", "PEER", "API"];
    output::table(options.output, &heading, rows, &json)
}

fn state(member: &v1::Member) -> &'static str {
    match member.state() {
        v1::MemberState::Voter if member.leads => "leader",
        v1::MemberState::Voter => "voter",
        v1::MemberState::Learner => "learner",
        v1::MemberState::Unspecified => "-",
    }
}

fn row(member: &v1::Member, all: &[v1::Member]) -> Vec<String> {
    let old = all.iter().find(|other| other.raft_id == member.replaces);
    let state = match old {
        Some(old) => format!("{}, replaces {}", state(member), old.name),
        None => state(member).to_owned(),
    };
    let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let disk = show::hex(&member.disk_id);
    vec![
        member.name.clone(),
        member.raft_id.to_string(),
        state,
        number(member.lag),
        member.silent_ms.map_or_else(|| "-".to_owned(), |ms| format!("{} s", ms / 1_000)),
        disk.chars().take(8).collect(),
        member.peer_address.clone(),
        member.api_address.clone(),
    ]
}

fn member_json(member: &v1::Member) -> Value {
    json!({
        "name": member.name,
        "raft_id": member.raft_id,
        "state": state(member),
        "votes": member.state() == v1::MemberState::Voter,
        "disk_id": show::hex(&member.disk_id),
        "peer": member.peer_address,
        "api": member.api_address,
        "matched_revision": member.matched_revision,
        "lag": member.lag,
        "silent_ms": member.silent_ms,
        "replaces": (member.replaces != 0).then_some(member.replaces),
    })
}

/// Where a new master is: as the options say, or the description of the cell.
fn addresses(place: &MemberPlace, name: &str, options: &CellOptions) -> Result<(String, String)> {
    if let (Some(peer), Some(api)) = (&place.peer, &place.api) {
        return Ok((peer.clone(), api.clone()));
    }
    let path = connect::folder(options)?.join("cell.json");
    let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let described: Value = serde_json::from_slice(&text)
        .with_context(|| format!("{} is not the description of a cell", path.display()))?;
    let masters = described["masters"].as_array().map(Vec::as_slice).unwrap_or_default();
    let known = masters.iter().find(|master| master["name"] == name);
    let said = |field: &str| known.and_then(|master| master[field].as_str()).map(str::to_owned);
    let peer = place.peer.clone().or_else(|| said("peer"));
    let api = place.api.clone().or_else(|| said("api"));
    let missing = |option| format!("where is {name}? Give {option}: cell.json does not say it");
    Ok((peer.with_context(|| missing("--peer"))?, api.with_context(|| missing("--api"))?))
}

/// What has to be so in the end.
struct Done<'a> {
    member: &'a v1::Member,
    /// This one is gone.
    gone: Option<u64>,
}

impl Done<'_> {
    async fn tell(&self, client: &Client, options: &CellOptions, no_wait: bool, text: &str) -> Result<()> {
        let member = if no_wait { self.member.clone() } else { self.wait(client, options).await? };
        let rest = match member.state() {
            v1::MemberState::Voter => "",
            _ => ", without a vote until it has caught up",
        };
        let text = format!("{text} (Raft id {}){rest}", member.raft_id);
        output::message(options.output, &text, &member_json(&member))
    }

    /// Waits for as long as it moves on; a master that stands still for the time-out is not waited for any longer.
    async fn wait(&self, client: &Client, options: &CellOptions) -> Result<v1::Member> {
        let patience = Duration::from_secs(options.timeout);
        let (mut moved, mut last) = (Instant::now(), None);
        loop {
            let reply = client.members().list().await?;
            let is_there = |id: u64| reply.members.iter().find(|member| member.raft_id == id);
            let Some(member) = is_there(self.member.raft_id) else {
                bail!("{} was removed again before it had a vote", self.member.name);
            };
            let waits_for = self.gone.and_then(is_there);
            if member.state() == v1::MemberState::Voter && waits_for.is_none() {
                return Ok(member.clone());
            }
            let now = (member.state, member.matched_revision, waits_for.is_some());
            if last != Some(now) {
                (moved, last) = (Instant::now(), Some(now));
                eprintln!("{}", progress(member, &reply, waits_for));
            }
            if moved.elapsed() >= patience {
                bail!(
                    "{}, and nothing has moved for {} s. The cell goes on by itself: paceline cell member list shows how far it is",
                    progress(member, &reply, waits_for),
                    options.timeout
                );
            }
            sleep(LOOK_EVERY).await;
        }
    }
}

fn progress(member: &v1::Member, reply: &v1::ListMembersReply, waits_for: Option<&v1::Member>) -> String {
    let name = &member.name;
    match (member.state(), member.matched_revision, reply.last_revision, waits_for) {
        (v1::MemberState::Voter, _, _, Some(old)) => format!("{name} votes, {} is about to go", old.name),
        (_, Some(matched), Some(last), _) => format!("{name} has {matched} of {last} entries and no vote"),
        _ => format!("{name} has not answered the leader yet and has no vote"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, raft_id: u64, state: v1::MemberState) -> v1::Member {
        v1::Member { name: name.into(), raft_id, state: state.into(), ..v1::Member::default() }
    }

    #[test]
    fn a_master_that_replaces_another_says_whom_and_how_far_it_is() {
        let old = member("m1", 1, v1::MemberState::Voter);
        let new = v1::Member {
            replaces: 1,
            matched_revision: Some(30),
            lag: Some(70),
            ..member("m4", 1_048_600, v1::MemberState::Learner)
        };
        let all = [old.clone(), new.clone()];
        assert_eq!(row(&new, &all)[2..4], ["learner, replaces m1".to_owned(), "70".to_owned()]);
        assert_eq!(row(&old, &all)[3], "-", "what is not known is not shown as zero");
        let json = member_json(&new);
        assert_eq!((&json["replaces"], &json["votes"]), (&json!(1), &json!(false)));
        let reply = v1::ListMembersReply { last_revision: Some(100), ..v1::ListMembersReply::default() };
        assert_eq!(progress(&new, &reply, Some(&old)), "m4 has 30 of 100 entries and no vote");
        let votes = v1::Member { state: v1::MemberState::Voter.into(), ..new };
        assert_eq!(progress(&votes, &reply, Some(&old)), "m4 votes, m1 is about to go");
    }
}
