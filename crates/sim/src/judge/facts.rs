//! How what an entry brought about becomes a fact of each checker.

use paceline_cell::{Cell, CommandBody, Event};
use paceline_client::v1::{self, event::Happened};
use paceline_master::Witnessed;
use paceline_types::{EventId, JobState, JobUid, NodeId, NodeName, Reason, Revision, TaskState};
use paceline_verify::acknowledged::{self, Acknowledged};
use paceline_verify::attempts::{self, Attempts};
use paceline_verify::history::RequestId;
use paceline_verify::liveness::{self, Liveness};
use paceline_verify::{evictions, reads, watch};

use super::nodes::Nodes;

fn name_of(cell: &Cell, node: NodeId) -> Option<NodeName> {
    cell.node(node).map(|node| node.name.clone())
}

/// The events of an entry as watches are to show them: said once more here, from what the contract promises.
pub(super) fn watched(cell: &Cell, events: &[Event]) -> Vec<watch::Event<String>> {
    let event = |(ordinal, event): (u32, &Event)| {
        let says = format!("{:?}", happened(cell, event));
        watch::Event { ordinal, job: job_of(event), says }
    };
    (0..).zip(events).map(event).collect()
}

/// An event of the wire, as a watch showed it.
#[must_use]
pub fn shown(event: v1::Event) -> watch::Event<String> {
    use Happened::{
        JobDeleted, JobEnded, JobRetired, JobStopping, JobSubmitted, TasksAssigned, TasksEnded,
        TasksRequeued, TasksRunning, TasksStopping,
    };
    let job = event.happened.as_ref().and_then(|happened| match happened {
        JobSubmitted(event) => super::uid(event.job),
        JobStopping(event) => super::uid(event.job),
        JobEnded(event) => super::uid(event.job),
        JobDeleted(event) => super::uid(event.job),
        JobRetired(event) => super::uid(event.job),
        TasksAssigned(event) => super::uid(event.job),
        TasksRunning(event) => super::uid(event.job),
        TasksStopping(event) => super::uid(event.job),
        TasksRequeued(event) => super::uid(event.job),
        TasksEnded(event) => super::uid(event.job),
        _ => None,
    });
    let says = event.happened.map(|happened| format!("{happened:?}")).unwrap_or_default();
    watch::Event { ordinal: event.ordinal, job, says }
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

fn happened(cell: &Cell, event: &Event) -> Happened {
    let name =
        |node: &NodeId| name_of(cell, *node).map_or_else(|| format!("#{node}"), |name| name.to_string());
    let code = |reason: &Reason| v1::Reason::from(*reason).into();
    match event {
        Event::JobSubmitted { job, name, tasks } => {
            let (job, name) = (Some((*job).into()), name.to_string());
            Happened::JobSubmitted(v1::JobSubmitted { job, name, tasks: *tasks })
        }
        Event::JobStopping { job, reason } => {
            Happened::JobStopping(v1::JobStopping { job: Some((*job).into()), reason: code(reason) })
        }
        Event::JobEnded { job, state } => {
            let state = v1::JobState::from(*state).into();
            Happened::JobEnded(v1::JobEnded { job: Some((*job).into()), state })
        }
        Event::JobDeleted { job } => Happened::JobDeleted(v1::JobDeleted { job: Some((*job).into()) }),
        Event::JobRetired { job } => Happened::JobRetired(v1::JobRetired { job: Some((*job).into()) }),
        Event::TasksAssigned { job, attempt, node, tasks } => Happened::TasksAssigned(v1::TasksAssigned {
            job: Some((*job).into()),
            attempt: attempt.0,
            node: name(node),
            tasks: Some(tasks.into()),
        }),
        Event::TasksRunning { job, attempt, node, tasks } => Happened::TasksRunning(v1::TasksRunning {
            job: Some((*job).into()),
            attempt: attempt.0,
            node: name(node),
            tasks: Some(tasks.into()),
        }),
        Event::TasksStopping { job, attempt, node, tasks, reason } => {
            Happened::TasksStopping(v1::TasksStopping {
                job: Some((*job).into()),
                attempt: attempt.0,
                node: name(node),
                tasks: Some(tasks.into()),
                reason: code(reason),
            })
        }
        Event::TasksRequeued { job, attempt, node, tasks, reason, status } => {
            Happened::TasksRequeued(v1::TasksRequeued {
                job: Some((*job).into()),
                attempt: attempt.0,
                node: name(node),
                tasks: Some(tasks.into()),
                reason: code(reason),
                status: status.map(Into::into),
            })
        }
        Event::TasksEnded { job, attempt, node, tasks, state, reason, status } => {
            Happened::TasksEnded(v1::TasksEnded {
                job: Some((*job).into()),
                attempt: attempt.0,
                node: node.as_ref().map(name).unwrap_or_default(),
                tasks: Some(tasks.into()),
                state: v1::TaskState::from(*state).into(),
                reason: code(reason),
                status: status.map(Into::into),
            })
        }
        Event::NodeRegistered { node, epoch } => {
            Happened::NodeRegistered(v1::NodeRegistered { node: name(node), id: node.0, epoch: epoch.0 })
        }
        Event::NodeChanged { node, .. } => Happened::NodeChanged(v1::NodeChanged { node: name(node) }),
        Event::NodeLost { node, epoch } => {
            Happened::NodeLost(v1::NodeLost { node: name(node), epoch: epoch.0 })
        }
        Event::NodeRemoved { name, .. } => Happened::NodeRemoved(v1::NodeRemoved { node: name.to_string() }),
        Event::ShardsChanged { .. } => Happened::ShardsChanged(v1::ShardsChanged {}),
        Event::ConfigChanged | Event::FeatureLevelRaised { .. } | Event::GenerationRaised { .. } => {
            Happened::ConfigChanged(v1::ConfigChanged {})
        }
    }
}

/// What is new about jobs that the decisions about their tasks do not say.
pub(super) fn jobs(cell: &Cell, events: &[Event], attempts: &mut Attempts) {
    for event in events {
        let Event::JobSubmitted { job, .. } = event else { continue };
        let Some(known) = cell.job(*job) else { continue };
        let may_fail = |simulate: &paceline_rules::Simulate| {
            simulate.failures.is_some() || simulate.kills.is_some() || simulate.out_of_memory_permille > 0
        };
        if known.spec.simulate.as_ref().is_some_and(may_fail) {
            attempts.may_fail(*job);
        }
    }
}

/// What the cell decided about tasks.
pub(super) fn attempt(cell: &Cell, event: &Event) -> Option<(JobUid, attempts::Fact)> {
    use attempts::Fact;
    Some(match event {
        Event::JobStopping { job, .. } => (*job, Fact::JobStopping),
        Event::JobDeleted { job } | Event::JobRetired { job } => (*job, Fact::JobGone),
        Event::TasksAssigned { job, attempt, node, tasks } => {
            let node = name_of(cell, *node)?;
            (*job, Fact::Assigned { attempt: *attempt, node, tasks: tasks.clone() })
        }
        Event::TasksStopping { job, attempt, tasks, .. } => {
            (*job, Fact::Stopping { attempt: *attempt, tasks: tasks.clone() })
        }
        Event::TasksRequeued { job, attempt, node, tasks, reason, .. } => {
            let node = name_of(cell, *node)?;
            (*job, Fact::Requeued { attempt: *attempt, node, tasks: tasks.clone(), reason: *reason })
        }
        Event::TasksEnded { job, attempt, node, tasks, state, reason, .. } => {
            let node = node.and_then(|node| name_of(cell, node));
            let (attempt, state, reason) = (*attempt, *state, *reason);
            (*job, Fact::Ended { attempt, node, tasks: tasks.clone(), state, reason })
        }
        _ => return None,
    })
}

/// What reads must show.
pub(super) fn read(event: &Event) -> Option<(JobUid, reads::Fact)> {
    use reads::Fact;
    Some(match event {
        Event::JobSubmitted { job, name, .. } => (*job, Fact::Submitted { name: name.to_string() }),
        Event::JobStopping { job, .. } => (*job, Fact::Became(JobState::Stopping)),
        Event::JobEnded { job, state } => (*job, Fact::Became(*state)),
        Event::JobDeleted { job } => (*job, Fact::Deleted),
        Event::JobRetired { job } => (*job, Fact::Retired),
        _ => return None,
    })
}

/// Which requests made a job.
pub(super) fn effects(seen: &Witnessed<'_>, acknowledged: &mut Acknowledged) -> Vec<acknowledged::Violation> {
    let Some(entry) = seen.entry else { return Vec::new() };
    let made = seen.events.iter().filter_map(|event| match event {
        Event::JobSubmitted { job, .. } => Some(*job),
        _ => None,
    });
    let by = made.filter_map(|job| {
        let command = entry.commands.get(usize::try_from(job.ordinal).ok()?)?;
        let CommandBody::SubmitJob { .. } = command.body else { return None };
        let id = command.request.as_ref()?;
        let request = RequestId { principal: id.principal.clone(), client: id.client, sequence: id.sequence };
        Some((request, EventId { revision: job.revision, ordinal: job.ordinal }))
    });
    by.filter_map(|(request, at)| acknowledged.effect(&request, at).err()).collect()
}

/// What is due, and what has ended.
pub(super) fn due(events: &[Event], liveness: &mut Liveness) -> Vec<liveness::Violation> {
    let mut found = Vec::new();
    for event in events {
        match event {
            Event::JobSubmitted { job, tasks, .. } => liveness.due(*job, *tasks),
            Event::JobDeleted { job } | Event::JobRetired { job } => liveness.gone(*job),
            Event::TasksEnded { job, tasks, .. } => found.extend(liveness.ended(*job, tasks).err()),
            _ => {}
        }
    }
    found
}

/// Write-offs and returns of nodes, which also excuse the loss of attempts there.
pub(super) fn nodes(
    cell: &Cell,
    revision: Revision,
    events: &[Event],
    now_ms: u64,
    nodes: &mut Nodes,
    attempts: &mut Attempts,
) -> Vec<evictions::Violation> {
    let mut found = Vec::new();
    for event in events {
        match event {
            Event::NodeLost { node, .. } => {
                let Some(name) = name_of(cell, *node) else { continue };
                attempts.disturbed(&name);
                let needed_ms = patience_ms(cell, *node, events);
                found.extend(nodes.written_off(name.as_str(), now_ms, needed_ms));
            }
            Event::NodeRegistered { node, .. } | Event::NodeChanged { node, .. } => {
                let Some(name) = name_of(cell, *node) else { continue };
                nodes.registered(name.as_str(), now_ms);
                if nodes.has_power(name.as_str()) {
                    attempts.calmed(&name, revision);
                }
            }
            _ => {}
        }
    }
    found
}

/// The shortest `replace_after` of the tasks that went with a node.
fn patience_ms(cell: &Cell, lost: NodeId, events: &[Event]) -> u64 {
    let went =
        events.iter().filter_map(|event| match event {
            Event::TasksRequeued { job, node, .. } if *node == lost => Some(job),
            Event::TasksEnded {
                job, node: Some(node), state: TaskState::Lost | TaskState::Killed, ..
            } if *node == lost => Some(job),
            _ => None,
        });
    let patience = went.filter_map(|job| cell.job(*job)).filter_map(|job| job.spec.replace_after_ms);
    patience.min().unwrap_or(0)
}
