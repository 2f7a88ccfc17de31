//! Whether the cell sends others to where this master really is: its entry among the members against what it was started
//! with. An entry is written once, when the master becomes a member; only a replacement changes it.

use paceline_replica::{DiskId, Member, ReplicaStatus, leads_to};

use crate::config::MasterConfig;

/// Compares once, as soon as the entry is known.
pub(crate) struct OwnEntry {
    peer_address: String,
    api_address: String,
    is_compared: bool,
}

impl OwnEntry {
    pub(crate) fn new(config: &MasterConfig) -> Self {
        let MasterConfig { peer_address, api_address, .. } = config.clone();
        Self { peer_address, api_address, is_compared: false }
    }

    /// Warns of every difference.
    pub(crate) fn look(&mut self, status: &ReplicaStatus, disk_id: DiskId) {
        if self.is_compared {
            return;
        }
        let Some(entry) = status.members.iter().find(|member| member.disk_id == disk_id) else { return };
        self.is_compared = true;
        for (field, known, own) in self.differences(entry) {
            tracing::warn!(
                field,
                known,
                own,
                "the cell knows another address of this master than it was started with: start it with the known one, or \
                 put it in its own place with paceline cell member replace"
            );
        }
    }

    fn differences<'a>(&'a self, entry: &'a Member) -> Vec<(&'static str, &'a str, &'a str)> {
        let both = [
            ("peer_address", entry.peer_address.as_str(), self.peer_address.as_str()),
            ("api_address", entry.api_address.as_str(), self.api_address.as_str()),
        ];
        both.into_iter().filter(|(_, known, own)| !leads_to(known, own)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_that_sends_others_elsewhere_is_named_by_field() {
        let (peer_address, api_address) = ("m4:7102".to_owned(), "m4:7101".to_owned());
        let own = OwnEntry { peer_address, api_address, is_compared: false };
        let entry =
            Member { peer_address: "m4:7102".into(), api_address: "m4:7110".into(), ..Member::default() };
        assert_eq!(own.differences(&entry), [("api_address", "m4:7110", "m4:7101")]);
        let entry = Member { api_address: "m4:7101".into(), ..entry };
        assert!(own.differences(&entry).is_empty());
    }
}
