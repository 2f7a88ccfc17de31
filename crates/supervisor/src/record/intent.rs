//! The mark that an attempt is taken: from here on nobody else may start it.

use crate::folder::Record;
use crate::process::ProcessIdentity;
use crate::record::ended::Ended;
use crate::record::text::{Damage, Fields, Writer};

/// Published by the supervisor before it executes anything. An agent that comes back to a folder without
/// one publishes it itself, so that a supervisor on its way there cannot start any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The attempt.
    pub attempt: String,
    /// The supervisor that holds it; nothing: it was closed, and nobody will ever start it.
    pub holder: Option<ProcessIdentity>,
    /// The holder's pipe, by its number among its open files: a byte in it makes it read its records again.
    pub control: Option<i32>,
    /// The user that the task runs as, where it is not the supervisor's own.
    pub uid: Option<u32>,
    /// What its groups are called, where they are not called after the attempt.
    pub groups: Option<String>,
}

impl Intent {
    /// Whether its supervisor lives, given the boot id of now.
    #[must_use]
    pub fn is_held(&self, boot: &str) -> bool {
        self.holder.as_ref().is_some_and(|holder| holder.is_alive(boot))
    }
}

impl Record for Intent {
    const NAME: &'static str = "intent";
    const FILES: &'static [&'static str] = &[Self::NAME, Ended::NAME];

    fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new(Self::NAME);
        writer.field("attempt", &self.attempt);
        if let Some(holder) = &self.holder {
            holder.write(&mut writer);
        }
        writer.optional("control", self.control).optional("uid", self.uid);
        writer.optional("groups", self.groups.as_ref());
        writer.finish()
    }

    fn decode(fields: &Fields) -> Result<Self, Damage> {
        let held = fields.optional::<u32>("pid")?.is_some();
        let holder = held.then(|| ProcessIdentity::read(fields)).transpose()?;
        let (control, uid) = (fields.optional("control")?, fields.optional("uid")?);
        let groups = fields.optional("groups")?;
        Ok(Self { attempt: fields.text("attempt")?.to_owned(), holder, control, uid, groups })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::testing::round_trip;

    #[test]
    fn an_intent_reads_back() {
        let holder = ProcessIdentity { pid: 7, start_ticks: 99, boot: "b".into() };
        for (holder, control, uid) in [(Some(holder), Some(3), Some(65534)), (None, None, None)] {
            let groups = uid.map(|_| "42-0.5.1".to_owned());
            let intent = Intent { attempt: "42-0.7.1".into(), holder, control, uid, groups };
            assert_eq!(round_trip(&intent), intent);
        }
    }
}
