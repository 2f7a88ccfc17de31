//! Freshly issued credentials, on their way to a folder.

use std::fmt;
use std::path::Path;

use crate::credentials::{CELL_FILES, PEER_FILES};
use crate::error::IdentityError;
use crate::files::{self, Kind};

/// One certificate with its key and the authority to trust.
pub(super) struct Identity {
    pub(super) authority_pem: String,
    pub(super) certificate_pem: String,
    pub(super) key_pem: String,
}

/// Certificates and keys for one peer; masters have a second pair for Raft.
pub struct IssuedCredentials {
    pub(super) cell: Identity,
    pub(super) peer: Option<Identity>,
}

/// Without the keys.
impl fmt::Debug for IssuedCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedCredentials").field("peer", &self.peer.is_some()).finish_non_exhaustive()
    }
}

impl IssuedCredentials {
    /// Writes `ca.pem cert.pem key.pem`, and for masters `peer-ca.pem peer-cert.pem peer-key.pem`, so that
    /// [`Credentials::load`](crate::Credentials::load) can read them. Existing files are not overwritten.
    pub fn write(&self, dir: &Path) -> Result<(), IdentityError> {
        files::create_folder(dir)?;
        let sets = [(Some(&self.cell), CELL_FILES), (self.peer.as_ref(), PEER_FILES)];
        for names in [CELL_FILES, PEER_FILES] {
            files::refuse_existing(dir, &[names.authority, names.certificate, names.key])?;
        }
        for (identity, names) in sets {
            let Some(identity) = identity else { continue };
            files::write_new(dir, names.key, Kind::Key, &identity.key_pem)?;
            files::write_new(dir, names.certificate, Kind::Public, &identity.certificate_pem)?;
            files::write_new(dir, names.authority, Kind::Public, &identity.authority_pem)?;
        }
        files::sync_folder(dir)
    }
}
