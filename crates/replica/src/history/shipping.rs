//! Shipping history with a snapshot: what a follower that was filled by snapshot must know of finished jobs.
//!
//! A follower that installs a snapshot at revision S skips the entries up to S, and with them every job that retired
//! there. So before the snapshot may become current it gets those rows, and its watermark reaches S.
//!
//! ```text
//!   sender                                   receiver
//!   offer ─────────────────────────────────► watermark W
//!   rows after W by age, at most 1 MiB ────► put(rows, watermark = revision of the last row - 1) ─► W'
//!   ...
//!   no rows left up to S ──────────────────► put([], watermark = S, from = the sender's oldest row)
//!   chunks, install ───────────────────────► refused while the watermark is below S
//! ```
//!
//! Why a crash at any step is harmless:
//! - Each put is one synced write, and says no more than what is there: rows of a revision that may go on in the next
//!   message are not covered by the watermark yet. A transfer that is broken off, or a receiver that restarts, goes on
//!   after the watermark; rows beyond it are sent again and replace themselves.
//! - Rows are facts of committed entries. A receiver that never installs the snapshot, and applies the entries from the
//!   log after all, finds its rows below the watermark and passes over them, or puts the same rows again.
//! - A row may be known here before the state has reached its revision. Readers compare revisions and do not show it.
//! - The snapshot is renamed only after the watermark is durable at S; a restart that finds a snapshot above the
//!   watermark refuses to open.
//! - The sender's snapshot is current, so its own watermark is at S or above and nothing up to S is missing there but
//!   what it has trimmed. Rows older than its oldest go here too: the entries that would have trimmed them are skipped.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::{History, HistoryAge, HistoryRow, Keep, ReadLimit};
use crate::config::SNAPSHOT_TRANSFER_CHUNK_BYTES;
use crate::disk::DiskError;
use crate::snapshot::TransferError;
use crate::wire::proto;
use crate::worker::Execution;

/// Rows of one message: of the smallest ones, what a megabyte holds.
const ROWS_PER_MESSAGE: usize = 4_096;
/// A row that is put together from pieces is at most this large: ten million tasks with everything that is known of
/// each. More is not a job but an attack or a bug.
const ROW_LIMIT_BYTES: usize = 512 * 1024 * 1024;

/// The sending side: this replica's history, read away from the async workers.
#[derive(Clone)]
pub struct HistorySource {
    history: Arc<dyn History>,
    execution: Execution,
}

/// What is on its way to one receiver.
pub struct Shipment {
    source: HistorySource,
    upto: u64,
    after: HistoryAge,
    /// A row that is sent in pieces, and how much of it was.
    large: Option<(HistoryRow, usize)>,
}

impl HistorySource {
    /// Reads this history.
    pub fn new(history: Arc<dyn History>, execution: Execution) -> Self {
        Self { history, execution }
    }

    /// Everything after a receiver's watermark, up to a revision.
    pub fn shipment(&self, watermark: u64, upto: u64) -> Shipment {
        // No key reaches into the next revision, and none is before the empty one.
        let after = HistoryAge { revision: watermark.saturating_add(1), key: Bytes::new() };
        Shipment { source: self.clone(), upto, after, large: None }
    }
}

impl Shipment {
    /// The next message; the one whose watermark is the revision that was asked for is the last.
    pub async fn next(&mut self) -> Result<proto::HistoryRows, DiskError> {
        if let Some(large) = self.large.take() {
            return Ok(self.piece(large));
        }
        let HistorySource { history, execution } = self.source.clone();
        let (after, upto) = (self.after.clone(), self.upto);
        let read = execution.blocking(move || read(history.as_ref(), &after, upto)).await;
        let failed = || DiskError::new("read", "the history", "reading it panicked");
        let (mut rows, oldest) = read.ok_or_else(failed)??;
        let Some(last) = rows.last() else {
            let from = oldest.map(|age| proto::HistoryAge { revision: age.revision, key: age.key });
            return Ok(proto::HistoryRows { watermark: upto, from, ..proto::HistoryRows::default() });
        };
        self.after = last.age();
        if rows.len() == 1 && last.value.len() > SNAPSHOT_TRANSFER_CHUNK_BYTES {
            let row = rows.pop().expect("there is one");
            return Ok(self.piece((row, 0)));
        }
        let watermark = self.after.revision.saturating_sub(1);
        let rows = rows.into_iter().map(message).collect();
        Ok(proto::HistoryRows { rows, watermark, ..proto::HistoryRows::default() })
    }

