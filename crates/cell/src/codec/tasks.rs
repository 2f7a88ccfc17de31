//! Tasks of a job as runs of equal rows, one message per chunk.

use crate::job::{CHUNK_TASKS, Chunk, Row, StoredStatus};

use super::columns::{pack, pack_deltas, unpack, unpack_deltas, unpack_deltas_u32, unpack_u32};
use super::values::{read_reason, read_task_state};
use super::{DecodeError, Decoded, proto, wrong};

/// The columns of one chunk.
pub(crate) fn task_columns(chunk: &Chunk) -> proto::TaskColumns {
    let mut spans = Vec::new();
    let mut rows = Vec::new();
    let mut at = 0;
    while at < chunk.len() {
        let (row, end) = chunk.run(at, chunk.len());
        spans.push((end - at - 1) as u64);
        rows.push(row);
        at = end;
    }
    let column = |of: fn(&Row) -> u64| pack(rows.iter().map(of).collect());
    proto::TaskColumns {
        count: u32::try_from(rows.len()).unwrap_or(u32::MAX),
        span: pack(spans),
        state: column(|row| u64::from(row.state.code())),
        reason: column(|row| u64::from(row.reason.code())),
        failures: column(|row| u64::from(row.failures)),
        attempt: column(|row| u64::from(row.attempt)),
        node: pack_deltas(rows.iter().map(|row| u64::from(row.node))),
        assigned: pack_deltas(rows.iter().map(|row| row.assigned)),
        status: column(|row| u64::from(row.status.code())),
    }
}

/// Undoes [`task_columns`] for a chunk of `len` tasks.
pub(crate) fn read_tasks(message: &proto::TaskColumns, len: u32) -> Decoded<Chunk> {
    if message.count > CHUNK_TASKS {
        return Err(DecodeError::TooMany { what: "rows of tasks", limit: u64::from(CHUNK_TASKS) });
    }
    let rows = message.count as usize;
    let spans = unpack("span", &message.span, rows)?;
    let states = unpack("state", &message.state, rows)?;
    let reasons = unpack("reason", &message.reason, rows)?;
    let failures = unpack("failures", &message.failures, rows)?;
    let attempts = unpack_u32("attempt", &message.attempt, rows)?;
    let nodes = unpack_deltas_u32("node", &message.node, rows)?;
    let assigned = unpack_deltas("assigned", &message.assigned, rows)?;
    let statuses = unpack("status", &message.status, rows)?;
    let len = len as usize;
    let mut chunk = Chunk::filled(len, Row::NEW);
    let mut at = 0_usize;
    for run in 0..rows {
        let row = Row {
            state: read_task_state(states[run])?,
            reason: read_reason(reasons[run])?,
            failures: u16::try_from(failures[run]).map_err(|_| wrong("failures", "a 16-bit number"))?,
            attempt: attempts[run],
            node: nodes[run],
            assigned: assigned[run],
            status: StoredStatus::from_code(statuses[run]).ok_or(wrong("status", "a stored status"))?,
        };
        let span = usize::try_from(spans[run]).unwrap_or(usize::MAX);
        let end = at.checked_add(span).and_then(|last| last.checked_add(1)).filter(|end| *end <= len);
        let end = end.ok_or(wrong("span", "as many tasks as the job has"))?;
        chunk.fill(at, end, Row::NEW.state, row);
        at = end;
    }
    if at == len { Ok(chunk) } else { Err(wrong("span", "as many tasks as the job has")) }
}
