//! Every path as every role at every port: refused exactly where the page says so, and served exactly where it says so.

use std::net::SocketAddr;
use std::sync::Arc;

use paceline_identity::{Credentials, Role};

use crate::calls::{Answer, Caller};
use crate::cell::{Master, TestCell, name_of};
use crate::page::{PORTS, Page, page};

/// One running port of each kind, with the role that listens there.
struct Ports {
    cell: TestCell,
    master: Master,
    shard: SocketAddr,
    agent: SocketAddr,
}

impl Ports {
    async fn open() -> Self {
        let mut cell = TestCell::new();
        let master = cell.master().await;
        cell.set(&master, "agent_groups", 1).await;
        let shard = cell.shard(&master, None).await;
        let agent = cell.agent(shard, None).await;
        Self { cell, master, shard, agent }
    }

    fn at(&self, port: &str) -> (SocketAddr, Role) {
        match port {
            "master" => (self.master.api, Role::Master),
            "peer" => (self.master.peer, Role::Master),
            "shard" => (self.shard, Role::Shard),
            _ => (self.agent, Role::Agent),
        }
    }

    /// Credentials of the role that open the port. For all but masters none exist that open a peer port, so there
    /// they are forged with the authority's own key: the gate must hold even then.
    fn key_to(&self, port: &str, role: Role) -> Arc<Credentials> {
        let name = name_of(role);
        if port != "peer" {
            return self.cell.credentials(role, name);
        }
        let dir = self.cell.path(&format!("forged-{role}"));
        let life = paceline_identity::CERTIFICATE_LIFE;
        self.cell.stolen_peer_authority().issue(role, name, life).unwrap().write(&dir).unwrap();
        Arc::new(Credentials::load(&dir).unwrap())
    }
}

/// What the page says a call at a port must become.
fn expected(page: &Page, call: &str, port: &str, role: Role) -> Answer {
    let Some(row) = page.get(call).filter(|row| row.roles.contains(&role)) else {
        return Answer::Denied(format!("{role}/{} may not call {call}", name_of(role)));
    };
    if row.served_by.contains(port) { Answer::Answered } else { Answer::NotHere }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_of_every_role_at_every_port_ends_as_the_page_says() {
    let (ports, page) = (Ports::open().await, page());
    let unlisted = ["/paceline.v1.Jobs/Unlisted", "/paceline.v1.Secrets/Get", "/secret", "/"];
    let (mut wrong, mut calls) = (Vec::new(), 0);
    for port in PORTS {
        let (address, server) = ports.at(port);
        for role in Role::ALL {
            let caller = Caller::new(ports.key_to(port, role), address, server);
            for call in page.keys().map(String::as_str).chain(unlisted) {
                let (found, expected) = (caller.call(call).await, expected(&page, call, port, role));
                calls += 1;
                if found != expected {
                    wrong.push(format!("{call} at {port} as {role}: expected {expected:?}, found {found:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {calls} calls:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(calls, PORTS.len() * Role::ALL.len() * (page.len() + unlisted.len()));
    ports.cell.end().await;
}

#[test]
fn every_call_of_the_page_is_served_somewhere() {
    // With the test above: an empty list of ports would be a call that nobody has to answer.
    for (call, row) in page() {
        assert!(!row.served_by.is_empty() && !row.roles.is_empty(), "{call}");
    }
}
