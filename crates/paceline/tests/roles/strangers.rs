//! Who gets no answer at all: every port of every role against every wrong certificate, with a client that checks
//! nothing itself. How a handshake judges is tested in `identity`; here, that each port of a running role has it, with
//! the authority that is its own.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use paceline_identity::{Authority, CERTIFICATE_LIFE, Role, Validity};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::cell::{PATIENCE, TestCell};

/// Lets every server through.
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

/// A client that shows one certificate, or none.
struct Stranger(Arc<ClientConfig>);

impl Stranger {
    fn builder() -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Blind))
    }

    fn with_nothing() -> Self {
        Self(Arc::new(Self::builder().with_no_client_auth()))
    }

    fn showing(dir: &Path, certificate: &str, key: &str) -> Self {
        let certificate = CertificateDer::from_pem_file(dir.join(certificate)).unwrap();
        let key = PrivateKeyDer::from_pem_file(dir.join(key)).unwrap();
        Self(Arc::new(Self::builder().with_client_auth_cert(vec![certificate], key).unwrap()))
    }

    /// Asks for `/healthz` and returns the first line of the answer; nothing if there was none.
    async fn ask(&self, address: SocketAddr) -> Option<String> {
        let asking = async {
            let tcp = TcpStream::connect(address).await.unwrap();
            let name = ServerName::try_from("anything.internal").unwrap();
            let connector = tokio_rustls::TlsConnector::from(Arc::clone(&self.0));
            let mut stream = connector.connect(name, tcp).await.ok()?;
            let request = b"GET /healthz HTTP/1.1\r\nhost: cell\r\nconnection: close\r\n\r\n";
            stream.write_all(request).await.ok()?;
            let mut answer = Vec::new();
            // A broken end after an answer is still an answer; what counts is whether anything came.
            let _ = stream.read_to_end(&mut answer).await;
            let text = String::from_utf8_lossy(&answer).into_owned();
            text.lines().next().map(str::to_owned)
        };
        tokio::time::timeout(PATIENCE, asking).await.unwrap()
    }
}

/// A window relative to now, in seconds.
fn window(from_s: i64, to_s: i64) -> Validity {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    Validity { not_before_unix: now + from_s, not_after_unix: now + to_s }
}

/// Issues for a window, and shows the everyday certificate and the peer's.
fn both(authority: &Authority, dir: &Path, name: &str, validity: Validity) -> [Stranger; 2] {
    authority.issue_for(Role::Master, name, validity).unwrap().write(dir).unwrap();
    [Stranger::showing(dir, "cert.pem", "key.pem"), Stranger::showing(dir, "peer-cert.pem", "peer-key.pem")]
}

/// The same keys under the name of another cell: an authority that serves two cells.
fn renamed(cell: &TestCell, to: &str) -> Authority {
    let dir = cell.path("renamed");
    std::fs::create_dir(&dir).unwrap();
    for file in ["ca.pem", "ca.key", "peer-ca.pem", "peer-ca.key"] {
        std::fs::copy(cell.path("ca").join(file), dir.join(file)).unwrap();
    }
    std::fs::write(dir.join("cell"), to).unwrap();
    Authority::load(&dir).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_get_no_answer_at_any_port() {
    let mut cell = TestCell::new();
    let master = cell.master().await;
    cell.client(Role::Operator, &master).cell().status().await.unwrap();
    let shard = cell.shard(&master, None).await;
    let agent = cell.agent(shard, None).await;
    let ports = [("master", master.api), ("peer", master.peer), ("shard", shard), ("agent", agent)];

    let (namesake, other) = (TestCell::named("test"), TestCell::named("other"));
    let now = window(-60, CERTIFICATE_LIFE.as_secs() as i64 - 60);
    let own = cell.authority();
    let mut strangers = vec![("no certificate".to_owned(), Stranger::with_nothing())];
    for (what, authority, validity) in [
        ("an expired certificate", &own, window(-7_200, -3_600)),
        ("a certificate that has not begun", &own, window(3_600, 7_200)),
        ("a foreign authority that calls its cell the same", &namesake.authority(), now),
        ("another cell's authority", &other.authority(), now),
        ("another cell under the same authority", &renamed(&cell, "other"), now),
    ] {
        let [everyday, peer] = both(authority, &cell.path(&what.replace(' ', "-")), "m1", validity);
        strangers.push((format!("{what} (everyday)"), everyday));
        strangers.push((format!("{what} (peer)"), peer));
    }
    let mut let_in = Vec::new();
    for (port, address) in ports {
        for (what, stranger) in &strangers {
            if let Some(answer) = stranger.ask(address).await {
                let_in.push(format!("{what} at {port}: {answer}"));
            }
        }
    }
    // Each kind of certificate opens its own ports, and none of the other kind.
    let [everyday, peer] = both(&own, &cell.path("good"), "m1", now);
    let mut doors = Vec::new();
    for (port, address) in ports {
        let of = |answer: Option<String>| answer.is_some();
        doors.push((port, of(everyday.ask(address).await), of(peer.ask(address).await)));
    }
    assert!(let_in.is_empty(), "\n{}", let_in.join("\n"));
    let expected =
        [("master", true, false), ("peer", false, true), ("shard", true, false), ("agent", true, false)];
    assert_eq!(doors, expected, "port, everyday certificate, peer certificate");
    cell.end().await;
}
