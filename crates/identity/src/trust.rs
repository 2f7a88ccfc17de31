//! Whether a certificate is genuine, current, of our cell, and the one that was expected: the one place
//! where a peer is let in.
//!
//! Chain and validity are rustls' own webpki verification. Names are not DNS names: addresses move, the
//! SPIFFE id does not, so it is read here and compared with whoever was dialled. A deny list belongs in
//! [`Trust::admit`] when it comes: everything that proves an identity passes through it.

use std::fmt;
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};

use crate::connector::Expect;
use crate::peer::PeerIdentity;
use crate::refusal::{PeerRefusal, Presented};

/// Which side of a handshake a certificate was presented on; its key usage must allow that side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

/// An authority and the cell that it stands for.
pub(crate) struct Trust {
    cell: String,
    /// The subject of the authority, for messages.
    authority: String,
    roots: Arc<RootCertStore>,
    clients: Arc<dyn ClientCertVerifier>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").field("cell", &self.cell).field("authority", &self.authority).finish()
    }
}

impl Trust {
    pub(crate) fn new(
        cell: String,
        authority: String,
        roots: RootCertStore,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, VerifierBuilderError> {
        let roots = Arc::new(roots);
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(provider)).build()?;
        let algorithms = provider.signature_verification_algorithms;
        Ok(Self { cell, authority, roots, clients, algorithms })
    }

    /// The identity behind a certificate, if it may be believed at `now`.
    ///
    /// Possession of the key is not proved here: the handshake does that, or the caller by a signature.
    pub(crate) fn admit(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        side: Side,
        now: UnixTime,
    ) -> Result<PeerIdentity, PeerRefusal> {
        self.verify_chain(certificate, intermediates, side, now)
            .map_err(|error| PeerRefusal::from_verifier(error, certificate, &self.authority))?;
        let identity = PeerIdentity::read(certificate)
            .map_err(|fault| PeerRefusal::Nameless { fault: fault.to_string() })?;
        if identity.cell != self.cell {
            let presented = Presented::of(certificate);
            return Err(PeerRefusal::OtherCell { cell: self.cell.clone(), presented });
        }
        Ok(identity)
    }

    fn verify_chain(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        side: Side,
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        match side {
            Side::Client => self.clients.verify_client_cert(certificate, intermediates, now).map(|_| ()),
            Side::Server => {
                let parsed = ParsedCertificate::try_from(certificate)?;
                let all = self.algorithms.all;
                verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, all)
            }
        }
    }
}

/// Judges the peer of one handshake and remembers the verdict, which an alert has no room for.
///
/// There is one per connection. Sessions are never resumed, so no handshake gets past it.
#[derive(Debug)]
pub(crate) struct Examiner {
    trust: Arc<Trust>,
    expect: Option<Expect>,
    verdict: OnceLock<Result<PeerIdentity, PeerRefusal>>,
}

impl Examiner {
    pub(crate) fn new(trust: Arc<Trust>, expect: Option<Expect>) -> Arc<Self> {
        Arc::new(Self { trust, expect, verdict: OnceLock::new() })
    }

    /// What was decided about the peer; `None` if the handshake did not get as far as a certificate.
    pub(crate) fn verdict(&self) -> Option<Result<PeerIdentity, PeerRefusal>> {
        self.verdict.get().cloned()
    }

    /// The refusal of a client that had no certificate to show.
    pub(crate) fn no_certificate(&self) -> PeerRefusal {
        PeerRefusal::NoCertificate { cell: self.trust.cell.clone() }
    }

    fn judge(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        side: Side,
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let verdict = self
            .trust
            .admit(certificate, intermediates, side, now)
            .and_then(|identity| self.compare(identity));
        self.verdict.get_or_init(|| verdict).as_ref().map(|_| ()).map_err(PeerRefusal::alert)
    }

    fn compare(&self, identity: PeerIdentity) -> Result<PeerIdentity, PeerRefusal> {
        match &self.expect {
            Some(expected) if !expected.matches(&identity) => Err(PeerRefusal::NotExpected {
                cell: self.trust.cell.clone(),
                expected: expected.clone(),
                presented: Presented::of(&identity.certificate_der),
            }),
            _ => Ok(identity),
        }
    }
}

/// How possession of the key is proved: the same on both sides, but rustls asks for it in two traits.
macro_rules! possession_proved_by_tls13 {
    () => {
        /// TLS 1.2 is not compiled in; this is what its hook answers.
        fn verify_tls12_signature(
            &self,
            _message: &[u8],
            _certificate: &CertificateDer<'_>,
            _signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Err(rustls::Error::General("TLS 1.2 is not spoken here".to_owned()))
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            verify_tls13_signature(message, certificate, signature, &self.trust.algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.trust.algorithms.supported_schemes()
        }
    };
}

impl ClientCertVerifier for Examiner {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.trust.clients.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.judge(end_entity, intermediates, Side::Client, now).map(|()| ClientCertVerified::assertion())
    }

    possession_proved_by_tls13!();
}

impl ServerCertVerifier for Examiner {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.judge(end_entity, intermediates, Side::Server, now).map(|()| ServerCertVerified::assertion())
    }

    possession_proved_by_tls13!();
}
