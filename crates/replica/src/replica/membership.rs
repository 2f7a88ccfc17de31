//! Changing the masters of a running cell: one at a time, with Raft ids that are never used twice.
//!
//! An id is minted from the index of an entry of its own, so it is unique for ever; a member may only join with an id that
//! was minted after the last change of the membership, so an id cannot come back after it was removed. (An empty disk
//! under an old id could elect itself under an old configuration and lose what the cell acknowledged.)
//!
//! ```text
//! join: probe ─► mint ─► adopt (the new disk keeps the id) ─► member without a vote, and whom it replaces
//!                                    driver, on whoever leads ─► caught up? ─► vote, and the replaced one goes
//! ```

mod changes;
mod dismissal;
mod driver;
mod picture;

use std::time::Duration;

use super::Replica;
use super::errors::MembershipError;
use crate::log::NO_RAFT_ID;
use crate::member::{Member, leads_to};
use changes::Change;
use picture::{Picture, Step, TooFew};

pub use changes::Changes;
pub use dismissal::{Dismissal, Hearing, removed_at, start as watch_for_dismissal};
pub use driver::start as drive;

/// Ids below this are the operator's, for the first members; minted ids lie above.
pub const FIRST_MINTED_RAFT_ID: u64 = 1 << 20;
/// Members at once, those without a vote included: seven voters and room for two that are on their way.
pub const MEMBERS_MAX: usize = 9;
/// A new member has to receive the whole state before it may vote.
const CATCH_UP_DEADLINE: Duration = Duration::from_secs(600);
/// A master that waits writes its id to its disk within this time.
const ADOPT_DEADLINE: Duration = Duration::from_secs(10);

/// A master that runs and waits to be taken into the cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMaster {
    /// The name in its certificate.
    pub name: String,
    /// Where the other masters reach it.
    pub peer_address: String,
    /// Where clients and shards reach it.
    pub api_address: String,
    /// The master that goes when this one has the vote.
    pub replaces: Option<Leaving>,
}

/// A master that is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaving {
    /// Its name.
    pub name: String,
    /// Its Raft id, where the caller knows it: then a repeated call is known to be one.
    pub raft_id: Option<u64>,
}

impl Replica {
    /// Mints the Raft id of a master that is to join. Only on the leader.
    pub async fn mint_raft_id(&self) -> Result<u64, MembershipError> {
        self.inner.changes.begin().await.mint().await
    }

    /// Makes a master that waits a member without a vote; it gets its vote as soon as it has caught up, and then the one
    /// that it replaces goes, whoever leads by then. Repeating it is fine. Only on the leader.
    pub async fn join_master(&self, new: NewMaster) -> Result<Member, MembershipError> {
        let change = self.inner.changes.begin().await;
        let (picture, seen) = self.inner.changes.picture()?;
        let replaces = match &new.replaces {
            None => None,
            Some(old) => match find(&picture, old) {
                Some(member) => Some(member.raft_id),
                None => return replaced_before(&picture, &new, old),
            },
        };
        let heir_of = replaces.and_then(|old| picture.learner_in_place(old));
        let going: Vec<u64> = replaces.into_iter().chain(heir_of.map(|(_, old)| old)).collect();
        if let Some(known) = named(&picture, &new, &going) {
            return self.joined_before(known, &new, replaces).await;
        }
        let wished = replaces.and_then(|old| picture.members.values().find(|it| it.replaces == Some(old)));
        if let (Some(by), Some(old)) = (wished, &new.replaces) {
            return Err(MembershipError::Wished { old: old.name.clone(), by: by.clone() });
        }
        if picture.members.len() >= MEMBERS_MAX && heir_of.is_none() {
            return Err(MembershipError::TooMany { members: picture.members.len() });
        }
        check_unused(&picture, &new, &going)?;
        let found = self.probe(&new.peer_address, &new.name).await.map_err(MembershipError::Probe)?;
        let member = Member {
            raft_id: found.raft_id,
            name: new.name,
            peer_address: new.peer_address,
            api_address: new.api_address,
            disk_id: found.disk_id,
            replaces,
        };
        if let Some(by) = picture.members.values().find(|known| known.disk_id == member.disk_id) {
            let repeated =
                replaces == Some(by.raft_id) && place(by) == place(&member) && by.replaces.is_some();
            return if repeated { Ok(by.clone()) } else { Err(MembershipError::Taken { by: by.clone() }) };
        }
        check_said("peer_address", &member.peer_address, &found.peer_address)?;
        check_said("api_address", &member.api_address, &found.api_address)?;
        let member = match found.raft_id {
            NO_RAFT_ID => self.adopt(&change, member).await?,
            raft_id if self.is_fresh(raft_id, &picture) => member,
            raft_id => return Err(MembershipError::StaleId { raft_id }),
        };
        let Some((old, replaces)) = heir_of else {
            change.add(member.clone(), seen).await?;
            return Ok(member);
        };
        let member = Member { replaces: Some(replaces), ..member };
        change.put(member.clone(), old, seen).await?;
        Ok(member)
    }

