//! Entries: commands in order, neighbours of one kind in columns.

use bytes::Bytes;
use paceline_types::Revision;
use prost::Message;

use super::body::{body, read_body};
use super::columns::{COMMANDS_MAX, ROWS_MAX};
use super::proto::command::Body;
use super::values::fixed;
use super::{DecodeError, Decoded, assignments, present, proto, reports, wrong};
use crate::command::{Command, CommandBody, Entry, RequestId};
use crate::{FEATURE_LEVEL_FIRST, FEATURE_LEVEL_MAX};

/// Largest entry, in bytes: replication counts on it for its budgets.
pub const ENTRY_BYTES_MAX: usize = 2 << 20;
/// The only version so far.
const VERSION: u32 = 1;

/// An entry that must be split, or cannot be stored at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooLarge {
    /// In bytes.
    #[error("the entry takes {bytes} bytes: at most {limit} are stored in one")]
    Bytes {
        /// What it takes.
        bytes: usize,
        /// [`ENTRY_BYTES_MAX`].
        limit: usize,
    },
    /// In commands, or in ranges and runs.
    #[error("the entry holds {count} {what}: at most {limit} are stored in one")]
    Count {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// The limit.
        limit: usize,
    },
}

impl Entry {
    /// The entry as it is stored.
    ///
    /// # Errors
    /// [`TooLarge`], with the size.
    pub fn encode(&self) -> Result<Bytes, TooLarge> {
        check_counts(&self.commands)?;
        let level = self.feature_level();
        let entry = proto::Entry {
            version: VERSION,
            unix_ms: self.unix_ms,
            commands: messages(&self.commands),
            feature_level: if level > FEATURE_LEVEL_FIRST { level.0 } else { 0 },
        };
        let bytes = entry.encoded_len();
        if bytes > ENTRY_BYTES_MAX {
            return Err(TooLarge::Bytes { bytes, limit: ENTRY_BYTES_MAX });
        }
        Ok(entry.encode_to_vec().into())
    }

    /// Reads a stored entry.
    ///
    /// # Errors
    /// [`DecodeError`]; then the entry is applied with [`crate::Cell::apply_undecodable`].
    pub fn decode(bytes: &[u8]) -> Decoded<Self> {
        if bytes.len() > ENTRY_BYTES_MAX {
            return Err(DecodeError::TooMany { what: "bytes", limit: ENTRY_BYTES_MAX as u64 });
        }
        let entry = proto::Entry::decode(bytes)?;
        if entry.version != VERSION {
            return Err(DecodeError::Version { what: "entries", found: entry.version, known: VERSION });
        }
        if entry.feature_level > FEATURE_LEVEL_MAX.0 {
            let (found, known) = (entry.feature_level, FEATURE_LEVEL_MAX.0);
            return Err(DecodeError::Version { what: "feature levels", found, known });
        }
        let mut commands = Vec::with_capacity(entry.commands.len().min(COMMANDS_MAX));
        let mut rows = 0;
        for message in entry.commands {
            let request = message.request.map(read_request).transpose()?;
            let bodies = read_body(present("body", message.body)?)?;
            if request.is_some() && bodies.len() != 1 {
                return Err(wrong("request", "the id of one command"));
            }
            rows += bodies.iter().map(weight).sum::<usize>();
            if commands.len() + bodies.len() > COMMANDS_MAX || rows as u64 > ROWS_MAX {
                return Err(DecodeError::TooMany { what: "commands or ranges", limit: ROWS_MAX });
            }
            commands.extend(bodies.into_iter().map(|body| Command { request: request.clone(), body }));
        }
        Ok(Self { unix_ms: entry.unix_ms, commands })
    }
}

/// Rows that a command takes of the columns: ranges, or runs where they have no range.
fn weight(body: &CommandBody) -> usize {
    match body {
        CommandBody::Assign { tasks, .. } => tasks.ranges().len().max(1),
        CommandBody::Report { runs, .. } => runs.iter().map(|run| run.tasks.ranges().len().max(1)).sum(),
        CommandBody::Retire { jobs } => jobs.len(),
        _ => 1,
    }
}

