//! Tasks of a job on nodes that nobody hears of, and what becomes of them.

use paceline_api::v1;
use paceline_cell::{Cell, Job, Node};
use paceline_link::{Liveness, LossStatus};

use super::Services;

/// What the leader knows of it; nothing where no task is on such a node, and where another master leads.
pub(super) async fn silent(services: &Services, view: &Cell, job: &Job) -> Option<v1::SilentTasks> {
    if job.on_nodes() == 0 {
        return None;
    }
    let links = services.links().await;
    let links = links.as_ref()?;
    let is_silent = |node: &&Node| {
        let link = links.nodes.get(&node.id);
        link.is_some_and(|link| matches!(link.liveness, Liveness::Suspect { .. }))
    };
    let count = |node: &Node| {
        let ours = node.assignments().filter(|(uid, _, _)| *uid == job.uid);
        ours.map(|(_, _, tasks)| tasks.count()).sum::<u64>()
    };
    let counts: Vec<u64> = view.nodes().filter(is_silent).map(count).filter(|tasks| *tasks > 0).collect();
    let (nodes, tasks) = (counts.len() as u64, counts.iter().sum());
    let detection_ms = view.config().detection_ms;
    let explanation = explanation(job.spec.replace_after_ms, detection_ms, &links.loss);
    (nodes > 0).then_some(v1::SilentTasks { tasks, nodes, explanation })
}

fn explanation(replace_after_ms: Option<u64>, detection_ms: u64, loss: &LossStatus) -> String {
    let Some(replace_after_ms) = replace_after_ms else {
        return "replace_after is never: they stay there until their node is back, removed or replaced"
            .to_owned();
    };
    let patience = format!("they run elsewhere after {} ms of silence", replace_after_ms.max(detection_ms));
    match loss {
        LossStatus { brake: Some(brake), .. } => format!(
            "{patience}, but the brake is on: {} fell silent together, so at most {} nodes a minute are written off \
             (paceline cell brake release, if they are gone for good)",
            brake.cause, brake.per_minute
        ),
        LossStatus { alone: true, .. } => {
            format!("{patience}, but no majority of the masters answers, so nothing can be decided")
        }
        LossStatus { deaf: true, .. } => {
            format!("{patience}, but no shard is connected, so nobody can be heard")
        }
        LossStatus { round_left_ms: Some(left_ms), .. } => {
            format!("{patience}, and not before all nodes were heard or {left_ms} ms have passed")
        }
        LossStatus { .. } => patience,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use paceline_link::{BrakeStatus, MassLoss};

    #[test]
    fn what_holds_the_replacement_back_is_said() {
        let quiet = LossStatus::default();
        assert!(explanation(None, 10_000, &quiet).contains("never"));
        assert_eq!(explanation(Some(2_000), 10_000, &quiet), "they run elsewhere after 10000 ms of silence");
        let brake =
            BrakeStatus { for_ms: 5, cause: MassLoss::Share, silent: 3, written_off: 0, per_minute: 1 };
        let braked = LossStatus { brake: Some(brake), ..quiet.clone() };
        assert!(explanation(Some(60_000), 10_000, &braked).contains("the brake is on"));
        let deaf = LossStatus { deaf: true, ..quiet.clone() };
        assert!(explanation(Some(60_000), 10_000, &deaf).contains("no shard is connected"));
        let alone = LossStatus { alone: true, ..quiet.clone() };
        assert!(explanation(Some(60_000), 10_000, &alone).contains("no majority"));
        let round = LossStatus { round_left_ms: Some(7), ..quiet };
        assert!(explanation(Some(60_000), 10_000, &round).contains("7 ms have passed"));
    }
}
