//! The certificate authorities of a cell, as a folder on an operator's machine.
//!
//! There are two, so that nothing but a master can ever speak Raft: the cell authority signs everybody, the
//! peer authority signs masters only. The folder stays offline; no running role needs it. Certificate
//! requests of nodes that join by token will be signed through the same [`Authority`].

mod issued;
mod template;

use std::fmt;
use std::path::Path;
use std::time::Duration;

use rcgen::{Issuer, KeyPair, PKCS_ECDSA_P256_SHA256};
use x509_parser::pem::parse_x509_pem;

use crate::error::IdentityError;
use crate::files::{self, Kind};
use crate::name::{cell_fault, name_fault};
use crate::role::Role;

pub use issued::IssuedCredentials;
pub use template::{CERTIFICATE_LIFE, Validity};

/// How long an authority lives. Replacing one means touching every machine, so it outlives the hardware.
const AUTHORITY_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

const CA: &str = "ca.pem";
const CA_KEY: &str = "ca.key";
const PEER_CA: &str = "peer-ca.pem";
const PEER_CA_KEY: &str = "peer-ca.key";
const CELL: &str = "cell";

/// Both authorities of one cell, with their keys.
pub struct Authority {
    cell: String,
    everybody: SigningAuthority,
    masters: SigningAuthority,
}

/// Without the keys.
impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("cell", &self.cell).finish_non_exhaustive()
    }
}

/// One authority: what it signs with and what its certificate says.
struct SigningAuthority {
    pem: String,
    not_after_unix: i64,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes new authorities for a cell and writes them to `dir`. A folder that has any of the files is
    /// refused: overwriting a key of an authority would orphan every certificate of the cell.
    pub fn create(dir: &Path, cell: &str) -> Result<Self, IdentityError> {
        Self::create_for(dir, cell, Validity::starting_now(AUTHORITY_LIFE)?)
    }

    /// Like [`Authority::create`], with a window of your own.
    pub fn create_for(dir: &Path, cell: &str, validity: Validity) -> Result<Self, IdentityError> {
        if let Some(fault) = cell_fault(cell) {
            return Err(IdentityError::BadName { presented: cell.to_owned(), fault });
        }
        files::create_folder(dir)?;
        files::refuse_existing(dir, &[CA, CA_KEY, PEER_CA, PEER_CA_KEY, CELL])?;
        let everybody = SigningAuthority::generate(&format!("{cell} cell authority"), validity)?;
        let masters = SigningAuthority::generate(&format!("{cell} peer authority"), validity)?;
        everybody.write(dir, CA, CA_KEY)?;
        masters.write(dir, PEER_CA, PEER_CA_KEY)?;
        // Last, so that a folder without it is one whose creation was cut short.
        files::write_new(dir, CELL, Kind::Public, &format!("{cell}\n"))?;
        files::sync_folder(dir)?;
        Ok(Self { cell: cell.to_owned(), everybody, masters })
    }

    /// Reads the authorities that [`Authority::create`] has written.
    pub fn load(dir: &Path) -> Result<Self, IdentityError> {
        let (path, text) = files::read(dir, CELL, Kind::Public)?;
        let cell = text.trim_end().to_owned();
        if let Some(fault) = cell_fault(&cell) {
            return Err(IdentityError::Malformed { path, fault: fault.to_owned() });
        }
        let everybody = SigningAuthority::read(dir, CA, CA_KEY)?;
        let masters = SigningAuthority::read(dir, PEER_CA, PEER_CA_KEY)?;
        Ok(Self { cell, everybody, masters })
    }

    /// The cell that the authorities belong to.
    pub fn cell(&self) -> &str {
        &self.cell
    }

    /// Issues credentials that start now and live for `validity`.
    pub fn issue(
        &self,
        role: Role,
        name: &str,
        validity: Duration,
    ) -> Result<IssuedCredentials, IdentityError> {
        self.issue_for(role, name, Validity::starting_now(validity)?)
    }

    /// Issues credentials for a window of your own, which may lie in the past.
    pub fn issue_for(
        &self,
        role: Role,
        name: &str,
        validity: Validity,
    ) -> Result<IssuedCredentials, IdentityError> {
        if let Some(fault) = name_fault(role, name) {
            return Err(IdentityError::BadName { presented: name.to_owned(), fault });
        }
        let authority_not_after_unix = self.everybody.not_after_unix.min(self.masters.not_after_unix);
        if validity.not_after_unix > authority_not_after_unix {
            return Err(IdentityError::OutlivesAuthority {
                role,
                name: name.to_owned(),
                not_after_unix: validity.not_after_unix,
                authority_not_after_unix,
            });
        }
        let params = template::leaf(&self.cell, role, name, validity)?;
        let peer = match role {
            Role::Master => Some(self.masters.sign(&params)?),
            _ => None,
        };
        Ok(IssuedCredentials { cell: self.everybody.sign(&params)?, peer })
    }
}

impl SigningAuthority {
    fn generate(common_name: &str, validity: Validity) -> Result<Self, IdentityError> {
        let params = template::authority(common_name, validity)?;
        let key = new_key()?;
        let pem = params.self_signed(&key)?.pem();
        Ok(Self { pem, not_after_unix: validity.not_after_unix, issuer: Issuer::new(params, key) })
    }

    fn write(&self, dir: &Path, certificate: &str, key: &str) -> Result<(), IdentityError> {
        files::write_new(dir, key, Kind::Key, &self.issuer.key().serialize_pem())?;
        files::write_new(dir, certificate, Kind::Public, &self.pem)
    }

    fn read(dir: &Path, certificate: &str, key: &str) -> Result<Self, IdentityError> {
        let (key_path, key_pem) = files::read(dir, key, Kind::Key)?;
        let (path, pem) = files::read(dir, certificate, Kind::Public)?;
        let malformed = |path: &Path, fault: &str| IdentityError::Malformed {
            path: path.to_owned(),
            fault: fault.to_owned(),
        };
        let key = KeyPair::from_pem(&key_pem)
            .map_err(|_| malformed(&key_path, "expected a private key in PEM (PKCS 8)"))?;
        let not_after_unix = fitting_certificate(&pem, &key).map_err(|fault| malformed(&path, fault))?;
        let issuer = Issuer::from_ca_cert_pem(&pem, key)?;
        Ok(Self { pem, not_after_unix, issuer })
    }

    /// Each certificate gets a key of its own: the peer key of a master must not open the cell's door.
    fn sign(&self, params: &rcgen::CertificateParams) -> Result<issued::Identity, IdentityError> {
        let key = new_key()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(issued::Identity {
            authority_pem: self.pem.clone(),
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        })
    }
}

/// The end of the authority's certificate, if it is one and the key is its own.
fn fitting_certificate(pem: &str, key: &KeyPair) -> Result<i64, &'static str> {
    let (_, block) = parse_x509_pem(pem.as_bytes()).map_err(|_| "expected a certificate in PEM")?;
    let certificate = block.parse_x509().map_err(|_| "expected an X.509 certificate")?;
    if !certificate.is_ca() {
        return Err("expected the certificate of an authority");
    }
    if certificate.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
        return Err("its key is not the one beside it");
    }
    Ok(certificate.validity().not_after.timestamp())
}

/// P-256, because every TLS library speaks it: clients of a cell are not only ours, and several of the
/// common ones reject Ed25519 certificates.
fn new_key() -> Result<KeyPair, IdentityError> {
    Ok(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?)
}
