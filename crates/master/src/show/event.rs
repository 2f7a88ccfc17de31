//! Events: what a watch delivers.

use paceline_api::v1::{self, event::Happened};
use paceline_cell::{Cell, Event};
use paceline_types::{JobUid, NodeId, Revision};

/// The events of one revision that the caller asked for; nothing when there are none.
pub(crate) fn change(
    view: &Cell,
    revision: Revision,
    events: &[Event],
    job: Option<JobUid>,
) -> Option<v1::Change> {
    let wanted = |event: &Event| job.is_none_or(|job| job_of(event) == Some(job));
    let shown = (0_u32..).zip(events).filter(|(_, event)| wanted(event));
    let events: Vec<v1::Event> =
        shown.map(|(ordinal, event)| v1::Event { ordinal, happened: Some(happened(view, event)) }).collect();
    (!events.is_empty()).then_some(v1::Change { revision: revision.0, events })
}

fn job_of(event: &Event) -> Option<JobUid> {
    match event {
        Event::JobSubmitted { job, .. }
        | Event::JobStopping { job, .. }
        | Event::JobEnded { job, .. }
        | Event::JobDeleted { job }
        | Event::JobRetired { job }
        | Event::TasksAssigned { job, .. }
        | Event::TasksRunning { job, .. }
        | Event::TasksStopping { job, .. }
        | Event::TasksRequeued { job, .. }
        | Event::TasksEnded { job, .. } => Some(*job),
        _ => None,
    }
}

/// A node by name; one that is gone by its number.
fn name(view: &Cell, node: NodeId) -> String {
    view.node(node).map_or_else(|| format!("#{node}"), |node| node.name.to_string())
}

fn happened(view: &Cell, event: &Event) -> Happened {
    match event {
        Event::JobSubmitted { job, name, tasks } => Happened::JobSubmitted(v1::JobSubmitted {
            job: Some((*job).into()),
            name: name.to_string(),
            tasks: *tasks,
        }),
        Event::JobStopping { job, reason } => Happened::JobStopping(v1::JobStopping {
            job: Some((*job).into()),
            reason: v1::Reason::from(*reason).into(),
        }),
        Event::JobEnded { job, state } => Happened::JobEnded(v1::JobEnded {
            job: Some((*job).into()),
            state: v1::JobState::from(*state).into(),
        }),
        Event::JobDeleted { job } => Happened::JobDeleted(v1::JobDeleted { job: Some((*job).into()) }),
        Event::JobRetired { job } => Happened::JobRetired(v1::JobRetired { job: Some((*job).into()) }),
        Event::TasksAssigned { .. }
        | Event::TasksRunning { .. }
        | Event::TasksStopping { .. }
        | Event::TasksRequeued { .. }
        | Event::TasksEnded { .. } => tasks(view, event),
        Event::NodeRegistered { node, epoch } => Happened::NodeRegistered(v1::NodeRegistered {
            node: name(view, *node),
            id: node.0,
            epoch: epoch.0,
        }),
        Event::NodeChanged { node, .. } => Happened::NodeChanged(v1::NodeChanged { node: name(view, *node) }),
        Event::NodeLost { node, epoch } => {
            Happened::NodeLost(v1::NodeLost { node: name(view, *node), epoch: epoch.0 })
        }
        Event::NodeRemoved { name, .. } => Happened::NodeRemoved(v1::NodeRemoved { node: name.to_string() }),
        Event::ShardsChanged { .. } => Happened::ShardsChanged(v1::ShardsChanged {}),
        Event::ConfigChanged | Event::FeatureLevelRaised { .. } | Event::GenerationRaised { .. } => {
            Happened::ConfigChanged(v1::ConfigChanged {})
        }
    }
}

fn tasks(view: &Cell, event: &Event) -> Happened {
    match event {
        Event::TasksAssigned { job, attempt, node, tasks } => Happened::TasksAssigned(v1::TasksAssigned {
            job: Some((*job).into()),
            attempt: attempt.0,
            node: name(view, *node),
            tasks: Some(tasks.into()),
        }),
        Event::TasksRunning { job, attempt, node, tasks } => Happened::TasksRunning(v1::TasksRunning {
            job: Some((*job).into()),
            attempt: attempt.0,
            node: name(view, *node),
            tasks: Some(tasks.into()),
        }),
        Event::TasksStopping { job, attempt, node, tasks, reason } => {
            Happened::TasksStopping(v1::TasksStopping {
                job: Some((*job).into()),
                attempt: attempt.0,
                node: name(view, *node),
                tasks: Some(tasks.into()),
                reason: v1::Reason::from(*reason).into(),
            })
        }
        Event::TasksRequeued { job, attempt, node, tasks, reason, status } => {
            Happened::TasksRequeued(v1::TasksRequeued {
                job: Some((*job).into()),
                attempt: attempt.0,
                node: name(view, *node),
                tasks: Some(tasks.into()),
                reason: v1::Reason::from(*reason).into(),
                status: status.map(Into::into),
            })
        }
        Event::TasksEnded { job, attempt, node, tasks, state, reason, status } => {
            Happened::TasksEnded(v1::TasksEnded {
                job: Some((*job).into()),
                attempt: attempt.0,
                node: node.map(|node| name(view, node)).unwrap_or_default(),
                tasks: Some(tasks.into()),
                state: v1::TaskState::from(*state).into(),
                reason: v1::Reason::from(*reason).into(),
                status: status.map(Into::into),
            })
        }
        _ => Happened::ConfigChanged(v1::ConfigChanged {}),
    }
}
