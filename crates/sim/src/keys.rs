//! Certificates of the simulated cell: real ones, because masters verify what agents sign; made from the seed's
//! randomness at the beginning of virtual time.
//!
//! They pass through a folder, since that is how production loads them; in memory where the machine has such a place.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use paceline_identity::{Authority, Credentials, PeerIdentity, Role, Validity};

use crate::clock::WALL_START_UNIX_S;

/// The one cell that is simulated.
pub const CELL: &str = "sim";
/// A folder in memory on Linux: a sync of a key must not wait for a disk.
const MEMORY: &str = "/dev/shm";
/// Ten years: no certificate ends in a simulation unless a plan says so.
const LIFE_S: i64 = 10 * 365 * 24 * 60 * 60;

/// The authority of the simulated cell.
pub struct Keys {
    dir: PathBuf,
    authority: Authority,
    validity: Validity,
}

impl Keys {
    /// Makes the authorities.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn new() -> Result<Self> {
        // Named by process id, not at random: a name that is taken would cost a draw of the seed's randomness.
        let place = if Path::new(MEMORY).is_dir() { PathBuf::from(MEMORY) } else { std::env::temp_dir() };
        let dir = place.join(format!("paceline-sim-{}", std::process::id()));
        let start = i64::try_from(WALL_START_UNIX_S).expect("a year that people live in");
        let validity = Validity { not_before_unix: start - 3_600, not_after_unix: start + LIFE_S };
        let authority = Authority::create_for(&dir, CELL, validity)
            .with_context(|| format!("no authority in {}", dir.display()))?;
        Ok(Self { dir, authority, validity })
    }

    /// Credentials of a process that signs or verifies.
    ///
    /// # Errors
    /// The folder cannot be written or read back.
    pub fn issue(&self, role: Role, name: &str) -> Result<Arc<Credentials>> {
        let dir = self.dir.join(format!("{role}-{name}"));
        self.authority.issue_for(role, name, self.validity)?.write(&dir)?;
        Ok(Arc::new(Credentials::load(&dir)?))
    }

    /// The identity of a process that only speaks: nobody looks at its certificate.
    #[must_use]
    pub fn injected(&self, role: Role, name: &str) -> PeerIdentity {
        PeerIdentity {
            cell: CELL.to_owned(),
            role,
            name: name.to_owned(),
            not_after_unix: self.validity.not_after_unix,
            certificate_der: Arc::from([]),
        }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        // What is left over is a folder of a finished process in memory; nothing depends on it.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
