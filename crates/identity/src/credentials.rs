//! A process's own certificate and key, loaded and ready to shake hands, sign and verify.
//!
//! Every handshake asks [`Credentials`] for its TLS configuration when it begins, so credentials that are
//! reloaded later take effect with the next connection, without a listener being rebound.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, UnparsedPublicKey,
};
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring as ring_provider};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject};
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::error::IdentityError;
use crate::files::{self, Kind};
use crate::peer::PeerIdentity;
use crate::refusal::{PeerRefusal, Presented};
use crate::trust::{Examiner, Side, Trust};

/// The names of the three files of one identity.
#[derive(Clone, Copy)]
pub(crate) struct FileNames {
    pub(crate) authority: &'static str,
    pub(crate) certificate: &'static str,
    pub(crate) key: &'static str,
}

pub(crate) const CELL_FILES: FileNames =
    FileNames { authority: "ca.pem", certificate: "cert.pem", key: "key.pem" };
pub(crate) const PEER_FILES: FileNames =
    FileNames { authority: "peer-ca.pem", certificate: "peer-cert.pem", key: "peer-key.pem" };

/// Put before every message that is signed, so that a signature made for one purpose (a TLS handshake uses
/// the same key) can never be passed off as one made for another.
const SIGNING_CONTEXT: &[u8] = b"paceline signed message v1\0";

/// One identity: certificate, key and the authority that its peers must come from.
pub struct Credentials {
    identity: PeerIdentity,
    trust: Arc<Trust>,
    provider: Arc<CryptoProvider>,
    presented: Arc<SingleCertAndKey>,
    signer: EcdsaKeyPair,
    random: SystemRandom,
}

/// Without the key.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("identity", &self.identity.spiffe_id()).finish_non_exhaustive()
    }
}

impl Credentials {
    /// Loads `ca.pem cert.pem key.pem`. An expired certificate loads: whether to start with one is the
    /// caller's decision, see [`Credentials::days_left`].
    pub fn load(dir: &Path) -> Result<Self, IdentityError> {
        Self::load_files(dir, CELL_FILES)
    }

    /// Loads `peer-ca.pem peer-cert.pem peer-key.pem`: a master as a peer of masters.
    pub fn load_peer(dir: &Path) -> Result<Self, IdentityError> {
        Self::load_files(dir, PEER_FILES)
    }

    fn load_files(dir: &Path, names: FileNames) -> Result<Self, IdentityError> {
        let material = Material::read(dir, names)?;
        let path = dir.join(names.certificate);
        let mismatch = |fault: String| IdentityError::Mismatch { path: path.clone(), fault };
        let identity = PeerIdentity::read(&material.chain[0])
            .map_err(|fault| IdentityError::Malformed { path: path.clone(), fault: fault.to_string() })?;
        let provider = Arc::new(ring_provider::default_provider());
        let trust = material.trust(identity.cell.clone(), &provider)?;
        material.check_issued_by(&trust).map_err(|refusal| mismatch(refusal.to_string()))?;
        let (signer, random) = (material.signer()?, SystemRandom::new());
        let certified = CertifiedKey::from_der(material.chain, material.key, &provider)
            .map_err(|error| mismatch(format!("{error} ({})", names.key)))?;
        let presented = Arc::new(SingleCertAndKey::from(certified));
        Ok(Self { identity, trust: Arc::new(trust), provider, presented, signer, random })
    }

    /// Who we are.
    pub fn identity(&self) -> &PeerIdentity {
        &self.identity
    }

    /// Whole days until our certificate ends; negative once it has ended.
    pub fn days_left(&self, now_unix: i64) -> i64 {
        self.identity.days_left(now_unix)
    }

