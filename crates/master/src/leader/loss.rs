//! What the leader's loop does about silent nodes: the hub decides, the cell applies, people are told.

use paceline_cell::{CommandBody, Reply};
use paceline_link::{BrakeEnd, Liveness, LossStatus, MassLoss, WriteOff};
use paceline_telemetry::Metrics;

use super::event::Purpose;
use super::proposals::Draft;

/// Whether a node may have new work. One that a new leader has not heard yet is not held against it.
pub(super) fn usable(liveness: Liveness) -> bool {
    matches!(liveness, Liveness::Up | Liveness::Unheard)
}

pub(super) fn draft(off: WriteOff) -> Draft {
    let command = CommandBody::WriteOffNode { node: off.id, epoch: off.epoch, silent_ms: off.silent_ms };
    Draft { purpose: Purpose::WriteOff(off), commands: vec![command] }
}

/// Says what a write-off came to.
pub(super) fn settled(metrics: &Metrics, off: &WriteOff, reply: Option<&Reply>) {
    let WriteOff { name, silent_ms, .. } = off;
    match reply {
        Some(Reply::WrittenOff { tasks, lost }) => {
            tracing::warn!(node = %name, silent_ms, tasks, lost, "a silent node was written off");
            metrics.link.write_offs.inc();
            metrics.link.tasks_lost.add(*tasks);
        }
        Some(Reply::Refused(refusal)) => tracing::info!(node = %name, %refusal, "a write-off was refused"),
        other => tracing::error!(node = %name, ?other, "a write-off had an unexpected reply"),
    }
}

pub(super) fn brake_on(cause: &MassLoss, silent: u64) {
    tracing::warn!(
        %cause,
        silent,
        "the brake is on: many nodes fell silent together, and are written off slowly; \
         if they are gone for good: paceline cell brake release"
    );
}

pub(super) fn brake_off(end: BrakeEnd) {
    tracing::warn!(%end, "the brake is off: silent nodes are written off as ever");
}

/// Sets what dashboards see.
pub(super) fn observe(metrics: &Metrics, loss: &LossStatus) {
    metrics.link.brake.set_u64(u64::from(loss.brake.is_some()));
    metrics.link.silent_nodes.set_u64(loss.brake.as_ref().map_or(0, |brake| brake.silent));
}
