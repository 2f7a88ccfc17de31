//! Assign commands in columns: neighbours share one message, so that a batch costs bytes per task, not per field.

use paceline_types::{Attempt, IndexSet, JobUid, NodeEpoch, NodeId, Revision};

use super::columns::{
    RangeColumns, commands, pack, pack_deltas, read_ranges, unpack_deltas, unpack_deltas_u32, unpack_u32,
};
use super::{Decoded, proto};
use crate::command::CommandBody;

/// The fields of one command.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<'a> {
    job: JobUid,
    follows: Attempt,
    node: NodeId,
    epoch: NodeEpoch,
    tasks: &'a IndexSet,
}

/// The row of a command, where it is an assignment.
pub(super) const fn row(body: &CommandBody) -> Option<Row<'_>> {
    match body {
        CommandBody::Assign { job, follows, node, epoch, tasks } => {
            Some(Row { job: *job, follows: *follows, node: *node, epoch: *epoch, tasks })
        }
        _ => None,
    }
}

pub(super) fn assignments(commands: &[Row<'_>]) -> proto::Assignments {
    let mut ranges = RangeColumns::default();
    commands.iter().for_each(|row| ranges.push(row.tasks));
    let (ranges, first, span) = ranges.finish();
    let column = |of: fn(&Row<'_>) -> u32| pack(commands.iter().map(|row| u64::from(of(row))).collect());
    proto::Assignments {
        count: u32::try_from(commands.len()).unwrap_or(u32::MAX),
        job_revision: pack_deltas(commands.iter().map(|row| row.job.revision.0)),
        job_ordinal: column(|row| row.job.ordinal),
        follows: column(|row| row.follows.0),
        node: pack_deltas(commands.iter().map(|row| u64::from(row.node.0))),
        epoch: column(|row| row.epoch.0),
        ranges,
        first,
        span,
    }
}

pub(super) fn read_assignments(message: &proto::Assignments) -> Decoded<Vec<CommandBody>> {
    let rows = commands(message.count)?;
    let revisions = unpack_deltas("job_revision", &message.job_revision, rows)?;
    let ordinals = unpack_u32("job_ordinal", &message.job_ordinal, rows)?;
    let follows = unpack_u32("follows", &message.follows, rows)?;
    let nodes = unpack_deltas_u32("node", &message.node, rows)?;
    let epochs = unpack_u32("epoch", &message.epoch, rows)?;
    let tasks = read_ranges(&message.ranges, &message.first, &message.span, rows)?;
    let assign = |(at, tasks): (usize, IndexSet)| CommandBody::Assign {
        job: JobUid { revision: Revision(revisions[at]), ordinal: ordinals[at] },
        follows: Attempt(follows[at]),
        node: NodeId(nodes[at]),
        epoch: NodeEpoch(epochs[at]),
        tasks,
    };
    Ok(tasks.into_iter().enumerate().map(assign).collect())
}
