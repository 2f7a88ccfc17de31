//! What holds write-offs back, for people.

use paceline_api::v1;
use paceline_link::{BrakeStatus, LossStatus};

/// What the leader says of it.
pub(crate) fn node_loss(loss: &LossStatus) -> v1::NodeLoss {
    let brake = |brake: &BrakeStatus| v1::Brake {
        on_ms: brake.for_ms,
        cause: brake.cause.to_string(),
        silent: brake.silent,
        written_off: brake.written_off,
        per_minute: brake.per_minute,
    };
    v1::NodeLoss {
        report_round_left_ms: loss.round_left_ms,
        no_shard: loss.deaf,
        brake: loss.brake.as_ref().map(brake),
    }
}
