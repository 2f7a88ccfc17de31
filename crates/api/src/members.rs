//! How a client learns that the masters of its cell have changed.

/// A header of every reply of a master: the log index at which the masters became what they are, as far as it knows. A
/// client that sees a higher one than before asks for the list.
pub const MEMBERS_HEADER: &str = "paceline-members";
