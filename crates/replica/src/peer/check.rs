//! Every request says from whom and for whom it is; both are held against certificate, membership and disk.
//!
//! A wrong peer address, a cloned disk, a reused Raft id and a wiped disk all end here, as an error that names both sides,
//! before openraft sees anything.

use super::Me;
use crate::member::{Member, format_disk_id};
use crate::wire::proto;

/// Who the transport says is calling: the name in the certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The master's name.
    pub name: String,
}

/// A request that is not for this master, or not from who it says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The request names nobody.
    #[error("the request does not say who sends it to whom")]
    Unaddressed,
    /// Another cell.
    #[error("this is master {me} of cell {cell}; the request is from cell {found}")]
    OtherCell {
        /// This master.
        me: String,
        /// Its cell.
        cell: String,
        /// The sender's cell.
        found: String,
    },
    /// The certificate and the request disagree.
    #[error("the certificate is of master {certificate}, the request says it is from {claimed}")]
    OtherCaller {
        /// The name in the certificate.
        certificate: String,
        /// The name in the request.
        claimed: String,
    },
    /// Meant for somebody else.
    #[error(
        "this is master {name} with Raft id {raft_id} on disk {disk}; the request is for Raft id {wanted_id} on disk {wanted_disk}"
    )]
    NotMe {
        /// This master.
        name: String,
        /// Its Raft id.
        raft_id: u64,
        /// Its disk.
        disk: String,
        /// Whom the sender wants.
        wanted_id: u64,
        /// On which disk.
        wanted_disk: String,
    },
    /// The sender is no master of the cell any more.
    #[error("master {name} (Raft id {raft_id}) is no master of this cell, as entry {at} of its log says")]
    Removed {
        /// The sender.
        name: String,
        /// Its Raft id.
        raft_id: u64,
        /// The entry whose membership shows it.
        at: u64,
    },
    /// The membership knows the sender differently.
    #[error(
        "Raft id {raft_id} is master {known_name} on disk {known_disk}; the request is from {name} on disk {disk}"
    )]
    OtherMember {
        /// The Raft id that both claim.
        raft_id: u64,
        /// The member's name.
        known_name: String,
        /// The member's disk.
        known_disk: String,
        /// The sender's name.
        name: String,
        /// The sender's disk.
        disk: String,
    },
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Checks a request against this master, the certificate and what the membership knows of the sender.
pub fn check(
    me: &Me,
    addressing: Option<&proto::Addressing>,
    caller: &Caller,
    known: impl FnOnce(u64) -> Option<Member>,
) -> Result<(), Refusal> {
    let request = addressing.ok_or(Refusal::Unaddressed)?;
    if request.cell != me.cell {
        let found = request.cell.clone();
        return Err(Refusal::OtherCell { me: me.name.clone(), cell: me.cell.clone(), found });
    }
    if request.from_name != caller.name {
        let claimed = request.from_name.clone();
        return Err(Refusal::OtherCaller { certificate: caller.name.clone(), claimed });
    }
    if request.to_raft_id != me.raft_id || request.to_disk_id != me.disk_id[..] {
        return Err(Refusal::NotMe {
            name: me.name.clone(),
            raft_id: me.raft_id,
            disk: format_disk_id(&me.disk_id),
            wanted_id: request.to_raft_id,
            wanted_disk: hex(&request.to_disk_id),
        });
    }
    match known(request.from_raft_id) {
        Some(member) if member.name != request.from_name || request.from_disk_id != member.disk_id[..] => {
            Err(Refusal::OtherMember {
                raft_id: request.from_raft_id,
                known_name: member.name,
                known_disk: format_disk_id(&member.disk_id),
                name: request.from_name.clone(),
                disk: hex(&request.from_disk_id),
            })
        }
        // A master that is not a member yet learns the membership from exactly such a request.
        _ => Ok(()),
    }
}

/// The address on a request from `me` to `member`.
pub fn address(me: &Me, member: &Member) -> proto::Addressing {
    proto::Addressing {
        cell: me.cell.clone(),
        from_raft_id: me.raft_id,
        from_name: me.name.clone(),
        from_disk_id: me.disk_id.to_vec().into(),
        to_raft_id: member.raft_id,
        to_disk_id: member.disk_id.to_vec().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn me(name: &str, raft_id: u64) -> Me {
        Me { cell: "c".into(), name: name.into(), raft_id, disk_id: [raft_id as u8; 16], ..Me::default() }
    }

    fn as_member(me: &Me) -> Member {
        Member { raft_id: me.raft_id, name: me.name.clone(), disk_id: me.disk_id, ..Member::default() }
    }

    fn caller(name: &str) -> Caller {
        Caller { name: name.into() }
    }

    #[test]
    fn member_on_its_own_disk_is_heard() {
        let (one, two) = (me("one", 1), me("two", 2));
        let request = address(&one, &as_member(&two));
        assert_eq!(check(&two, Some(&request), &caller("one"), |_| Some(as_member(&one))), Ok(()));
        assert_eq!(check(&two, Some(&request), &caller("one"), |_| None), Ok(()));
    }

    #[test]
    fn every_mismatch_is_refused() {
        let (one, two) = (me("one", 1), me("two", 2));
        let request = address(&one, &as_member(&two));
        let refused = |me: &Me, request: &proto::Addressing, name: &str, known: Option<Member>| {
            check(me, Some(request), &caller(name), |_| known).unwrap_err()
        };
        let foreign = proto::Addressing { cell: "d".into(), ..request.clone() };
        assert!(matches!(refused(&two, &foreign, "one", None), Refusal::OtherCell { .. }));
        assert!(matches!(refused(&two, &request, "three", None), Refusal::OtherCaller { .. }));
        let wiped = Me { disk_id: [9; 16], ..two.clone() };
        assert!(matches!(refused(&wiped, &request, "one", None), Refusal::NotMe { .. }));
        assert!(matches!(refused(&me("three", 3), &request, "one", None), Refusal::NotMe { .. }));
        let replaced = Member { disk_id: [8; 16], ..as_member(&one) };
        assert!(matches!(refused(&two, &request, "one", Some(replaced)), Refusal::OtherMember { .. }));
        assert_eq!(check(&two, None, &caller("one"), |_| None), Err(Refusal::Unaddressed));
    }
}
