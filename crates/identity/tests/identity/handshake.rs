//! Who gets through the handshake, on either side, and what is said to those who do not.

use std::fs;
use std::io;
use std::sync::Arc;

use paceline_identity::{
    Connector, Credentials, Expect, Listener, PeerRefusal, Role, TlsConnector, TlsListener,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::fixture::{DAY, TestCell, future, past};

/// What each side of one connection got: whom the server saw, whom the client saw, and what the client
/// found when it read afterwards (in TLS 1.3 it is connected before the server has judged it).
struct Meeting {
    server: io::Result<String>,
    client: io::Result<String>,
    first_read: Option<io::Error>,
}

/// Connects two sets of credentials over TCP on loopback.
async fn meet(server: &Arc<Credentials>, client: &Arc<Credentials>, expect: Expect) -> Meeting {
    let mut listener = TlsListener::bind("127.0.0.1:0".parse().unwrap(), Arc::clone(server)).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let serving = tokio::spawn(async move {
        let mut stream = listener.accept().await.unwrap().await?;
        stream.write_all(b"x").await?;
        stream.flush().await?;
        Ok(stream.peer().spiffe_id())
    });
    let mut first_read = None;
    let client = match TlsConnector::new(Arc::clone(client)).connect(&address, &expect).await {
        Ok(mut stream) => {
            first_read = stream.read_u8().await.err();
            Ok(stream.peer().spiffe_id())
        }
        Err(error) => Err(error),
    };
    Meeting { server: serving.await.unwrap(), client, first_read }
}

/// The typed reason inside the server's error.
fn refusal(error: &io::Error) -> &PeerRefusal {
    error.get_ref().and_then(|inner| inner.downcast_ref()).unwrap_or_else(|| panic!("not a refusal: {error}"))
}

/// Credentials of `from` that also trust the authority of `of`, so that only the other side can object.
fn trusting(from: &TestCell, role: Role, name: &str, of: &TestCell) -> Arc<Credentials> {
    let dir = from.path(&format!("{role}-{name}-trusting"));
    from.authority.issue(role, name, DAY).unwrap().write(&dir).unwrap();
    let both = [dir.join("ca.pem"), of.path("ca/ca.pem")].map(|path| fs::read_to_string(path).unwrap());
    fs::write(dir.join("ca.pem"), both.concat()).unwrap();
    Arc::new(Credentials::load(&dir).unwrap())
}

#[tokio::test]
async fn both_sides_learn_who_the_other_is() {
    let cell = TestCell::new("prod");
    let (master, agent) = (cell.credentials(Role::Master, "m1"), cell.credentials(Role::Agent, "n1"));
    let met = meet(&master, &agent, Expect::named(Role::Master, "m1")).await;
    assert_eq!(met.server.unwrap(), "spiffe://prod/agent/n1");
    assert_eq!(met.client.unwrap(), "spiffe://prod/master/m1");
    assert!(met.first_read.is_none());
}

#[tokio::test]
async fn masters_meet_under_the_peer_authority_and_nobody_else_gets_in_there() {
    let cell = TestCell::new("prod");
    for name in ["m1", "m2"] {
        cell.authority.issue(Role::Master, name, DAY).unwrap().write(&cell.path(name)).unwrap();
    }
    let peer = |name: &str| Arc::new(Credentials::load_peer(&cell.path(name)).unwrap());
    let met = meet(&peer("m1"), &peer("m2"), Expect::named(Role::Master, "m1")).await;
    assert_eq!(met.server.unwrap(), "spiffe://prod/master/m2");

    // The same master with its everyday certificate, which trusts the peer authority for the occasion.
    let dir = cell.path("m2");
    let both = [dir.join("ca.pem"), dir.join("peer-ca.pem")].map(|path| fs::read_to_string(path).unwrap());
    fs::write(dir.join("ca.pem"), both.concat()).unwrap();
    let everyday = Arc::new(Credentials::load(&dir).unwrap());
    let met = meet(&peer("m1"), &everyday, Expect::any(Role::Master)).await;
    let error = met.server.unwrap_err();
    assert!(matches!(refusal(&error), PeerRefusal::ForeignAuthority { .. }), "{error}");
    assert!(error.to_string().contains("prod peer authority"), "{error}");
}

#[tokio::test]
async fn a_client_of_a_foreign_authority_is_refused_and_told_so() {
    let (ours, foreign) = (TestCell::new("prod"), TestCell::new("prod"));
    let master = ours.credentials(Role::Master, "m1");
    let stranger = trusting(&foreign, Role::Agent, "n1", &ours);
    let met = meet(&master, &stranger, Expect::any(Role::Master)).await;
    let error = met.server.unwrap_err();
    assert!(matches!(refusal(&error), PeerRefusal::ForeignAuthority { .. }), "{error}");
    assert!(error.to_string().contains("issued by the prod cell authority"), "{error}");
    assert!(error.to_string().contains("spiffe://prod/agent/n1"), "{error}");
    let told = met.first_read.unwrap().to_string();
    assert!(told.contains("spiffe://prod/master/m1 refused") && told.contains("UnknownCA"), "{told}");
}

#[tokio::test]
async fn a_server_of_a_foreign_authority_is_refused_and_told_so() {
    let (ours, foreign) = (TestCell::new("prod"), TestCell::new("prod"));
    let agent = ours.credentials(Role::Agent, "n1");
    let impostor = trusting(&foreign, Role::Master, "m1", &ours);
    let met = meet(&impostor, &agent, Expect::any(Role::Master)).await;
    let error = met.client.unwrap_err().to_string();
    assert!(error.starts_with("cannot connect to any master at 127.0.0.1:"), "{error}");
    assert!(error.contains("issued by the prod cell authority"), "{error}");
    let told = met.server.unwrap_err().to_string();
    assert_eq!(told, "the other side refused the certificate of spiffe://prod/master/m1: alert UnknownCA");
}

#[tokio::test]
async fn an_expired_certificate_is_refused_on_both_sides() {
    let cell = TestCell::new("prod");
    let (master, agent) = (cell.credentials(Role::Master, "m1"), cell.credentials(Role::Agent, "n1"));
    let old_agent = cell.credentials_for(Role::Agent, "n2", past());
    let met = meet(&master, &old_agent, Expect::any(Role::Master)).await;
    let error = met.server.unwrap_err();
    assert!(matches!(refusal(&error), PeerRefusal::Expired { seconds_ago: 3600..3660, .. }), "{error}");
    assert!(error.to_string().contains("spiffe://prod/agent/n2"), "{error}");
    let told = met.first_read.unwrap().to_string();
    assert!(told.contains("CertificateExpired"), "{told}");

    let old_master = cell.credentials_for(Role::Master, "m2", past());
    let met = meet(&old_master, &agent, Expect::any(Role::Master)).await;
    let error = met.client.unwrap_err().to_string();
    assert!(error.contains("the certificate of spiffe://prod/master/m2 ended"), "{error}");
}

#[tokio::test]
async fn a_certificate_from_the_future_asks_whether_a_clock_is_wrong() {
    let cell = TestCell::new("prod");
    let master = cell.credentials(Role::Master, "m1");
    let early = cell.credentials_for(Role::Agent, "n1", future());
    let met = meet(&master, &early, Expect::any(Role::Master)).await;
    let error = met.server.unwrap_err();
    assert!(matches!(refusal(&error), PeerRefusal::NotYetValid { .. }), "{error}");
    assert!(error.to_string().contains("is a clock wrong?"), "{error}");
}

#[tokio::test]
async fn a_peer_of_another_cell_is_refused_even_under_the_same_authority() {
    let ours = TestCell::new("prod");
    let theirs = ours.under_another_name("test");
    let (our_agent, our_master) = (ours.credentials(Role::Agent, "n1"), ours.credentials(Role::Master, "m1"));
    let (their_agent, their_master) =
        (theirs.credentials(Role::Agent, "n1"), theirs.credentials(Role::Master, "m1"));

    // Each side judges for itself; the client comes first and ends it.
    let met = meet(&their_master, &our_agent, Expect::any(Role::Master)).await;
    let error = met.client.unwrap_err().to_string();
    assert!(error.contains("expected a peer of cell prod, presented was spiffe://test/master/m1"), "{error}");
    assert!(met.server.unwrap_err().to_string().contains("AccessDenied"));

    // A client that does not look: the server refuses it on its own.
    let client = RawClient::showing(&theirs.path("agent-n1"));
    let error = client.knock(&our_master).await;
    assert!(matches!(refusal(&error), PeerRefusal::OtherCell { .. }), "{error}");
    assert_eq!(error.to_string(), "expected a peer of cell prod, presented was spiffe://test/agent/n1");
    drop(their_agent);
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused() {
    let cell = TestCell::new("prod");
    let master = cell.credentials(Role::Master, "m1");
    let error = RawClient::showing_nothing().knock(&master).await;
    assert!(matches!(refusal(&error), PeerRefusal::NoCertificate { .. }), "{error}");
    assert_eq!(error.to_string(), "expected a certificate of cell prod, presented was none");
}

#[tokio::test]
async fn a_peer_that_is_not_whom_we_dialled_is_refused_with_both_names() {
    let cell = TestCell::new("prod");
    let (shard, agent) = (cell.credentials(Role::Shard, "s1"), cell.credentials(Role::Agent, "n1"));
    for (expect, text) in [
        (Expect::any(Role::Master), "expected any master of cell prod, presented was spiffe://prod/shard/s1"),
        (
            Expect::named(Role::Shard, "s2"),
            "expected shard/s2 of cell prod, presented was spiffe://prod/shard/s1",
        ),
    ] {
        let met = meet(&shard, &agent, expect).await;
        let error = met.client.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        assert!(error.to_string().contains(text), "{error}");
    }
}

#[tokio::test]
async fn a_persons_certificate_cannot_serve() {
    let cell = TestCell::new("prod");
    let (user, agent) = (cell.credentials(Role::User, "eve"), cell.credentials(Role::Agent, "n1"));
    let met = meet(&user, &agent, Expect::any(Role::User)).await;
    let error = met.client.unwrap_err().to_string();
    assert!(error.contains("spiffe://prod/user/eve is not acceptable"), "{error}");
}

#[tokio::test]
async fn a_session_is_never_resumed_past_the_examination() {
    let cell = TestCell::new("prod");
    let master = cell.credentials(Role::Master, "m1");
    cell.credentials(Role::Agent, "n1");
    let client = RawClient::showing(&cell.path("agent-n1"));
    for _ in 0..2 {
        assert_eq!(client.kind_of_handshake(&master).await, rustls::HandshakeKind::Full);
    }
}

#[tokio::test]
async fn a_dead_address_is_named_in_the_error() {
    let cell = TestCell::new("prod");
    let connector = TlsConnector::new(cell.credentials(Role::Agent, "n1"));
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    for address in [closed.as_str(), "no port", ""] {
        let error = connector.connect(address, &Expect::any(Role::Shard)).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot connect to any shard at {address}: ")), "{error}");
    }
}

use raw::RawClient;

/// A client that checks nothing, keeps sessions, and shows whatever it likes.
mod raw {
    use std::path::Path;

    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
    use rustls::{ClientConfig, DigitallySignedStruct, HandshakeKind, SignatureScheme};
    use tokio::net::TcpStream;

    use super::*;

    pub struct RawClient(Arc<ClientConfig>);

    #[derive(Debug)]
    struct Blind;

    impl ServerCertVerifier for Blind {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, rustls::Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            vec![SignatureScheme::ECDSA_NISTP256_SHA256]
        }
    }

    impl RawClient {
        fn builder() -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Blind))
        }

        pub fn showing_nothing() -> Self {
            Self(Arc::new(Self::builder().with_no_client_auth()))
        }

        pub fn showing(dir: &Path) -> Self {
            let certificate = CertificateDer::from_pem_file(dir.join("cert.pem")).unwrap();
            let key = PrivateKeyDer::from_pem_file(dir.join("key.pem")).unwrap();
            Self(Arc::new(Self::builder().with_client_auth_cert(vec![certificate], key).unwrap()))
        }

        /// Knocks at a server and returns the server's error.
        pub async fn knock(&self, server: &Arc<Credentials>) -> io::Error {
            self.visit(server).await.0.expect_err("the server let the client in")
        }

        pub async fn kind_of_handshake(&self, server: &Arc<Credentials>) -> HandshakeKind {
            let (served, kind) = self.visit(server).await;
            served.unwrap();
            kind
        }

        async fn visit(&self, server: &Arc<Credentials>) -> (io::Result<()>, HandshakeKind) {
            let mut listener =
                TlsListener::bind("127.0.0.1:0".parse().unwrap(), Arc::clone(server)).await.unwrap();
            let tcp = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let serving = tokio::spawn(async move {
                let mut stream = listener.accept().await.unwrap().await?;
                stream.write_all(b"x").await?;
                stream.shutdown().await
            });
            let name = ServerName::try_from("anything.internal").unwrap();
            let connector = tokio_rustls::TlsConnector::from(Arc::clone(&self.0));
            let mut stream = connector.connect(name, tcp).await.unwrap();
            // Reading to the end takes in the session tickets, if the server sends any.
            let _ = stream.read_to_end(&mut Vec::new()).await;
            let kind = stream.get_ref().1.handshake_kind().unwrap();
            (serving.await.unwrap(), kind)
        }
    }
}