fn check_counts(commands: &[Command]) -> Result<(), TooLarge> {
    let rows = commands.iter().map(|command| weight(&command.body)).sum();
    for (what, count, limit) in
        [("commands", commands.len(), COMMANDS_MAX), ("ranges", rows, ROWS_MAX as usize)]
    {
        if count > limit {
            return Err(TooLarge::Count { what, count, limit });
        }
    }
    Ok(())
}

/// Neighbours that share one message.
fn messages(commands: &[Command]) -> Vec<proto::Command> {
    let kind = |command: &Command| match (&command.request, &command.body) {
        (None, CommandBody::Assign { .. }) => 1,
        (None, CommandBody::Report { .. }) => 2,
        _ => 0,
    };
    commands
        .chunk_by(|a, b| kind(a) != 0 && kind(a) == kind(b))
        .map(|group| {
            let bodies = || group.iter().map(|command| &command.body);
            let body = match &group[0].body {
                CommandBody::Assign { .. } => Body::Assign(assignments::assignments(
                    &bodies().filter_map(assignments::row).collect::<Vec<_>>(),
                )),
                CommandBody::Report { .. } => {
                    Body::Report(reports::reports(&bodies().filter_map(reports::row).collect::<Vec<_>>()))
                }
                single => body(single),
            };
            proto::Command { request: group[0].request.as_ref().map(request), body: Some(body) }
        })
        .collect()
}

fn request(id: &RequestId) -> proto::RequestId {
    proto::RequestId {
        principal: id.principal.clone(),
        client: id.client.to_vec(),
        sequence: id.sequence,
        lowest_unanswered: id.lowest_unanswered,
        floor: id.floor.0,
    }
}

