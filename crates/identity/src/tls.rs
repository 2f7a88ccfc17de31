//! The listener and the connector that production uses: TCP, TLS 1.3, a certificate on both sides.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{DnsName, ServerName};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::connector::{Connector, Expect};
use crate::credentials::Credentials;
use crate::listener::{BoxFuture, Listener, Pending};
use crate::peer::PeerIdentity;
use crate::refusal::PeerRefusal;
use crate::stream::PeerStream;
use crate::trust::Examiner;

/// Connections that the kernel keeps for us while all handshakes are busy: room for a slice of agents that
/// all come back at once.
const ACCEPT_BACKLOG: u32 = 4096;

/// How long a dialled peer may take for TCP and TLS together. A healthy one takes milliseconds; beyond this
/// another address is the better try.
pub(crate) const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// rustls wants a name to dial. It is neither sent nor checked: the SPIFFE id is.
const UNCHECKED_NAME: &str = "unchecked.paceline.internal";

/// Listens on TCP and lets in only peers with a certificate of our cell.
pub struct TlsListener {
    tcp: TcpListener,
    credentials: Arc<Credentials>,
}

impl TlsListener {
    /// Starts to listen. Port 0 picks a free one; see [`Listener::local_addr`].
    pub async fn bind(address: SocketAddr, credentials: Arc<Credentials>) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // A restarted process must get its port back while old connections still linger.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(Self { tcp: socket.listen(ACCEPT_BACKLOG)?, credentials })
    }
}

impl Listener for TlsListener {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    fn accept(&mut self) -> BoxFuture<'_, io::Result<Pending>> {
        Box::pin(async move {
            let (tcp, remote) = self.tcp.accept().await?;
            let credentials = Arc::clone(&self.credentials);
            Ok(Pending::new(remote, answer(tcp, credentials)))
        })
    }
}

async fn answer(tcp: TcpStream, credentials: Arc<Credentials>) -> io::Result<PeerStream> {
    tcp.set_nodelay(true)?;
    let examiner = Examiner::new(credentials.trust(), None);
    let config = credentials.server_config(Arc::clone(&examiner));
    let shaken = tokio_rustls::TlsAcceptor::from(Arc::new(config)).accept(tcp).await;
    conclude(shaken, &examiner, &credentials)
}

/// Dials over TCP and talks only to the peer that was expected.
pub struct TlsConnector {
    credentials: Arc<Credentials>,
}

impl TlsConnector {
    /// A connector that presents these credentials.
    pub fn new(credentials: Arc<Credentials>) -> Self {
        Self { credentials }
    }
}

impl Connector for TlsConnector {
    fn connect(&self, address: &str, expect: &Expect) -> BoxFuture<'static, io::Result<PeerStream>> {
        let dialling = dial(address.to_owned(), expect.clone(), Arc::clone(&self.credentials));
        let (address, expect) = (address.to_owned(), expect.clone());
        Box::pin(async move {
            let within = tokio::time::timeout(CONNECT_DEADLINE, dialling).await;
            let result = within.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            result.map_err(|error| {
                io::Error::new(error.kind(), format!("cannot connect to {expect} at {address}: {error}"))
            })
        })
    }

    fn presents(&self) -> Option<PeerIdentity> {
        Some(self.credentials.identity().clone())
    }
}

async fn dial(address: String, expect: Expect, credentials: Arc<Credentials>) -> io::Result<PeerStream> {
    let tcp = TcpStream::connect(address.as_str()).await?;
    tcp.set_nodelay(true)?;
    let examiner = Examiner::new(credentials.trust(), Some(expect));
    let config = credentials.client_config(Arc::clone(&examiner));
    let name = DnsName::try_from_str(UNCHECKED_NAME).expect("the constant is a DNS name");
    let shaken =
        tokio_rustls::TlsConnector::from(Arc::new(config)).connect(ServerName::DnsName(name), tcp).await;
    conclude(shaken, &examiner, &credentials)
}

/// Joins what TLS and the examiner say: a refusal in full words where there is one.
fn conclude<S>(shaken: io::Result<S>, examiner: &Examiner, ours: &Credentials) -> io::Result<PeerStream>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + 'static,
{
    match (shaken, examiner.verdict()) {
        (Ok(stream), Some(Ok(peer))) => Ok(PeerStream::new(stream, peer)),
        (_, Some(Err(refusal))) => Err(refused(refusal)),
        (Ok(_), None) => Err(refused(examiner.no_certificate())),
        (Err(error), _) => Err(explain(error, examiner, ours)),
    }
}

/// Turns what TLS says about a failed handshake into who was refused by whom.
fn explain(error: io::Error, examiner: &Examiner, ours: &Credentials) -> io::Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::NoCertificatesPresented) => refused(examiner.no_certificate()),
        Some(rustls::Error::AlertReceived(alert)) => {
            let us = ours.identity().spiffe_id();
            let text = format!("the other side refused the certificate of {us}: alert {alert:?}");
            io::Error::new(io::ErrorKind::PermissionDenied, text)
        }
        _ => error,
    }
}

fn refused(refusal: PeerRefusal) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, refusal)
}