    /// Gives a waiting master its Raft id.
    async fn adopt(&self, change: &Change<'_>, member: Member) -> Result<Member, MembershipError> {
        let raft_id = change.mint().await?;
        let request = crate::wire::proto::AdoptRequest {
            cell: self.inner.me.cell.clone(),
            disk_id: member.disk_id.to_vec().into(),
            raft_id,
        };
        let client = self.inner.transport.client(&member);
        client.adopt(request, ADOPT_DEADLINE).await.map_err(MembershipError::Adopt)?;
        Ok(Member { raft_id, ..member })
    }

    /// Whether an id was minted after the membership changed last, so that it cannot have been used.
    fn is_fresh(&self, raft_id: u64, picture: &Picture) -> bool {
        let last_log = self.status().last_log.unwrap_or(0);
        let minted_at = raft_id.checked_sub(FIRST_MINTED_RAFT_ID);
        minted_at.is_some_and(|at| at > picture.changed_at && at <= last_log)
    }

    /// The name is a member's: the same master that asks again, or another one.
    async fn joined_before(
        &self,
        known: Member,
        new: &NewMaster,
        replaces: Option<u64>,
    ) -> Result<Member, MembershipError> {
        let same = known.peer_address == new.peer_address && known.api_address == new.api_address;
        if !same || (replaces.is_some() && known.replaces != replaces) {
            return Err(MembershipError::Taken { by: known });
        }
        // One that cannot be asked at the moment is a member all the same.
        match self.probe(&new.peer_address, &new.name).await {
            Ok(found) if found.disk_id != known.disk_id => {
                Err(MembershipError::OtherDisk { known, found: found.disk_id })
            }
            _ => Ok(known),
        }
    }

    /// Makes a running, empty master a voter: it first receives the state, then the vote. Repeating it after an error is
    /// fine. Only on the leader.
    pub async fn add_master(&self, member: Member) -> Result<(), MembershipError> {
        let id = member.raft_id;
        {
            let change = self.inner.changes.begin().await;
            let (picture, seen) = self.inner.changes.picture()?;
            if picture.members.get(&id) != Some(&member) {
                self.check_joining(&member, &picture).await?;
                change.add(member, seen).await?;
            }
        }
        self.votes(id).await
    }

    /// Refuses ids, names and disks that are taken, ids that are stale, and a master that is another than was said.
    async fn check_joining(&self, member: &Member, picture: &Picture) -> Result<(), MembershipError> {
        let raft_id = member.raft_id;
        let taken = picture.members.values().find(|known| {
            known.raft_id == raft_id || known.name == member.name || known.disk_id == member.disk_id
        });
        if let Some(by) = taken {
            return Err(MembershipError::Taken { by: by.clone() });
        }
        if !self.is_fresh(raft_id, picture) {
            return Err(MembershipError::StaleId { raft_id });
        }
        let found = self.probe(&member.peer_address, &member.name).await.map_err(MembershipError::Probe)?;
        if (found.raft_id, found.disk_id) != (raft_id, member.disk_id) {
            return Err(MembershipError::OtherMaster { name: member.name.clone(), raft_id });
        }
        Ok(())
    }