    fn piece(&mut self, (row, sent): (HistoryRow, usize)) -> proto::HistoryRows {
        let end = row.value.len().min(sent.saturating_add(SNAPSHOT_TRANSFER_CHUNK_BYTES));
        let piece = message(HistoryRow { value: row.value.slice(sent..end), ..row.clone() });
        let goes_on = end < row.value.len();
        let watermark = row.revision.saturating_sub(1);
        if goes_on {
            self.large = Some((row, end));
        }
        let rows = vec![piece];
        proto::HistoryRows { rows, watermark, continues: sent > 0, goes_on, from: None }
    }
}

type Read = (Vec<HistoryRow>, Option<HistoryAge>);

fn read(history: &dyn History, after: &HistoryAge, upto: u64) -> Result<Read, DiskError> {
    let watermark = history.watermark()?;
    if watermark < upto {
        let problem = format!("it reaches to revision {watermark}, and a snapshot at {upto} is current");
        return Err(DiskError::new("read", "the history", problem));
    }
    let limit = ReadLimit { rows: ROWS_PER_MESSAGE, bytes: SNAPSHOT_TRANSFER_CHUNK_BYTES };
    let rows = history.rows_after(after, upto, limit)?;
    let oldest = if rows.is_empty() { history.oldest()? } else { None };
    Ok((rows, oldest))
}

fn message(row: HistoryRow) -> proto::HistoryRow {
    let HistoryRow { key, name, revision, clock_ms, value } = row;
    proto::HistoryRow { key, name, revision, clock_ms, value }
}

/// The receiving side. One shipment at a time, as there is one transfer at a time.
pub struct HistoryIntake {
    history: Arc<dyn History>,
    /// A row of which more pieces are to come.
    unfinished: Option<(HistoryRow, BytesMut)>,
}

impl HistoryIntake {
    /// Puts into this history.
    pub fn new(history: Arc<dyn History>) -> Self {
        Self { history, unfinished: None }
    }

    /// Forgets what is unfinished: a shipment begins. Returns the watermark that it begins after.
    pub fn begin(&mut self) -> Result<u64, DiskError> {
        self.unfinished = None;
        self.history.watermark()
    }

    /// Puts what came and returns the watermark then. `upto` is where the snapshot of the transfer ends.
    pub fn take(&mut self, message: proto::HistoryRows, upto: u64) -> Result<u64, TransferError> {
        let proto::HistoryRows { rows, continues, goes_on, watermark, from } = message;
        let rows: Vec<HistoryRow> = rows.into_iter().map(row).collect();
        if watermark > upto || rows.iter().any(|row| row.revision > upto) {
            return Err(TransferError::HistoryBeyond { upto });
        }
        let rows = if continues || goes_on { self.piece(rows, continues, goes_on)? } else { rows };
        let from = from.map(|from| HistoryAge { revision: from.revision, key: from.key });
        let keep = Keep { from: from.unwrap_or_default(), ..Keep::ALL };
        self.history.put(&rows, watermark, &keep)?;
        Ok(self.history.watermark()?)
    }

    /// Adds a piece to the unfinished row; gives the row once it is whole.
    fn piece(
        &mut self,
        rows: Vec<HistoryRow>,
        continues: bool,
        goes_on: bool,
    ) -> Result<Vec<HistoryRow>, TransferError> {
        let unfinished = self.unfinished.take();
        let [piece] = <[HistoryRow; 1]>::try_from(rows).map_err(|_| TransferError::HistoryPiece)?;
        let (row, mut value) = match unfinished {
            Some(known) if continues && known.0.age() == piece.age() => known,
            _ if continues => return Err(TransferError::HistoryPiece),
            _ => (HistoryRow { value: Bytes::new(), ..piece.clone() }, BytesMut::new()),
        };
        if value.len().saturating_add(piece.value.len()) > ROW_LIMIT_BYTES {
            return Err(TransferError::HistoryPiece);
        }
        value.extend_from_slice(&piece.value);
        if goes_on {
            self.unfinished = Some((row, value));
            return Ok(Vec::new());
        }
        Ok(vec![HistoryRow { value: value.freeze(), ..row }])
    }
}

