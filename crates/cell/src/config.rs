//! The configuration of a cell: everything that apply and the services read as a number stands here,
//! in one table with code, word, default and range.
//!
//! `apply/set_config` changes it; the words are those of `cell config`.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use paceline_rules::{Limits, Violation};
use paceline_types::FeatureLevel;

/// Highest number of labels that name failure domains: each costs a grouping per detection round.
const FAILURE_DOMAINS_MAX: usize = 8;
/// Longest such label, in bytes.
const FAILURE_DOMAIN_BYTES_MAX: usize = 128;

macro_rules! settings {
    ($($(#[$doc:meta])* $variant:ident = $code:literal $word:literal $($field:ident).+: $type:ty, $range:expr;)+) => {
        /// A number of the configuration. Codes are stored: append, never renumber.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u16)]
        pub enum Setting { $($(#[$doc])* $variant = $code,)+ }

        impl Setting {
            /// Every setting, in the order of the codes.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word in the API and the CLI; units last.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// What is accepted.
            #[must_use]
            pub fn range(self) -> RangeInclusive<u64> {
                match self { $(Self::$variant => $range,)+ }
            }
        }

        impl CellConfig {
            /// The value of a setting.
            #[must_use]
            pub fn value(&self, setting: Setting) -> u64 {
                match setting { $(Setting::$variant => u64::from(self.$($field).+),)+ }
            }

            /// Puts a value that is within the setting's range, which its type holds.
            fn put(&mut self, setting: Setting, value: u64) {
                match setting {
                    $(Setting::$variant => self.$($field).+ = <$type>::try_from(value).unwrap_or(<$type>::MAX),)+
                }
            }
        }
    };
}

settings! {
    /// How often an agent must be heard.
    HeartbeatMs = 1 "heartbeat_ms" heartbeat_ms: u64, 100..=60_000;
    /// Silence after which a node is suspect.
    DetectionMs = 2 "detection_ms" detection_ms: u64, 500..=600_000;
    /// Silence after which a shard leaves the list.
    ShardSilenceMs = 3 "shard_silence_ms" shard_silence_ms: u64, 10_000..=86_400_000;
    /// Silent nodes from which on a mass loss is possible.
    BrakeNodes = 4 "brake_nodes" brake_nodes: u32, 1..=1_000_000;
    /// Share of the cell from which on silence is a mass loss.
    BrakeSharePermille = 5 "brake_share_permille" brake_share_permille: u32, 1..=1_000;
    /// Share of the cell that is written off per minute during a mass loss, at least one node.
    WriteOffPermillePerMinute = 6 "write_off_permille_per_minute" write_off_permille_per_minute: u32, 1..=1_000;
    /// Cell clock that a client's request record outlives its last call.
    RequestRetentionMs = 7 "request_retention_ms" request_retention_ms: u64, 10_000..=86_400_000;
    /// Unanswered request ids of one client.
    RequestIdsPerClient = 8 "request_ids_per_client" request_ids_per_client: u32, 1..=65_536;
    /// Recorded request ids of the cell.
    RequestRecords = 9 "request_records" request_records: u32, 1_000..=10_000_000;
    /// Finished jobs in history.
    HistoryJobs = 10 "history_jobs" history_jobs: u32, 0..=10_000_000;
    /// Cell clock that a finished job stays in history.
    HistoryAgeMs = 11 "history_age_ms" history_age_ms: u64, 0..=31_622_400_000;
    /// Nodes of the cell.
    NodesPerCell = 12 "nodes_per_cell" nodes_per_cell: u32, 1..=1_000_000;
    /// Link shards of the cell.
    ShardsPerCell = 13 "shards_per_cell" shards_per_cell: u32, 1..=4_096;
    /// Jobs in the state, ended ones that have not retired included.
    JobsPerCell = 14 "jobs_per_cell" jobs_per_cell: u32, 1..=10_000_000;
    /// Tasks in the state, those of ended jobs included.
    TasksPerCell = 15 "tasks_per_cell" tasks_per_cell: u64, 1..=100_000_000;
    /// Whether `agent-group` certificates are admitted: 0 or 1.
    AgentGroups = 16 "agent_groups" agent_groups: u32, 0..=1;
    /// Tasks in one job.
    TasksPerJob = 32 "tasks_per_job" limits.tasks_per_job: u32, 1..=10_000_000;
    /// Bytes of all overrides of a job; an entry holds 2 MiB.
    OverrideBytes = 33 "override_bytes" limits.override_bytes: u64, 0..=1_048_576;
    /// Arguments of a command.
    Arguments = 34 "arguments" limits.arguments: u32, 1..=65_536;
    /// Bytes of one argument, value or label.
    StringBytes = 35 "string_bytes" limits.string_bytes: u32, 64..=131_072;
    /// Items of one list of a specification.
    ListItems = 36 "list_items" limits.list_items: u32, 1..=65_536;
    /// Attempts that may fail; a column of 16 bits counts them.
    MaxAttempts = 37 "max_attempts" limits.max_attempts: u32, 1..=65_535;
    /// Longest grace period.
    GraceMs = 38 "grace_ms" limits.grace_ms: u64, 0..=86_400_000;
    /// Bytes of a specification without its overrides.
    SpecBytes = 39 "spec_bytes" limits.spec_bytes: u64, 1_024..=786_432;
}

/// What the cell is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellConfig {
    /// See [`Setting::HeartbeatMs`].
    pub heartbeat_ms: u64,
    /// See [`Setting::DetectionMs`].
    pub detection_ms: u64,
    /// See [`Setting::ShardSilenceMs`].
    pub shard_silence_ms: u64,
    /// See [`Setting::BrakeNodes`].
    pub brake_nodes: u32,
    /// See [`Setting::BrakeSharePermille`].
    pub brake_share_permille: u32,
    /// See [`Setting::WriteOffPermillePerMinute`].
    pub write_off_permille_per_minute: u32,
    /// See [`Setting::RequestRetentionMs`].
    pub request_retention_ms: u64,
    /// See [`Setting::RequestIdsPerClient`].
    pub request_ids_per_client: u32,
    /// See [`Setting::RequestRecords`].
    pub request_records: u32,
    /// See [`Setting::HistoryJobs`].
    pub history_jobs: u32,
    /// See [`Setting::HistoryAgeMs`].
    pub history_age_ms: u64,
    /// See [`Setting::NodesPerCell`].
    pub nodes_per_cell: u32,
    /// See [`Setting::ShardsPerCell`].
    pub shards_per_cell: u32,
    /// See [`Setting::JobsPerCell`].
    pub jobs_per_cell: u32,
    /// See [`Setting::TasksPerCell`].
    pub tasks_per_cell: u64,
    /// See [`Setting::AgentGroups`].
    pub agent_groups: u32,
    /// The bounds of a specification.
    pub limits: Limits,
    /// Node labels that name failure domains, widest first.
    pub failure_domains: Vec<String>,
}

/// The defaults of DESIGN and of the limits. They are part of what a log means: a cell begins with them and
/// replays its log on them. So a default is never changed; where a later release wants another one, its masters set it
/// in cells that they begin. A test holds them.
impl Default for CellConfig {
    fn default() -> Self {
        Self {
            heartbeat_ms: 2_000,
            detection_ms: 10_000,
            shard_silence_ms: 600_000,
            brake_nodes: 3,
            brake_share_permille: 100,
            write_off_permille_per_minute: 10,
            request_retention_ms: 600_000,
            request_ids_per_client: 1_024,
            request_records: 200_000,
            history_jobs: 100_000,
            history_age_ms: 2_592_000_000,
            nodes_per_cell: 50_000,
            shards_per_cell: 256,
            jobs_per_cell: 1_000_000,
            tasks_per_cell: 4_000_000,
            agent_groups: 0,
            limits: Limits::default(),
            failure_domains: Vec::new(),
        }
    }
}

/// What is to be set otherwise; the rest stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigChange {
    /// Numbers.
    pub settings: BTreeMap<Setting, u64>,
    /// Replaces the list.
    pub failure_domains: Option<Vec<String>>,
}

impl Setting {
    /// The stored code.
    #[must_use]
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// The feature level that it came with: below it the setting has its default and is not stored.
    #[must_use]
    pub const fn feature_level(self) -> FeatureLevel {
        crate::FEATURE_LEVEL_FIRST
    }

    /// The value of a stored code.
    #[must_use]
    pub fn from_code(code: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|setting| u32::from(setting.code()) == code)
    }
}

impl std::fmt::Display for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Setting {
    type Err = UnknownSetting;
    fn from_str(text: &str) -> Result<Self, UnknownSetting> {
        Self::ALL
            .iter()
            .copied()
            .find(|setting| setting.as_str() == text)
            .ok_or_else(|| UnknownSetting { word: text.to_owned() })
    }
}

/// A word that is not in the table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no setting `{word}`")]
pub struct UnknownSetting {
    /// The word.
    pub word: String,
}

impl CellConfig {
    /// Whether certificates for groups of virtual nodes are admitted.
    #[must_use]
    pub const fn agent_groups_allowed(&self) -> bool {
        self.agent_groups != 0
    }

    /// Every setting with its value, in the order of the codes.
    pub fn settings(&self) -> impl Iterator<Item = (Setting, u64)> + '_ {
        Setting::ALL.iter().map(|&setting| (setting, self.value(setting)))
    }

    /// The configuration with a change laid over it.
    ///
    /// # Errors
    /// Every value that is out of its range, and every pair of values that contradict each other.
    pub fn with(&self, change: &ConfigChange) -> Result<Self, Vec<Violation>> {
        let mut next = self.clone();
        let mut faults = Vec::new();
        for (&setting, &value) in &change.settings {
            if setting.range().contains(&value) {
                next.put(setting, value);
            } else {
                faults.push(out_of_range(setting, value));
            }
        }
        if let Some(domains) = &change.failure_domains {
            check_domains(domains, &mut faults);
            next.failure_domains.clone_from(domains);
        }
        if next.detection_ms < next.heartbeat_ms.saturating_mul(2) {
            faults.push(Violation {
                field: Setting::DetectionMs.as_str().to_owned(),
                value: next.detection_ms.to_string(),
                expected: format!("at least twice heartbeat_ms, which is {}", next.heartbeat_ms),
            });
        }
        if faults.is_empty() { Ok(next) } else { Err(faults) }
    }
}

fn out_of_range(setting: Setting, value: u64) -> Violation {
    let range = setting.range();
    Violation {
        field: setting.as_str().to_owned(),
        value: value.to_string(),
        expected: format!("{} to {}", range.start(), range.end()),
    }
}

fn check_domains(domains: &[String], faults: &mut Vec<Violation>) {
    if domains.len() > FAILURE_DOMAINS_MAX {
        faults.push(Violation {
            field: "failure_domains".to_owned(),
            value: format!("{} labels", domains.len()),
            expected: format!("at most {FAILURE_DOMAINS_MAX} labels"),
        });
    }
    for label in domains {
        if label.is_empty() || label.len() > FAILURE_DOMAIN_BYTES_MAX {
            faults.push(Violation {
                field: "failure_domains".to_owned(),
                value: format!("{} bytes", label.len()),
                expected: format!("label names of 1 to {FAILURE_DOMAIN_BYTES_MAX} bytes"),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_within_its_range_and_has_its_own_word_and_code() {
        let config = CellConfig::default();
        for (setting, value) in config.settings() {
            assert!(setting.range().contains(&value), "{setting} {value}");
            assert_eq!(setting.as_str().parse(), Ok(setting));
            assert_eq!(Setting::from_code(u32::from(setting.code())), Some(setting));
        }
    }

    #[test]
    fn the_defaults_are_those_that_every_log_was_begun_with() {
        let values: Vec<u64> = CellConfig::default().settings().map(|(_, value)| value).collect();
        let first = [
            2_000,
            10_000,
            600_000,
            3,
            100,
            10,
            600_000,
            1_024,
            200_000,
            100_000,
            2_592_000_000,
            50_000,
            256,
            1_000_000,
            4_000_000,
            0,
            1_000_000,
            1_048_576,
            1_024,
            131_072,
            1_024,
            1_000,
            3_600_000,
            524_288,
        ];
        assert_eq!(
            values, first,
            "append; a cell that replays its log would differ from one that was begun earlier"
        );
    }

    #[test]
    fn every_setting_can_be_put_at_both_ends_of_its_range() {
        for &setting in Setting::ALL {
            for value in [*setting.range().start(), *setting.range().end()] {
                let mut config = CellConfig::default();
                config.put(setting, value);
                assert_eq!(config.value(setting), value, "{setting}");
            }
        }
    }

    #[test]
    fn all_faults_of_a_change_are_found_at_once_and_nothing_is_changed() {
        let change = ConfigChange {
            settings: [(Setting::HeartbeatMs, 1), (Setting::MaxAttempts, 65_536)].into(),
            failure_domains: Some(vec![String::new(); 9]),
        };
        let faults = CellConfig::default().with(&change).expect_err("out of range");
        assert_eq!(faults.len(), 2 + 1 + 9);
    }

    #[test]
    fn detection_is_at_least_two_heartbeats() {
        let change = ConfigChange { settings: [(Setting::HeartbeatMs, 6_000)].into(), failure_domains: None };
        let faults = CellConfig::default().with(&change).expect_err("10 s is less than twice 6 s");
        assert_eq!(faults[0].field, "detection_ms");
    }
}
