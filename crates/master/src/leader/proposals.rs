//! What waits to be proposed, and how it becomes entries: like things travel together, within bounds.

use std::time::Duration;

use paceline_cell::{Command, CommandBody};
use paceline_link::{BATCH_BYTES_MAX, ReportProposal};
use paceline_replica::ProposeError;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::event::{Purpose, Settled};
use crate::proposer::{ProposalError, Proposer};

/// Commands in one entry of reports or assignments.
const COMMANDS_PER_ENTRY: usize = 512;
/// What a command weighs besides its ranges: numbers, tags, lengths.
const COMMAND_BYTES: usize = 64;
/// What one run of a report weighs besides its ranges.
const RUN_BYTES: usize = 48;
/// What a range weighs: two variable numbers, and never more.
const RANGE_BYTES: usize = 10;
/// First and longest pause before the same commands are proposed again.
const RETRY_FIRST: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_secs(1);

/// One entry to propose.
pub(crate) struct Draft {
    pub purpose: Purpose,
    pub commands: Vec<CommandBody>,
}

/// What a report weighs in an entry, at most.
pub(crate) fn report_bytes(report: &ReportProposal) -> usize {
    let runs = report.runs.iter().map(|run| RUN_BYTES + RANGE_BYTES * run.tasks.ranges().len());
    COMMAND_BYTES + runs.sum::<usize>()
}

/// What an assignment weighs in an entry, at most.
pub(crate) fn assign_bytes(command: &CommandBody) -> usize {
    let ranges = match command {
        CommandBody::Assign { tasks, .. } => tasks.ranges().len(),
        _ => 0,
    };
    COMMAND_BYTES + RANGE_BYTES * ranges
}

/// How many of the first items go into one entry: within 256 KiB, which is far below the entry limit and does not
/// delay the neighbours, and at least one, which its maker has kept within that.
pub(crate) fn first_cut<T>(items: &[T], bytes: impl Fn(&T) -> usize) -> usize {
    let mut sum = 0;
    let fits = |item: &&T| {
        sum += bytes(item);
        sum <= BATCH_BYTES_MAX
    };
    items.iter().take(COMMANDS_PER_ENTRY).take_while(fits).count().max(1)
}

/// All items in entries.
pub(crate) fn cut<T>(mut items: Vec<T>, bytes: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let mut entries = Vec::new();
    while !items.is_empty() {
        let rest = items.split_off(first_cut(&items, &bytes).min(items.len()));
        entries.push(std::mem::replace(&mut items, rest));
    }
    entries
}

/// What follows a proposal without replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Again,
    GiveUp,
}

/// As long as the leadership lasts, a draft is proposed again: a leader whose followers did not answer for a moment
/// refuses proposals without being deposed, and what the hub waits for would otherwise never come.
fn next(error: &ProposalError, leads: bool) -> Next {
    match error {
        ProposalError::TooLarge(_) | ProposalError::Replies { .. } => Next::GiveUp,
        ProposalError::Replica(error) => match error {
            ProposeError::NotLeader { .. }
            | ProposeError::Unknown { .. }
            | ProposeError::Overloaded { .. }
                if leads =>
            {
                Next::Again
            }
            _ => Next::GiveUp,
        },
    }
}

/// Proposes a draft on a task of its own. Drafts are safe to repeat (reports and registrations say what is so,
/// assignments name the attempt they follow, ticks name the clock they start from), so an unknown outcome is asked
/// again until it is known or the leadership is lost.
pub(crate) fn spawn(draft: Draft, term: u64, proposer: &Proposer, proposals: &mut JoinSet<Settled>) {
    let proposer = proposer.clone();
    proposals.spawn(async move {
        let commands: Vec<Command> = draft.commands.into_iter().map(Command::from).collect();
        let mut pause = RETRY_FIRST;
        let outcome = loop {
            match proposer.propose(commands.clone()).await {
                Err(error)
                    if draft.purpose.repeats() && next(&error, proposer.leads(term)) == Next::Again =>
                {
                    tracing::debug!(%error, ?pause, "proposing again");
                    sleep(pause).await;
                    pause = (pause * 2).min(RETRY_MAX);
                }
                outcome => break outcome,
            }
        };
        if let Err(error @ (ProposalError::TooLarge(_) | ProposalError::Replies { .. })) = &outcome {
            tracing::error!(%error, purpose = ?draft.purpose, "a proposal of the leader's own failed");
        }
        Settled { term, purpose: draft.purpose, outcome }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_cut_by_weight_and_by_count() {
        let lengths = |items: Vec<usize>| cut(items, |&bytes| bytes).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(lengths(vec![1; COMMANDS_PER_ENTRY + 1]), [COMMANDS_PER_ENTRY, 1]);
        let half = BATCH_BYTES_MAX / 2;
        assert_eq!(lengths(vec![half, half, 1, BATCH_BYTES_MAX + 1, 1]), [2, 1, 1, 1]);
        assert_eq!(lengths(Vec::new()), [0; 0]);
    }

    #[test]
    fn a_leader_that_is_refused_for_a_moment_proposes_again() {
        let refused = || ProposalError::from(ProposeError::NotLeader { leader: None });
        assert_eq!(next(&refused(), true), Next::Again);
        assert_eq!(next(&refused(), false), Next::GiveUp);
        let unknown = ProposalError::from(ProposeError::Unknown { cause: "a test".into() });
        assert_eq!(next(&unknown, true), Next::Again);
        assert_eq!(next(&ProposeError::Shutdown.into(), true), Next::GiveUp);
    }
}
