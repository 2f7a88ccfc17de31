//! [`Listener`] and [`Connector`] over turmoil's TCP, with injected identities in place of TLS.
//!
//! Both ends begin by saying who they are, and the dialler says on which plane it means to speak: peers of Raft or
//! everybody else, which in production are told apart by the authority of the certificate. What is said is believed;
//! TLS is tested elsewhere. Everything above (serve loops, the role table, HTTP/2, gRPC) is production code.
//!
//! ```text
//!   dialler: plane, cell, role, name, certificate ─►        ◄─ listener: the same of itself
//!   dialler compares with whom it expected; the listener with its own plane and cell
//! ```

mod hello;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use paceline_identity::{BoxFuture, Connector, Expect, Listener, PeerIdentity, PeerStream, Pending};
use tokio::time::timeout;
use turmoil::net::{TcpListener, TcpStream};

use crate::power::Power;
use crate::trace::Trace;
use hello::Hello;
use wire::Wire;

/// How long a dialled peer may take: what TLS over TCP is given in production.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// Which authority of production would stand behind a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plane {
    /// Clients, shards, agents and masters.
    Cell,
    /// Masters among themselves.
    Peers,
}

/// A process on the network: who it is, and whether it lives.
#[derive(Debug, Clone)]
pub struct Party {
    /// What it presents.
    pub identity: PeerIdentity,
    /// Nothing passes when it is off.
    pub power: Power,
    /// Where its bytes are noted.
    pub trace: Trace,
}

/// Listens on the current host.
pub struct SimListener {
    tcp: TcpListener,
    party: Party,
    plane: Plane,
}

impl SimListener {
    /// Binds a port of the current host.
    ///
    /// # Errors
    /// The port is taken.
    pub async fn bind(port: u16, party: Party, plane: Plane) -> io::Result<Self> {
        let tcp = TcpListener::bind(("0.0.0.0", port)).await?;
        Ok(Self { tcp, party, plane })
    }
}

impl Listener for SimListener {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    fn accept(&mut self) -> BoxFuture<'_, io::Result<Pending>> {
        Box::pin(async move {
            let (tcp, remote) = self.tcp.accept().await?;
            Ok(Pending::new(remote, answer(tcp, self.party.clone(), self.plane)))
        })
    }
}

async fn answer(mut tcp: TcpStream, party: Party, plane: Plane) -> io::Result<PeerStream> {
    let theirs = Hello::read(&mut tcp).await?;
    Hello { plane, identity: party.identity.clone() }.write(&mut tcp).await?;
    if theirs.plane != plane || theirs.identity.cell != party.identity.cell {
        let text = format!("{} came on the wrong plane or from another cell", theirs.identity.spiffe_id());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    Ok(PeerStream::new(Wire::new(tcp, party)?, theirs.identity))
}

/// Dials as one party.
pub struct SimConnector {
    party: Party,
    plane: Plane,
}

impl SimConnector {
    /// Dials on a plane.
    #[must_use]
    pub const fn new(party: Party, plane: Plane) -> Self {
        Self { party, plane }
    }
}

impl Connector for SimConnector {
    fn connect(&self, address: &str, expect: &Expect) -> BoxFuture<'static, io::Result<PeerStream>> {
        let (address, expect) = (address.to_owned(), expect.clone());
        let (party, plane) = (self.party.clone(), self.plane);
        Box::pin(async move {
            let dialled = timeout(CONNECT_DEADLINE, dial(&address, &expect, party, plane)).await;
            let dialled = dialled.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            dialled.map_err(|error| {
                io::Error::new(error.kind(), format!("cannot connect to {expect} at {address}: {error}"))
            })
        })
    }

    fn presents(&self) -> Option<PeerIdentity> {
        Some(self.party.identity.clone())
    }
}

async fn dial(address: &str, expect: &Expect, party: Party, plane: Plane) -> io::Result<PeerStream> {
    if !party.power.is_on() {
        return Err(io::ErrorKind::BrokenPipe.into());
    }
    let mut tcp = TcpStream::connect(address).await?;
    Hello { plane, identity: party.identity.clone() }.write(&mut tcp).await?;
    let theirs = Hello::read(&mut tcp).await?;
    if theirs.plane != plane
        || theirs.identity.cell != party.identity.cell
        || !expect.matches(&theirs.identity)
    {
        let text = format!("{} answered where {expect} was expected", theirs.identity.spiffe_id());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    Ok(PeerStream::new(Wire::new(tcp, party)?, theirs.identity))
}
