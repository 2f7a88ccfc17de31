//! The lease of an `at_most_one` attempt, as the agent received it last.

use crate::folder::Record;
use crate::record::text::{Damage, Fields, Writer};

/// Written by the agent on every renewal; [`crate::lease::decide`] says what follows from it.
/// Times are milliseconds of the boot clock, which goes on while the machine is suspended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// When the agent sent the request that this lease answers: the lease counts from there, so that the
    /// time on the wire is never added to it.
    pub asked_boot_ms: u64,
    /// How long it lasts.
    pub duration_ms: u64,
}

impl Record for Lease {
    const NAME: &'static str = "lease";

    fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new(Self::NAME);
        writer.field("asked_boot_ms", self.asked_boot_ms).field("duration_ms", self.duration_ms);
        writer.finish()
    }

    fn decode(fields: &Fields) -> Result<Self, Damage> {
        Ok(Self { asked_boot_ms: fields.value("asked_boot_ms")?, duration_ms: fields.value("duration_ms")? })
    }
}
