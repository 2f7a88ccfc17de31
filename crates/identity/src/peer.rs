//! A peer's identity, and how it is read from a certificate.
//!
//! Reading proves nothing: whether the certificate is genuine is decided in `trust`, before anyone is
//! given what was read here.

#[cfg(test)]
mod fuzz;

use std::sync::Arc;

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::name::{cell_fault, name_fault};
use crate::role::Role;

const SECONDS_PER_DAY: i64 = 24 * 60 * 60;

/// Longest URI that SPIFFE allows in a SAN.
const SPIFFE_URI_BYTES_MAX: usize = 2048;

/// Who is on the other end, as proved by the certificate that came with the handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerIdentity {
    /// The cell that the certificate belongs to.
    pub cell: String,
    /// What the peer is.
    pub role: Role,
    /// Its name: of a node for agents, a node-name prefix for agent groups.
    pub name: String,
    /// When the certificate ends, in seconds since 1970. A connection is closed then; a simulation that injects
    /// identities gives them a far end.
    pub not_after_unix: i64,
    /// The certificate itself, so that what its key has signed can be checked elsewhere.
    pub certificate_der: Arc<[u8]>,
}

impl PeerIdentity {
    /// `ROLE/NAME`: who acts, in request ids, audit records and messages.
    pub fn principal(&self) -> String {
        format!("{}/{}", self.role, self.name)
    }

    /// The full SPIFFE id, `spiffe://CELL/ROLE/NAME`.
    pub fn spiffe_id(&self) -> String {
        spiffe_id(&self.cell, self.role, &self.name)
    }

    /// Whole days until the certificate ends; negative once it has ended.
    pub fn days_left(&self, now_unix: i64) -> i64 {
        self.not_after_unix.saturating_sub(now_unix).div_euclid(SECONDS_PER_DAY)
    }

    /// Whether this peer may speak for the node: it is that node's agent, or a group whose prefix covers it.
    pub fn speaks_for_node(&self, node: &str) -> bool {
        match self.role {
            Role::Agent => self.name == node,
            Role::AgentGroup => node.starts_with(&self.name),
            _ => false,
        }
    }

    /// Reads the identity out of a certificate without judging who issued it.
    pub(crate) fn read(certificate_der: &[u8]) -> Result<Self, UnreadableCertificate> {
        let (rest, certificate) =
            X509Certificate::from_der(certificate_der).map_err(|_| UnreadableCertificate::NotX509)?;
        if !rest.is_empty() {
            return Err(UnreadableCertificate::NotX509);
        }
        let (cell, role, name) = parse_spiffe_id(only_uri(&certificate)?)?;
        Ok(Self {
            cell,
            role,
            name,
            not_after_unix: certificate.validity().not_after.timestamp(),
            certificate_der: certificate_der.into(),
        })
    }
}

/// Why no identity could be read from a certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnreadableCertificate {
    #[error("it is not an X.509 certificate")]
    NotX509,
    #[error("it has {found} URI names, and exactly one is expected")]
    UriCount { found: usize },
    #[error("its name {presented:?} is not spiffe://CELL/ROLE/NAME: {fault}")]
    NotOurs { presented: String, fault: String },
}

/// Builds the SAN.
pub(crate) fn spiffe_id(cell: &str, role: Role, name: &str) -> String {
    format!("spiffe://{cell}/{role}/{name}")
}

/// SPIFFE demands exactly one URI, so that no two readers can pick different ones.
fn only_uri<'a>(certificate: &'a X509Certificate<'_>) -> Result<&'a str, UnreadableCertificate> {
    let names = match certificate.subject_alternative_name() {
        Ok(Some(extension)) => extension.value.general_names.as_slice(),
        Ok(None) => &[],
        Err(_) => return Err(UnreadableCertificate::NotX509),
    };
    let uris: Vec<&str> = names
        .iter()
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        })
        .collect();
    match uris[..] {
        [uri] => Ok(uri),
        _ => Err(UnreadableCertificate::UriCount { found: uris.len() }),
    }
}

fn parse_spiffe_id(uri: &str) -> Result<(String, Role, String), UnreadableCertificate> {
    let not_ours = |fault: String| UnreadableCertificate::NotOurs {
        presented: uri.chars().take(SPIFFE_URI_BYTES_MAX).collect(),
        fault,
    };
    if uri.len() > SPIFFE_URI_BYTES_MAX {
        return Err(not_ours(format!("it is longer than {SPIFFE_URI_BYTES_MAX} bytes")));
    }
    let path = uri.strip_prefix("spiffe://").ok_or_else(|| not_ours("another scheme".to_owned()))?;
    let mut parts = path.split('/');
    let (Some(cell), Some(role), Some(name), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(not_ours("it does not have three parts".to_owned()));
    };
    let role = role.parse::<Role>().map_err(|error| not_ours(error.to_string()))?;
    if let Some(fault) = cell_fault(cell).or_else(|| name_fault(role, name)) {
        return Err(not_ours(fault.to_owned()));
    }
    Ok((cell.to_owned(), role, name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spiffe_id_is_read_back_as_it_was_built() {
        for role in Role::ALL {
            let parsed = parse_spiffe_id(&spiffe_id("prod", role, "n-1.rack"));
            assert_eq!(parsed, Ok(("prod".to_owned(), role, "n-1.rack".to_owned())));
        }
    }

    #[test]
    fn anything_but_three_plain_parts_is_refused() {
        for bad in [
            "",
            "https://prod/agent/n1",
            "SPIFFE://prod/agent/n1",
            "spiffe://prod/agent",
            "spiffe://prod/agent/",
            "spiffe://prod//n1",
            "spiffe:///agent/n1",
            "spiffe://prod/agent/n1/",
            "spiffe://prod/agent/n1/x",
            "spiffe://prod/agent/n1?role=operator",
            "spiffe://prod/agent/n1#x",
            "spiffe://user@prod/agent/n1",
            "spiffe://prod:443/agent/n1",
            "spiffe://prod/agent/n%31",
            "spiffe://prod/janitor/n1",
        ] {
            assert!(parse_spiffe_id(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_group_speaks_for_its_prefix_and_an_agent_for_itself() {
        let peer = |role, name: &str| PeerIdentity {
            cell: "prod".to_owned(),
            role,
            name: name.to_owned(),
            not_after_unix: 0,
            certificate_der: Arc::from([]),
        };
        assert!(peer(Role::Agent, "n1").speaks_for_node("n1"));
        assert!(!peer(Role::Agent, "n1").speaks_for_node("n10"));
        assert!(peer(Role::AgentGroup, "bench-").speaks_for_node("bench-17"));
        assert!(!peer(Role::AgentGroup, "bench-").speaks_for_node("prod-17"));
        assert!(!peer(Role::Operator, "n1").speaks_for_node("n1"));
    }
}
