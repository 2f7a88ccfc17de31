//! What can go wrong with folders of keys and certificates. Wrong peers are in `refusal`.

use std::io;
use std::path::PathBuf;

use crate::role::Role;

/// A failure to create, read or use an authority or credentials. Every variant names the file or the name.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file or folder could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file or folder could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Keys are never overwritten.
    #[error("{} exists already and is not overwritten; choose another folder or move it away", path.display())]
    Exists {
        /// The file that is in the way.
        path: PathBuf,
    },
    /// A key could have been read by others, so it must be taken as stolen.
    #[error("the key {} is open to others (mode {mode:04o}); expected is 0600", path.display())]
    KeyExposed {
        /// The key.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The content of a file is not what its name promises.
    #[error("{} is not usable: {fault}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What was expected.
        fault: String,
    },
    /// The certificate does not chain to the authority beside it, or does not belong to the key.
    #[error("{} does not fit the files beside it: {fault}", path.display())]
    Mismatch {
        /// The certificate.
        path: PathBuf,
        /// What does not fit.
        fault: String,
    },
    /// A text that cannot stand in a certificate.
    #[error("{presented:?} cannot be used: {fault}")]
    BadName {
        /// The text.
        presented: String,
        /// The rule that it breaks.
        fault: &'static str,
    },
    /// A certificate would be worthless for part of its life.
    #[error(
        "a certificate for {role}/{name} until unix time {not_after_unix} would outlive its authority, which ends at {authority_not_after_unix}"
    )]
    OutlivesAuthority {
        /// Role asked for.
        role: Role,
        /// Name asked for.
        name: String,
        /// End asked for.
        not_after_unix: i64,
        /// End of the authority.
        authority_not_after_unix: i64,
    },
    /// A validity window that cannot be written into a certificate.
    #[error(
        "a certificate cannot be valid from unix time {not_before_unix} to {not_after_unix}: it must end after it starts, both in the years 1970 to 9999"
    )]
    BadValidity {
        /// Start asked for.
        not_before_unix: i64,
        /// End asked for.
        not_after_unix: i64,
    },
    /// Key generation or signing failed.
    #[error("cannot make the certificate")]
    Generate(#[from] rcgen::Error),
}
