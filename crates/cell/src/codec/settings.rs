//! The configuration and changes of it, by code.

use paceline_types::FeatureLevel;

use crate::config::{CellConfig, ConfigChange, Setting};

use super::{Decoded, proto, wrong};

pub(super) fn change(change: &ConfigChange) -> proto::SetConfig {
    let of = |(setting, value): (&Setting, &u64)| one(*setting, *value);
    proto::SetConfig {
        settings: change.settings.iter().map(of).collect(),
        failure_domains: change
            .failure_domains
            .as_ref()
            .map(|labels| proto::FailureDomains { labels: labels.clone() }),
    }
}

pub(super) fn read_change(change: proto::SetConfig) -> Decoded<ConfigChange> {
    Ok(ConfigChange {
        settings: change.settings.iter().map(read_one).collect::<Decoded<_>>()?,
        failure_domains: change.failure_domains.map(|domains| domains.labels),
    })
}

/// The settings that exist at a level: a build that knows more writes the same bytes, so digests stay equal and an older
/// build can read the snapshot, until the level is raised.
pub(super) fn all(config: &CellConfig, level: FeatureLevel) -> Vec<proto::Setting> {
    let known = config.settings().filter(|(setting, _)| setting.feature_level() <= level);
    known.map(|(setting, value)| one(setting, value)).collect()
}

fn one(setting: Setting, value: u64) -> proto::Setting {
    proto::Setting { code: u32::from(setting.code()), value }
}

fn read_one(setting: &proto::Setting) -> Decoded<(Setting, u64)> {
    let known = Setting::from_code(setting.code);
    Ok((known.ok_or(wrong("code", "a setting that this build knows"))?, setting.value))
}