    /// Waits until a member has its vote.
    async fn votes(&self, id: u64) -> Result<(), MembershipError> {
        let mut status = self.subscribe();
        let settled = status.wait_for(|now| !now.leading || now.voters.iter().any(|it| it.raft_id == id));
        let settled = tokio::time::timeout(CATCH_UP_DEADLINE, settled).await;
        let settled = settled.map_err(|_| MembershipError::TooSlow)?;
        let settled = settled.map_err(|error| MembershipError::Unknown { cause: error.to_string() })?;
        if settled.voters.iter().any(|it| it.raft_id == id) {
            return Ok(());
        }
        Err(MembershipError::NotLeader { leader: settled.leader.clone() })
    }

    /// [`Replica::remove`] by name.
    pub async fn remove_master(&self, name: &str) -> Result<(), MembershipError> {
        self.remove(&Leaving { name: name.to_owned(), raft_id: None }).await.map(drop)
    }

    /// Takes the vote and the membership from a master, which ends by itself when it hears of it: its id and disk are
    /// never heard again. Says whether it was still there. Only on the leader; one that is to remove itself lets another
    /// one lead, which is to be asked then.
    pub async fn remove(&self, leaving: &Leaving) -> Result<bool, MembershipError> {
        let change = self.inner.changes.begin().await;
        let (mut picture, mut seen) = self.inner.changes.picture()?;
        if picture.is_joint {
            change.take(Step::Finish, &picture, seen).await?;
            (picture, seen) = self.inner.changes.picture()?;
        }
        check_one(&picture, leaving)?;
        let Some(member) = find(&picture, leaving) else {
            let repeated = leaving.raft_id.is_some_and(|id| !picture.members.contains_key(&id));
            let unknown = || MembershipError::NoSuchMaster { name: leaving.name.clone() };
            return if repeated { Ok(false) } else { Err(unknown()) };
        };
        let id = member.raft_id;
        if picture.voters.contains(&id) {
            let after = picture.without(id);
            if after.is_empty() {
                return Err(MembershipError::LastVoter { name: leaving.name.clone() });
            }
            picture.check_live(&after).map_err(|few| self.too_few(&leaving.name, &few, &picture))?;
        }
        if id == self.inner.me.raft_id {
            drop(change);
            self.inner.handover.hand_over(None).await.map_err(MembershipError::HandOver)?;
            return Err(MembershipError::NotLeader { leader: self.status().leader });
        }
        change.take(Step::Remove(id), &picture, seen).await?;
        Ok(true)
    }

    fn too_few(&self, name: &str, few: &TooFew, picture: &Picture) -> MembershipError {
        let name_of = |id: &u64| picture.members.get(id).map_or("?", |member| member.name.as_str());
        if few.may_pass() {
            let unheard: Vec<&str> = few.unheard.iter().map(name_of).collect();
            let cause = format!("this leader has just begun, and waits to hear from {}", unheard.join(", "));
            return MembershipError::Busy { cause };
        }
        let silences = self.silences();
        let silent = few.silent.iter().map(|id| {
            let name = name_of(id);
            match silences.get(id).copied().flatten() {
                Some(silence) => format!("{name} (for {} s)", silence.as_secs()),
                None => format!("{name} (since this leader leads)"),
            }
        });
        let behind = few.behind.iter().map(|id| match picture.lag(*id) {
            Some(lag) => format!("{} (by {lag} entries)", name_of(id)),
            None => format!("{} (how far is not known yet)", name_of(id)),
        });
        MembershipError::TooFewLive {
            name: name.to_owned(),
            voters: few.voters,
            live: few.live,
            majority: few.majority,
            silent: silent.collect(),
            behind: behind.collect(),
        }
    }
}

