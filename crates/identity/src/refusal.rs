//! Why a peer was turned away: what was expected and what was presented.
//!
//! The same reasons serve both ends of a handshake and the check of a signed message. The TLS alert that
//! the other side sees is chosen here too, so that it can tell an expired certificate from a foreign one.

use std::fmt;

use rustls::CertificateError;

use crate::connector::Expect;
use crate::peer::PeerIdentity;

/// A peer, as far as its certificate could be read. It proves nothing; it is for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presented(String);

impl Presented {
    /// Names whoever the certificate claims to be.
    pub(crate) fn of(certificate_der: &[u8]) -> Self {
        match PeerIdentity::read(certificate_der) {
            Ok(identity) => Self(identity.spiffe_id()),
            Err(fault) => Self(format!("a certificate without a usable name ({fault})")),
        }
    }
}

impl fmt::Display for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a peer, or something that it signed, is not accepted.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PeerRefusal {
    /// The client sent no certificate.
    #[error("expected a certificate of cell {cell}, presented was none")]
    NoCertificate {
        /// Our cell.
        cell: String,
    },
    /// Another authority issued the certificate.
    #[error("expected a certificate issued by the {authority}, presented was {presented} by another issuer")]
    ForeignAuthority {
        /// The subject of the authority that we trust.
        authority: String,
        /// Who the certificate claims to be.
        presented: Presented,
    },
    /// The certificate has ended.
    #[error("the certificate of {presented} ended {seconds_ago} s ago (at unix time {not_after_unix})")]
    Expired {
        /// Who the certificate claims to be.
        presented: Presented,
        /// When it ended, in seconds since 1970.
        not_after_unix: u64,
        /// How long ago that was on our clock.
        seconds_ago: u64,
    },
    /// The certificate starts in the future, or our clock is behind.
    #[error(
        "the certificate of {presented} starts in {seconds_ahead} s (at unix time {not_before_unix}); is a clock wrong?"
    )]
    NotYetValid {
        /// Who the certificate claims to be.
        presented: Presented,
        /// When it starts, in seconds since 1970.
        not_before_unix: u64,
        /// How far that is from our clock.
        seconds_ahead: u64,
    },
    /// Our authority issued it, but it does not carry one usable name.
    #[error("the certificate names nobody: {fault}")]
    Nameless {
        /// What is wrong with its names.
        fault: String,
    },
    /// Our authority issued it for another cell.
    #[error("expected a peer of cell {cell}, presented was {presented}")]
    OtherCell {
        /// Our cell.
        cell: String,
        /// Who the certificate says it is.
        presented: Presented,
    },
    /// A genuine peer of our cell, but not the one that was dialled.
    #[error("expected {expected} of cell {cell}, presented was {presented}")]
    NotExpected {
        /// Our cell.
        cell: String,
        /// Who was dialled.
        expected: Expect,
        /// Who the certificate says it is.
        presented: Presented,
    },
    /// The signature over the message was not made with the certificate's key.
    #[error("the message was not signed by {presented}")]
    BadSignature {
        /// Whose key was expected.
        presented: Presented,
    },
    /// Any other fault that the verification of the certificate found.
    #[error("the certificate of {presented} is not acceptable")]
    Certificate {
        /// Who the certificate claims to be.
        presented: Presented,
        /// What the verifier said.
        #[source]
        source: rustls::Error,
    },
}

impl PeerRefusal {
    /// Sorts what the verifier said about a certificate.
    pub(crate) fn from_verifier(error: rustls::Error, certificate_der: &[u8], authority: &str) -> Self {
        let presented = Presented::of(certificate_der);
        let rustls::Error::InvalidCertificate(fault) = &error else {
            return Self::Certificate { presented, source: error };
        };
        match fault {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                Self::ForeignAuthority { authority: authority.to_owned(), presented }
            }
            CertificateError::ExpiredContext { time, not_after } => Self::Expired {
                presented,
                not_after_unix: not_after.as_secs(),
                seconds_ago: time.as_secs().saturating_sub(not_after.as_secs()),
            },
            CertificateError::NotValidYetContext { time, not_before } => Self::NotYetValid {
                presented,
                not_before_unix: not_before.as_secs(),
                seconds_ahead: not_before.as_secs().saturating_sub(time.as_secs()),
            },
            _ => Self::Certificate { presented, source: error },
        }
    }

    /// What the other side is told. An alert has no room for words, so it gets the nearest kind.
    pub(crate) fn alert(&self) -> rustls::Error {
        let kind = match self {
            Self::NoCertificate { .. } => return rustls::Error::NoCertificatesPresented,
            Self::Certificate { source, .. } => return source.clone(),
            Self::ForeignAuthority { .. } => CertificateError::UnknownIssuer,
            Self::Expired { .. } => CertificateError::Expired,
            Self::NotYetValid { .. } => CertificateError::NotValidYet,
            Self::Nameless { .. } => CertificateError::BadEncoding,
            Self::BadSignature { .. } => CertificateError::BadSignature,
            Self::OtherCell { .. } | Self::NotExpected { .. } => {
                CertificateError::ApplicationVerificationFailure
            }
        };
        rustls::Error::InvalidCertificate(kind)
    }
}
