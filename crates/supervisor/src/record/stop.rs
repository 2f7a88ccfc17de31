//! The wish to end a task. Written by the agent, read by the supervisor whenever it is woken.

use crate::folder::Record;
use crate::record::text::{Damage, Fields, Writer};

/// End the task: SIGTERM to its process group, SIGKILL to all of it after the grace.
/// A later record with a shorter grace shortens it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    /// Between SIGTERM and SIGKILL; zero kills at once.
    pub grace_ms: u64,
}

impl Record for Stop {
    const NAME: &'static str = "stop";

    fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new(Self::NAME);
        writer.field("grace_ms", self.grace_ms);
        writer.finish()
    }

    fn decode(fields: &Fields) -> Result<Self, Damage> {
        Ok(Self { grace_ms: fields.value("grace_ms")? })
    }
}
