//! The news that the task was executed.

use crate::folder::Record;
use crate::process::ProcessIdentity;
use crate::record::ended::Ended;
use crate::record::intent::Intent;
use crate::record::text::{Damage, Fields, Writer};

/// Added by the supervisor behind its intent once the command has been executed, not merely forked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// The task: leader of its process group.
    pub task: ProcessIdentity,
    /// When, in milliseconds of the wall clock; for display.
    pub started_unix_ms: u64,
}

impl Record for Running {
    const NAME: &'static str = "running";
    const FILES: &'static [&'static str] = &[Intent::NAME, Ended::NAME];

    fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new(Self::NAME);
        self.task.write(&mut writer);
        writer.field("started_unix_ms", self.started_unix_ms);
        writer.finish()
    }

    fn decode(fields: &Fields) -> Result<Self, Damage> {
        Ok(Self { task: ProcessIdentity::read(fields)?, started_unix_ms: fields.value("started_unix_ms")? })
    }
}
