//! What the leader's loop does about silent nodes: the hub decides, the cell applies, people are told.

use std::time::Duration;

use paceline_cell::{CommandBody, Reply};
use paceline_link::{BrakeEnd, Liveness, LossStatus, MassLoss, WriteOff};
use paceline_replica::Replica;
use paceline_telemetry::Metrics;

use super::event::Purpose;
use super::proposals::Draft;

/// Masters that have not answered for so long do not count towards a majority: some dozens of Raft's heartbeats, and far
/// below the time after which a proposal's outcome is given up.
const MASTER_SILENCE: Duration = Duration::from_secs(2);

/// Whether a write-off that is proposed now has good chances to be decided soon.
pub(super) fn majority_answers(replica: &Replica) -> bool {
    let silences = replica.silences();
    let status = replica.status();
    let leads = status.leader.as_ref().map(|leader| leader.raft_id);
    let others = status.voters.iter().filter(|voter| Some(voter.raft_id) != leads);
    majority(&others.map(|voter| silences.get(&voter.raft_id).copied().flatten()).collect::<Vec<_>>())
}

/// Of the leader and the other voters, by how long ago each answered.
fn majority(others: &[Option<Duration>]) -> bool {
    let answers = others.iter().flatten().filter(|silence| **silence < MASTER_SILENCE).count();
    2 * (answers + 1) > others.len() + 1
}

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

/// Whether a brake is on that may be released; if it may not, why.
pub(super) fn release(loss: &LossStatus) -> Result<bool, String> {
    let why = match loss {
        LossStatus { brake: None, .. } => return Ok(false),
        LossStatus { deaf: true, .. } => "no shard is connected, so no node can be heard".to_owned(),
        LossStatus { alone: true, .. } => {
            "no majority of the masters answers, so nothing can be decided".to_owned()
        }
        LossStatus { round_left_ms: Some(left_ms), .. } => {
            format!("nodes are being heard anew, for {left_ms} ms at most")
        }
        LossStatus { .. } => return Ok(true),
    };
    Err(format!("the brake stays on: {why}; nodes that are alive would be released with those that are gone"))
}

/// Sets what dashboards see.
pub(super) fn observe(metrics: &Metrics, loss: &LossStatus) {
    metrics.link.brake.set_u64(u64::from(loss.brake.is_some()));
    metrics.link.silent_nodes.set_u64(loss.brake.as_ref().map_or(0, |brake| brake.silent));
}

#[cfg(test)]
mod tests {
    use super::*;
    use paceline_link::BrakeStatus;

    #[test]
    fn a_brake_is_released_only_when_live_nodes_could_have_been_heard() {
        assert_eq!(release(&LossStatus { deaf: true, ..LossStatus::default() }), Ok(false), "none is on");
        let brake =
            BrakeStatus { for_ms: 5, cause: MassLoss::Share, silent: 3, written_off: 0, per_minute: 1 };
        let on = LossStatus { brake: Some(brake), ..LossStatus::default() };
        assert_eq!(release(&on), Ok(true));
        let refused = |loss: LossStatus, why: &str| {
            assert!(release(&loss).is_err_and(|message| message.contains(why)), "{loss:?}");
        };
        refused(LossStatus { deaf: true, ..on.clone() }, "no shard is connected");
        refused(LossStatus { alone: true, ..on.clone() }, "no majority");
        refused(LossStatus { round_left_ms: Some(7), ..on }, "7 ms");
    }

    #[test]
    fn a_leader_and_half_of_the_others_are_a_majority() {
        let (here, away, never) = (Some(Duration::ZERO), Some(MASTER_SILENCE), None);
        assert!(majority(&[]), "a single master");
        assert!(majority(&[here, away]) && majority(&[here, never]) && majority(&[here, here, away, never]));
        assert!(!majority(&[away]) && !majority(&[away, never]) && !majority(&[here, away, away, never]));
        assert!(!majority(&[away, away]));
    }
}