fn row(row: proto::HistoryRow) -> HistoryRow {
    let proto::HistoryRow { key, name, revision, clock_ms, value } = row;
    HistoryRow { key, name, revision, clock_ms, value }
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use super::super::MemoryHistory;
    use super::*;

    fn sample(key: u8, revision: u64, value: usize) -> HistoryRow {
        let value = vec![key; value].into();
        HistoryRow { key: vec![key].into(), name: "n".into(), revision, clock_ms: revision, value }
    }

    fn histories() -> (MemoryHistory, MemoryHistory, HistorySource, HistoryIntake) {
        let (sender, receiver) = (MemoryHistory::new(), MemoryHistory::new());
        let source = HistorySource::new(Arc::new(sender.clone()), Execution::Tasks);
        let intake = HistoryIntake::new(Arc::new(receiver.clone()));
        (sender, receiver, source, intake)
    }

    /// Ships up to `messages` messages; whether the shipment ended.
    async fn ship(source: &HistorySource, intake: &mut HistoryIntake, upto: u64, messages: usize) -> bool {
        let mut shipment = source.shipment(intake.begin().expect("it is in memory"), upto);
        for _ in 0..messages {
            let message = shipment.next().await.expect("it is in memory");
            if intake.take(message, upto).expect("it fits") >= upto {
                return true;
            }
        }
        false
    }

    fn all(history: &MemoryHistory) -> Vec<HistoryRow> {
        let all = ReadLimit { rows: 99, bytes: 1 << 30 };
        history.rows_after(&HistoryAge::default(), u64::MAX, all).expect("it is in memory")
    }

    const LARGE: usize = SNAPSHOT_TRANSFER_CHUNK_BYTES * 5 / 2;

    #[tokio::test]
    async fn a_shipment_that_breaks_off_anywhere_ends_with_the_same_rows() {
        let rows = [
            sample(1, 3, 9),
            sample(2, 3, 700_000),
            sample(3, 3, 700_000),
            sample(4, 5, LARGE),
            sample(5, 6, 1),
        ];
        for broken_after in 0..9 {
            let (sender, receiver, source, mut intake) = histories();
            sender.put(&rows, 9, &Keep::ALL).unwrap();
            ship(&source, &mut intake, 8, broken_after).await;
            assert!(receiver.watermark().unwrap() <= 8);
            // The receiver restarts: what it held of an unfinished row is gone.
            let mut intake = HistoryIntake::new(Arc::new(receiver.clone()));
            assert!(ship(&source, &mut intake, 8, 99).await);
            assert_eq!((all(&receiver), receiver.watermark().unwrap()), (rows.to_vec(), 8), "{broken_after}");
        }
    }

    #[tokio::test]
    async fn what_the_sender_has_trimmed_goes_and_what_is_newer_than_the_snapshot_stays_away() {
        let (sender, receiver, source, mut intake) = histories();
        receiver.put(&[sample(1, 2, 1), sample(2, 3, 1)], 4, &Keep::ALL).unwrap();
        let rows = [sample(1, 2, 1), sample(2, 3, 1), sample(3, 5, 1), sample(4, 7, 1), sample(5, 9, 1)];
        sender.put(&rows, 9, &Keep { rows: 4, ..Keep::ALL }).unwrap();
        assert!(ship(&source, &mut intake, 8, 99).await);
        assert_eq!(all(&receiver), rows[1..4]);
    }

    #[tokio::test]
    async fn a_history_behind_its_snapshot_is_not_shipped() {
        let (sender, _receiver, source, _) = histories();
        sender.put(&[], 4, &Keep::ALL).unwrap();
        source.shipment(0, 5).next().await.unwrap_err();
    }

    #[test]
    fn pieces_that_do_not_fit_are_refused() {
        let (_, receiver, _, mut intake) = histories();
        let message = |revision, continues, goes_on| proto::HistoryRows {
            rows: vec![super::message(sample(1, revision, 5))],
            continues,
            goes_on,
            ..proto::HistoryRows::default()
        };
        assert!(matches!(intake.take(message(3, true, false), 9), Err(TransferError::HistoryPiece)));
        intake.take(message(3, false, true), 9).unwrap();
        assert!(matches!(intake.take(message(4, true, false), 9), Err(TransferError::HistoryPiece)));
        assert!(matches!(
            intake.take(message(10, false, false), 9),
            Err(TransferError::HistoryBeyond { upto: 9 })
        ));
        let empty = proto::HistoryRows { continues: true, ..proto::HistoryRows::default() };
        assert!(matches!(intake.take(empty, 9), Err(TransferError::HistoryPiece)));
        assert!(receiver.is_empty().unwrap());
    }
}