/// A member by Raft id where one is given, which its name must fit, or else by name. Of two with one name, while one
/// replaces the other, the one that is replaced.
fn find(picture: &Picture, leaving: &Leaving) -> Option<Member> {
    let named = |member: &&Member| member.name == leaving.name;
    let mut candidates: Vec<&Member> = match leaving.raft_id {
        Some(id) => picture.members.get(&id).filter(named).into_iter().collect(),
        None => picture.members.values().filter(named).collect(),
    };
    candidates.sort_by_key(|member| member.replaces.is_some());
    candidates.first().map(|member| (*member).clone())
}

/// Refuses a name that more than one member has, where only an id tells which one is meant.
fn check_one(picture: &Picture, leaving: &Leaving) -> Result<(), MembershipError> {
    let named = picture.members.values().filter(|member| member.name == leaving.name);
    let raft_ids: Vec<u64> = named.map(|member| member.raft_id).collect();
    if leaving.raft_id.is_some() || raft_ids.len() < 2 {
        return Ok(());
    }
    Err(MembershipError::Ambiguous { name: leaving.name.clone(), raft_ids })
}

/// Refuses an address that another member has, but for those that go.
fn check_unused(picture: &Picture, new: &NewMaster, going: &[u64]) -> Result<(), MembershipError> {
    let others = || picture.members.values().filter(|member| !going.contains(&member.raft_id));
    for (field, value) in [("peer_address", &new.peer_address), ("api_address", &new.api_address)] {
        if let Some(by) = others().find(|it| it.peer_address == *value || it.api_address == *value) {
            let expected = format!("free: it is an address of master {} (Raft id {})", by.name, by.raft_id);
            return Err(MembershipError::Address { field, value: value.clone(), expected });
        }
    }
    Ok(())
}

/// Holds an address against what the master says itself: clients and shards are sent there when it leads.
fn check_said(field: &'static str, value: &str, own: &str) -> Result<(), MembershipError> {
    // Programs from before the field do not say it.
    if own.is_empty() || leads_to(value, own) {
        return Ok(());
    }
    let expected = format!("what that master was started with: {own}");
    Err(MembershipError::Address { field, value: value.to_owned(), expected })
}

/// What tells a repeated call: name and addresses.
fn place(member: &Member) -> (&str, &str, &str) {
    (&member.name, &member.peer_address, &member.api_address)
}

/// The member that has the new master's name, but for those that go: a new disk may keep the name.
fn named(picture: &Picture, new: &NewMaster, going: &[u64]) -> Option<Member> {
    let mut others = picture.members.values().filter(|member| !going.contains(&member.raft_id));
    others.find(|member| member.name == new.name).cloned()
}

/// Whom it replaces is gone: this call was carried out before, or that one never was a master.
fn replaced_before(picture: &Picture, new: &NewMaster, old: &Leaving) -> Result<Member, MembershipError> {
    let mut members = picture.members.values();
    let wanted = (new.name.as_str(), new.peer_address.as_str(), new.api_address.as_str());
    // Its wish stays with it when it is fulfilled, and may be inherited: it need not be this one's id.
    let repeated = members.find(|member| place(member) == wanted && member.replaces.is_some());
    repeated.cloned().ok_or_else(|| MembershipError::NoSuchMaster { name: old.name.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_masters_with_one_name_only_an_id_says_which_one_is_to_go() {
        let member = |raft_id, name: &str, replaces| {
            (raft_id, Member { raft_id, name: name.into(), replaces, ..Member::default() })
        };
        let new = FIRST_MINTED_RAFT_ID + 7;
        let members = [member(1, "m1", None), member(2, "m2", None), member(new, "m1", Some(1))].into();
        let picture = Picture { members, ..Picture::default() };
        let leaving = |name: &str, raft_id| Leaving { name: name.into(), raft_id };
        let refused = check_one(&picture, &leaving("m1", None)).expect_err("two");
        assert!(refused.to_string().ends_with(&format!("--raft-id 1 or {new}")), "{refused}");
        check_one(&picture, &leaving("m1", Some(new))).expect("the new one");
        check_one(&picture, &leaving("m2", None)).expect("only one");
        assert_eq!(find(&picture, &leaving("m1", Some(new))).map(|it| it.raft_id), Some(new));
    }
}