fn read_request(id: proto::RequestId) -> Decoded<RequestId> {
    Ok(RequestId {
        client: fixed("client", &id.client)?,
        principal: id.principal,
        sequence: id.sequence,
        lowest_unanswered: id.lowest_unanswered,
        floor: Revision(id.floor),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{ReportedRun, ReportedState};
    use paceline_types::{
        Attempt, ExitStatus, IndexRange, IndexSet, JobUid, NodeEpoch, NodeId, Reason, TaskIndex,
    };

    const TASKS: u32 = 20_000;
    const JOB: JobUid = JobUid { revision: Revision(1_000_000), ordinal: 3 };

    fn size(commands: impl Iterator<Item = CommandBody>) -> usize {
        let entry = Entry { unix_ms: 1_700_000_000_000, commands: commands.map(Command::from).collect() };
        let bytes = entry.encode().expect("small");
        assert_eq!(Entry::decode(&bytes), Ok(entry));
        bytes.len()
    }

    fn assign(node: u32, tasks: IndexSet) -> CommandBody {
        let (follows, epoch) = (Attempt(0), NodeEpoch(1));
        CommandBody::Assign { job: JOB, follows, node: NodeId(node), epoch, tasks }
    }

    fn report(node: u32, tasks: IndexSet, observed: ReportedState) -> CommandBody {
        let runs = vec![ReportedRun { job: JOB, attempt: Attempt(1), tasks, observed }];
        CommandBody::Report { node: NodeId(node), epoch: NodeEpoch(1), runs }
    }

    fn one(task: u32) -> IndexSet {
        IndexSet::from_iter([TaskIndex(task)])
    }

    #[test]
    fn a_batch_of_like_tasks_takes_few_bytes_per_transition() {
        let ended = ReportedState::Ended { status: Some(ExitStatus::Code(0)), reason: Reason::ExitedZero };
        let in_node_order = size((0..TASKS).map(|task| assign(task + 1, one(task))));
        assert!(in_node_order <= 2 * TASKS as usize, "{in_node_order} bytes");
        let scattered = size((0..TASKS).map(|task| assign(task * 7_919 % 10_000 + 1, one(task))));
        assert!(scattered <= 4 * TASKS as usize, "{scattered} bytes");
        let reported = size((0..TASKS).map(|task| report(task % 10_000 + 1, one(task), ended)));
        assert!(reported <= 3 * TASKS as usize, "{reported} bytes");
        let by_range = (0..200).map(|node| {
            let range = IndexRange::new(node * 100, node * 100 + 99).expect("in order");
            report(node + 1, IndexSet::from_iter([range]), ended)
        });
        let by_range = size(by_range);
        assert!(by_range <= TASKS as usize / 10, "{by_range} bytes");
    }

    #[test]
    fn tasks_in_no_order_take_at_most_sixteen_bytes() {
        let task = |at: u32| at.wrapping_mul(2_654_435_761) % 1_000_000;
        let scattered = size((0..TASKS).map(|at| assign(task(at + 7) % 25_000 + 1, one(task(at)))));
        assert!(scattered <= 8 * TASKS as usize, "{scattered} bytes");
    }

    #[test]
    fn an_entry_that_is_too_large_is_refused_with_its_size() {
        let many = Entry { unix_ms: 0, commands: vec![assign(1, one(0)).into(); COMMANDS_MAX + 1] };
        let count = COMMANDS_MAX + 1;
        assert_eq!(many.encode(), Err(TooLarge::Count { what: "commands", count, limit: COMMANDS_MAX }));
        let long = CommandBody::RegisterShard {
            name: "s".parse().expect("a name"),
            address: "x".repeat(ENTRY_BYTES_MAX),
        };
        let long = Entry { unix_ms: 0, commands: vec![long.into()] };
        match long.encode() {
            Err(TooLarge::Bytes { bytes, limit: ENTRY_BYTES_MAX }) => assert!(bytes > ENTRY_BYTES_MAX),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_largest_entry_that_is_written_is_read() {
        let ranges = (0..1 << 19).map(|at| IndexRange::one(TaskIndex(at * 2)));
        size([assign(1, ranges.collect())].into_iter());
    }

    #[test]
    fn a_few_bytes_cannot_claim_a_million_commands() {
        let claim = |count| {
            let body = Some(Body::Assign(proto::Assignments { count, ..proto::Assignments::default() }));
            let commands = vec![proto::Command { request: None, body }; 2];
            Entry::decode(&proto::Entry { version: 1, commands, ..proto::Entry::default() }.encode_to_vec())
        };
        assert_eq!(claim(4).expect("few").commands.len(), 8);
        for count in [40_000, 1 << 20, u32::MAX] {
            assert!(matches!(claim(count), Err(DecodeError::TooMany { .. })), "{count}");
        }
    }

    #[test]
    fn a_request_id_names_one_command() {
        let id = RequestId {
            principal: "user/ann".to_owned(),
            client: [1; 16],
            sequence: 1,
            lowest_unanswered: 1,
            floor: Revision(0),
        };
        let body = Some(Body::Assign(proto::Assignments { count: 2, ..proto::Assignments::default() }));
        let commands = vec![proto::Command { request: Some(request(&id)), body }];
        let entry = proto::Entry { version: 1, commands, ..proto::Entry::default() };
        assert_eq!(Entry::decode(&entry.encode_to_vec()), Err(wrong("request", "the id of one command")));
    }

    #[test]
    fn an_entry_of_a_level_that_this_build_does_not_know_is_not_read() {
        let tick = Entry { unix_ms: 0, commands: vec![CommandBody::Tick { from_ms: 0, step_ms: 1 }.into()] };
        let mut entry = proto::Entry::decode(&*tick.encode().expect("small")).expect("an entry");
        assert_eq!(entry.feature_level, 0, "the first level takes no bytes");
        entry.feature_level = FEATURE_LEVEL_MAX.0 + 1;
        assert!(matches!(Entry::decode(&entry.encode_to_vec()), Err(DecodeError::Version { .. })));
    }

    #[test]
    fn a_newer_version_is_named() {
        let entry = proto::Entry { version: 2, ..proto::Entry::default() };
        let error = Entry::decode(&entry.encode_to_vec()).expect_err("newer");
        assert_eq!(error.to_string(), "version 2 of entries is not known: this build reads versions up to 1");
    }
}
