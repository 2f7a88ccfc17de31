//! One agent's stream and, after its Hello, its session.

use super::event::Claim;
use super::table::Table;
use crate::message::Hello;

/// A stream.
#[derive(Debug)]
pub(super) struct Agent {
    pub claim: Claim,
    pub heard_ms: u64,
    /// After the Hello.
    pub session: Option<Session>,
}

/// What was said after the Hello.
#[derive(Debug)]
pub(super) struct Session {
    pub hello: Hello,
    pub table: Table,
    /// The present leader has the Hello.
    pub introduced: bool,
    /// The present leader has the table up to this sequence.
    pub forwarded: u64,
    /// The latest request for a lease, until it was passed on.
    pub lease: Option<u64>,
}

impl Session {
    pub(super) fn new(hello: Hello) -> Self {
        Self { hello, table: Table::default(), introduced: false, forwarded: 0, lease: None }
    }

    /// Another leader knows nothing of it.
    pub(super) fn unknown_to_leader(&mut self) {
        self.introduced = false;
        self.forwarded = 0;
    }

    /// Whether the leader is to hear of it.
    pub(super) fn has_news(&self) -> bool {
        !self.introduced || self.forwarded < self.table.last() || self.lease.is_some()
    }
}
