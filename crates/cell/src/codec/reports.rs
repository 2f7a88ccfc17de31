//! Report commands in columns: neighbours share one message, as assignments do.

use paceline_types::{Attempt, ExitStatus, JobUid, NodeEpoch, NodeId, Reason, Revision};

use super::columns::{
    RangeColumns, commands, pack, pack_deltas, read_ranges, total, unpack, unpack_deltas, unpack_deltas_u32,
    unpack_u32,
};
use super::values::read_reason;
use super::{Decoded, proto, wrong};
use crate::command::{CommandBody, ReportedRun, ReportedState};
use crate::job::StoredStatus;

/// The fields of one command.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<'a> {
    node: NodeId,
    epoch: NodeEpoch,
    runs: &'a [ReportedRun],
}

/// The row of a command, where it is a report.
pub(super) fn row(body: &CommandBody) -> Option<Row<'_>> {
    match body {
        CommandBody::Report { node, epoch, runs } => Some(Row { node: *node, epoch: *epoch, runs }),
        _ => None,
    }
}

pub(super) fn reports(commands: &[Row<'_>]) -> proto::Reports {
    let runs = || commands.iter().flat_map(|row| row.runs);
    let mut ranges = RangeColumns::default();
    runs().for_each(|run| ranges.push(&run.tasks));
    let (ranges, first, span) = ranges.finish();
    proto::Reports {
        count: u32::try_from(commands.len()).unwrap_or(u32::MAX),
        node: pack_deltas(commands.iter().map(|row| u64::from(row.node.0))),
        epoch: pack(commands.iter().map(|row| u64::from(row.epoch.0)).collect()),
        runs: pack(commands.iter().map(|row| row.runs.len() as u64).collect()),
        job_revision: pack_deltas(runs().map(|run| run.job.revision.0)),
        job_ordinal: pack(runs().map(|run| u64::from(run.job.ordinal)).collect()),
        attempt: pack(runs().map(|run| u64::from(run.attempt.0)).collect()),
        observed: pack(runs().map(|run| observed(run.observed)).collect()),
        ranges,
        first,
        span,
    }
}

pub(super) fn read_reports(message: &proto::Reports) -> Decoded<Vec<CommandBody>> {
    let rows = commands(message.count)?;
    let nodes = unpack_deltas_u32("node", &message.node, rows)?;
    let epochs = unpack_u32("epoch", &message.epoch, rows)?;
    let counts = unpack("runs", &message.runs, rows)?;
    let mut runs = read_runs(message, total("runs", &counts)?)?.into_iter();
    let commands = nodes.into_iter().zip(epochs).zip(counts).map(|((node, epoch), count)| {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let runs = runs.by_ref().take(count).collect();
        CommandBody::Report { node: NodeId(node), epoch: NodeEpoch(epoch), runs }
    });
    Ok(commands.collect())
}

fn read_runs(message: &proto::Reports, rows: usize) -> Decoded<Vec<ReportedRun>> {
    let revisions = unpack_deltas("job_revision", &message.job_revision, rows)?;
    let ordinals = unpack_u32("job_ordinal", &message.job_ordinal, rows)?;
    let attempts = unpack_u32("attempt", &message.attempt, rows)?;
    let states = unpack("observed", &message.observed, rows)?;
    let tasks = read_ranges(&message.ranges, &message.first, &message.span, rows)?;
    let runs = tasks.into_iter().enumerate().map(|(at, tasks)| {
        Ok(ReportedRun {
            job: JobUid { revision: Revision(revisions[at]), ordinal: ordinals[at] },
            attempt: Attempt(attempts[at]),
            tasks,
            observed: read_observed(states[at])?,
        })
    });
    runs.collect()
}

/// One number: see `Reports.observed`.
fn observed(state: ReportedState) -> u64 {
    match state {
        ReportedState::Running => 0,
        ReportedState::Ended { status, reason } => {
            1 | u64::from(reason.code()) << 1 | u64::from(StoredStatus::new(status).code()) << 9
        }
    }
}

fn read_observed(code: u64) -> Decoded<ReportedState> {
    if code == 0 {
        return Ok(ReportedState::Running);
    }
    if code & 1 == 0 {
        return Err(wrong("observed", "a state that this build knows"));
    }
    let reason: Reason = read_reason((code >> 1) & 0xff)?;
    let status = StoredStatus::from_code(code >> 9).ok_or(wrong("observed", "a status of a process"))?;
    let status: Option<ExitStatus> = status.read();
    Ok(ReportedState::Ended { status, reason })
}