    /// Signs a message with our key; [`Credentials::verify_signed`] is the other end.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.signer
            .sign(&self.random, &in_context(message))
            .expect("signing with a loaded key fails only without system randomness, which the load has used")
            .as_ref()
            .to_vec()
    }

    /// Checks that a message was signed by the holder of a certificate of our authority and cell that is
    /// valid at `now_unix`, and says who that is.
    pub fn verify_signed(
        &self,
        certificate_der: &[u8],
        message: &[u8],
        signature: &[u8],
        now_unix: i64,
    ) -> Result<PeerIdentity, PeerRefusal> {
        let certificate = CertificateDer::from(certificate_der);
        let identity = self.trust.admit(&certificate, &[], Side::Client, unix_time(now_unix))?;
        let bad_signature = || PeerRefusal::BadSignature { presented: Presented::of(certificate_der) };
        let (_, parsed) = X509Certificate::from_der(certificate_der).map_err(|_| bad_signature())?;
        let key = UnparsedPublicKey::new(
            &ECDSA_P256_SHA256_ASN1,
            parsed.public_key().subject_public_key.data.as_ref(),
        );
        key.verify(&in_context(message), signature).map_err(|_| bad_signature())?;
        Ok(identity)
    }

    pub(crate) fn trust(&self) -> Arc<Trust> {
        Arc::clone(&self.trust)
    }

    /// What one accepted connection is answered with. Sessions are not resumed: a resumed one would skip
    /// the examination of the certificate.
    pub(crate) fn server_config(&self, examiner: Arc<Examiner>) -> ServerConfig {
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS13])
            .expect("the ring provider has TLS 1.3 cipher suites")
            .with_client_cert_verifier(examiner)
            .with_cert_resolver(Arc::clone(&self.presented) as _);
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config
    }

    /// What one dialled connection is opened with. No server name is sent: it is not what is checked.
    pub(crate) fn client_config(&self, examiner: Arc<Examiner>) -> ClientConfig {
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS13])
            .expect("the ring provider has TLS 1.3 cipher suites")
            .dangerous()
            .with_custom_certificate_verifier(examiner)
            .with_client_cert_resolver(Arc::clone(&self.presented) as _);
        config.resumption = Resumption::disabled();
        config.enable_sni = false;
        config.alpn_protocols = vec![b"h2".to_vec()];
        config
    }
}

/// The content of the three files.
struct Material {
    dir: PathBuf,
    names: FileNames,
    authorities: Vec<CertificateDer<'static>>,
    /// Never empty; the first is ours.
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Material {
    fn read(dir: &Path, names: FileNames) -> Result<Self, IdentityError> {
        let (path, pem) = files::read(dir, names.key, Kind::Key)?;
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| IdentityError::Malformed {
            path,
            fault: "expected a private key in PEM (PKCS 8)".to_owned(),
        })?;
        Ok(Self {
            dir: dir.to_owned(),
            names,
            authorities: read_certificates(dir, names.authority)?,
            chain: read_certificates(dir, names.certificate)?,
            key,
        })
    }

    fn trust(&self, cell: String, provider: &Arc<CryptoProvider>) -> Result<Trust, IdentityError> {
        let malformed =
            |fault: String| IdentityError::Malformed { path: self.dir.join(self.names.authority), fault };
        let mut roots = RootCertStore::empty();
        for authority in &self.authorities {
            roots.add(authority.clone()).map_err(|error| malformed(error.to_string()))?;
        }
        let subject = subject_of(&self.authorities[0])
            .ok_or_else(|| malformed("expected an X.509 certificate".to_owned()))?;
        Trust::new(cell, subject, roots, provider).map_err(|error| malformed(error.to_string()))
    }

    /// Judged at the certificate's own first second, so that only the chain can fail.
    fn check_issued_by(&self, trust: &Trust) -> Result<(), PeerRefusal> {
        let start = X509Certificate::from_der(&self.chain[0])
            .map(|(_, certificate)| certificate.validity().not_before.timestamp())
            .unwrap_or_default();
        trust.admit(&self.chain[0], &self.chain[1..], Side::Client, unix_time(start)).map(|_| ())
    }

    fn signer(&self) -> Result<EcdsaKeyPair, IdentityError> {
        let der = self.key.secret_der();
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der, &SystemRandom::new()).map_err(|_| {
            IdentityError::Malformed {
                path: self.dir.join(self.names.key),
                fault: "expected a P-256 key in PKCS 8".to_owned(),
            }
        })
    }
}

fn read_certificates(dir: &Path, name: &str) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let (path, pem) = files::read(dir, name, Kind::Public)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(IdentityError::Malformed { path, fault: "expected certificates in PEM".to_owned() }),
    }
}

fn subject_of(certificate_der: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate_der).ok()?;
    let name = certificate.subject().iter_common_name().next()?.as_str().ok()?;
    Some(name.to_owned())
}

fn in_context(message: &[u8]) -> Vec<u8> {
    [SIGNING_CONTEXT, message].concat()
}

fn unix_time(seconds: i64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}
