//! How large messages will be on the wire, about: upper estimates by which batches are cut.
//! `api` owns the bytes; the real limit of a frame (4 MiB) lies far enough above for an estimate to do.

use paceline_types::IndexSet;

use crate::message::{
    AgentMessage, AgentOrder, Hello, JobBody, MasterMessage, OrderRun, Orders, Report, ReportRun, ShardList,
    ShardMessage,
};

/// Reports, orders and proposals are cut here: large enough to amortise a frame and a log entry,
/// small enough that none holds up a heartbeat.
pub const BATCH_BYTES_MAX: usize = 256 * 1024;

/// Job uid, attempt and state with their tags.
const RUN_BYTES: usize = 48;
/// Two numbers of at most five bytes and their tags.
const RANGE_BYTES: usize = 12;
/// A process id.
const PID_BYTES: usize = 5;
/// Names, ids, token and tags of an envelope.
const ENVELOPE_BYTES: usize = 160;

fn indices_bytes(tasks: &IndexSet) -> usize {
    tasks.ranges().len() * RANGE_BYTES
}

/// One run of a report.
pub(crate) fn report_run_bytes(run: &ReportRun) -> usize {
    RUN_BYTES + indices_bytes(&run.tasks) + run.pids.len() * PID_BYTES
}

/// A report, about.
#[must_use]
pub fn report_bytes(report: &Report) -> usize {
    ENVELOPE_BYTES + report.runs.iter().map(report_run_bytes).sum::<usize>()
}

/// One run of orders.
pub(crate) fn order_run_bytes(run: &OrderRun) -> usize {
    RUN_BYTES + indices_bytes(&run.tasks)
}

/// The body of a job.
pub(crate) fn body_bytes(body: &JobBody) -> usize {
    RUN_BYTES + body.spec.len()
}

/// A Hello.
pub(crate) fn hello_bytes(hello: &Hello) -> usize {
    let labels: usize = hello.labels.iter().map(|(key, value)| key.len() + value.len() + 8).sum();
    let capabilities: usize = hello.capabilities.iter().map(|word| word.len() + 4).sum();
    2 * ENVELOPE_BYTES + labels + capabilities + hello.certificate_der.len() + hello.signature.len()
}

/// Orders of one message.
pub(crate) fn orders_bytes(orders: &Orders) -> usize {
    let jobs: usize = orders.jobs.iter().map(body_bytes).sum();
    ENVELOPE_BYTES + jobs + orders.runs.iter().map(order_run_bytes).sum::<usize>()
}

fn shards_bytes(list: &ShardList) -> usize {
    let shard = |name: &str, address: &str| 16 + name.len() + address.len();
    list.shards.iter().map(|s| shard(s.name.as_str(), &s.address)).sum::<usize>() + ENVELOPE_BYTES
}

/// A message of an agent, about.
#[must_use]
pub fn agent_message_bytes(message: &AgentMessage) -> usize {
    match message {
        AgentMessage::Hello(hello) => hello_bytes(hello),
        AgentMessage::Report(report) => report_bytes(report),
        AgentMessage::Alive | AgentMessage::LeaseRequest { .. } => ENVELOPE_BYTES,
    }
}

/// A message of a shard, about.
#[must_use]
pub fn shard_message_bytes(message: &ShardMessage) -> usize {
    match message {
        ShardMessage::NodeHello(hello) => hello_bytes(hello),
        ShardMessage::NodeReport { report, .. } => ENVELOPE_BYTES + report_bytes(report),
        ShardMessage::Hello { .. }
        | ShardMessage::NodeGone { .. }
        | ShardMessage::NodeLeaseRequest { .. }
        | ShardMessage::Alive => ENVELOPE_BYTES,
    }
}

/// A message to a shard, about.
#[must_use]
pub fn master_message_bytes(message: &MasterMessage) -> usize {
    match message {
        MasterMessage::Welcome { .. } | MasterMessage::FetchLog(_) => ENVELOPE_BYTES,
        MasterMessage::Shards(list) => shards_bytes(list),
        MasterMessage::ToNode { order, .. } => match order {
            AgentOrder::Orders(orders) => ENVELOPE_BYTES + orders_bytes(orders),
            AgentOrder::Shards(list) => ENVELOPE_BYTES + shards_bytes(list),
            AgentOrder::Refused { message, .. } => ENVELOPE_BYTES + message.len(),
            AgentOrder::Welcome { .. } | AgentOrder::Acknowledge { .. } | AgentOrder::Lease(_) => {
                ENVELOPE_BYTES
            }
        },
    }
}

/// Cuts things into batches of at most `limit` bytes, at least one thing in each, in order.
pub(crate) fn cut<T>(
    things: impl IntoIterator<Item = T>,
    limit: usize,
    bytes: impl Fn(&T) -> usize,
) -> Vec<Vec<T>> {
    let mut batches: Vec<Vec<T>> = Vec::new();
    let mut used = limit;
    for thing in things {
        let size = bytes(&thing);
        match batches.last_mut() {
            Some(batch) if used + size <= limit => {
                used += size;
                batch.push(thing);
            }
            _ => {
                used = size;
                batches.push(vec![thing]);
            }
        }
    }
    batches
}

/// Cuts the indices of one run so that no piece is above `limit` bytes.
pub(crate) fn cut_indices(tasks: &IndexSet, limit: usize) -> Vec<IndexSet> {
    let ranges_max = (limit.saturating_sub(RUN_BYTES) / RANGE_BYTES).max(1);
    tasks.ranges().chunks(ranges_max).map(|ranges| ranges.iter().copied().collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use paceline_types::TaskIndex;

    #[test]
    fn a_cut_keeps_order_and_limit_and_never_makes_an_empty_batch() {
        let batches = cut([3_usize, 3, 3, 9, 1], 6, |size| *size);
        assert_eq!(batches, vec![vec![3, 3], vec![3], vec![9], vec![1]]);
        assert!(cut(Vec::<usize>::new(), 6, |size| *size).is_empty());
    }

    #[test]
    fn a_run_of_scattered_tasks_is_cut_by_its_ranges() {
        let tasks: IndexSet = (0..100).map(|n| TaskIndex(n * 2)).collect();
        let pieces = cut_indices(&tasks, RUN_BYTES + 30 * RANGE_BYTES);
        assert_eq!(pieces.len(), 4);
        assert_eq!(pieces.iter().map(IndexSet::count).sum::<u64>(), 100);
    }
}
