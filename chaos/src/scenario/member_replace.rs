//! `member-replace`: every master that the cell began with is replaced by a new one, one after another, while small jobs
//! are submitted: the first alive, the second after it was killed, and at the third the leader is killed half-way.
//!
//! ```text
//! small jobs ├────────────────────────────────────────────────────┤ each: acknowledged, refused or unknown
//! m1 ► m4 (alive)    m2 ☠ ► m5, m2 comes back and ends    m3 ► m6, the leader ☠ as soon as m6 is a member
//! ```
//!
//! What was asked for is part of the membership, so the next leader goes on with it. Afterwards only new masters are left,
//! and what was acknowledged by the old ones is held against them.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use paceline_client::{Client, v1};

use super::{Options, checks, frame, masters};
use crate::cell::{DevCell, MASTERS};
use crate::report::{Replacement, Report};
use crate::wait::{ms_since, until};

/// A new master receives the whole state first; on a machine that does much else.
const REPLACED_WITHIN: Duration = Duration::from_secs(180);
/// A master that was removed asks the others after two seconds of silence.
const GONE_WITHIN: Duration = Duration::from_secs(60);
/// An election takes a second or so; longer than this is an outage.
const NEXT_WRITE_WITHIN: Duration = Duration::from_secs(60);

/// How a master is replaced.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Alive,
    Dead,
    LeaderDies,
}

impl How {
    const fn of(number: usize) -> Self {
        match number % 3 {
            1 => Self::Alive,
            2 => Self::Dead,
            _ => Self::LeaderDies,
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Dead => "dead",
            Self::LeaderDies => "leader killed half-way",
        }
    }
}

/// Runs it against a cell that brings nothing back by itself.
pub async fn run(cell: &DevCell, options: &Options, report: &mut Report) -> Result<()> {
    frame::run(cell, options, report, "replacement", async |client, number, report| {
        if number > MASTERS {
            bail!("the cell began with {MASTERS} masters: there is no other to replace");
        }
        let replacement = replace(cell, client, number).await?;
        eprintln!("replacement {number}: {}", replacement.text());
        report.replacements.push(replacement);
        Ok(())
    })
    .await
}

async fn replace(cell: &DevCell, client: &Client, number: usize) -> Result<Replacement> {
    let (old, new) = (format!("m{number}"), format!("m{}", number + MASTERS));
    let (how, part) = (How::of(number), format!("master:{number}"));
    if how == How::Dead {
        masters::kill(masters::process_of(cell, &old)?.with_context(|| format!("{old} does not run"))?)
            .await?;
    }
    cell.join(&format!("master:{}", number + MASTERS)).await?;
    let parts = cell.parts()?;
    let entry = parts.master(&new).with_context(|| format!("cell.json does not name {new}"))?;
    let missing = || format!("cell.json does not say where {new} is");
    let (peer, api) = (entry.peer.as_ref().with_context(missing)?, entry.api.as_ref().with_context(missing)?);

    let asked = Instant::now();
    // As an operator would: for as long as it takes, failovers included.
    let operator = client.within(REPLACED_WITHIN);
    operator.members().replace(old.as_str(), &new, peer, api).await.context("the call failed")?;
    let (killed, learner_lag_at_kill) = match how {
        How::LeaderDies => {
            let (leader, lag) = kill_leader(cell, client, &new).await?;
            (Some(leader), lag)
        }
        How::Alive | How::Dead => (None, None),
    };
    wait_replaced(client, &old, &new).await?;
    let ms_to_replaced = ms_since(asked);
    let node = cell.parts()?.agents.first().context("the cell has no agent")?.node.clone();
    checks::tiny_write(&client.within(NEXT_WRITE_WITHIN), &node, number).await?;

    if let Some(leader) = killed.as_ref().filter(|leader| **leader != old) {
        let id = leader.trim_start_matches('m');
        cell.start_again(&format!("master:{id}")).await?;
    }
    if masters::process_of(cell, &old)?.is_none() {
        // It comes back, hears that it was removed, and ends.
        cell.start_again(&part).await?;
    }
    let gone = || async {
        let parts = cell.parts().map_err(|error| format!("{error:#}"))?;
        match parts.master(&old) {
            None => Ok(()),
            Some(master) => Err(format!("cell.json names it as process {:?}", master.pid)),
        }
    };
    until(&format!("the end of {old}"), GONE_WITHIN, gone).await?;
    let ms_to_gone = ms_since(asked);
    Ok(Replacement {
        old,
        new,
        how: how.words(),
        killed_leader: killed,
        learner_lag_at_kill,
        ms_to_replaced,
        ms_to_gone,
    })
}

/// Kills whoever leads; returns its name and how many entries the new one lacked. One look says who leads and whether
/// the new one votes: a kill after the promotion would prove nothing. A promotion between the look and the kill is
/// possible still, in a moment that is short beside the catching up.
async fn kill_leader(cell: &DevCell, client: &Client, new: &str) -> Result<(String, Option<u64>)> {
    let members = client.members().list().await.context("the masters cannot be listed")?.members;
    let leader =
        members.iter().find(|member| member.leads).context("the answering master names no leader")?;
    let process = masters::process_of(cell, &leader.name)?;
    let process = process.with_context(|| format!("{} has no process in cell.json", leader.name))?;
    let Some(learner) = waiting_for_vote(&members, new) else {
        bail!("{new} had its vote before the leader could be killed: nothing was half-way, run it again");
    };
    masters::kill(process).await?;
    Ok((leader.name.clone(), learner.lag))
}

/// A master, where it is a member without a vote.
fn waiting_for_vote<'a>(members: &'a [v1::Member], name: &str) -> Option<&'a v1::Member> {
    let learns = |member: &&v1::Member| member.state() == v1::MemberState::Learner;
    members.iter().filter(learns).find(|member| member.name == name)
}

async fn wait_replaced(client: &Client, old: &str, new: &str) -> Result<()> {
    let look = || async {
        let members = client.members().list().await.map_err(|error| error.to_string())?.members;
        let votes = |member: &v1::Member| member.state() == v1::MemberState::Voter;
        let is_in = members.iter().any(|member| member.name == new && votes(member));
        let is_out = members.iter().all(|member| member.name != old);
        let all: Vec<String> = members
            .iter()
            .map(|it| format!("{} {} lag {:?}", it.name, it.state().as_str_name(), it.lag))
            .collect();
        if is_in && is_out { Ok(()) } else { Err(all.join(", ")) }
    };
    until(&format!("{new} in the place of {old}"), REPLACED_WITHIN, look).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_member_without_a_vote_is_half_way() {
        let member = |name: &str, state: v1::MemberState| v1::Member {
            name: name.into(),
            state: state.into(),
            ..v1::Member::default()
        };
        let members = [member("m1", v1::MemberState::Voter), member("m6", v1::MemberState::Learner)];
        assert!(waiting_for_vote(&members, "m6").is_some());
        assert!(waiting_for_vote(&members, "m1").is_none(), "it votes");
        assert!(waiting_for_vote(&members, "m7").is_none(), "it is no member");
    }
}
