//! What a peer sends of its history against broken bytes.

use std::sync::Arc;

use paceline_fuzz::Campaign;
use prost::Message;

use super::MemoryHistory;
use super::shipping::HistoryIntake;
use crate::wire::proto;

/// The end of the snapshot that the rows come with.
const UPTO: u64 = 1_000;

fn sound() -> Vec<proto::HistoryRows> {
    let row = |revision: u64, value: &'static [u8]| proto::HistoryRow {
        key: revision.to_be_bytes().to_vec().into(),
        name: "job".into(),
        revision,
        clock_ms: revision * 10,
        value: value.into(),
    };
    let whole = proto::HistoryRows {
        rows: vec![row(7, b"one"), row(300, b"another")],
        watermark: 300,
        ..proto::HistoryRows::default()
    };
    let piece = proto::HistoryRows {
        rows: vec![row(7, b"the beginning of a long one")],
        watermark: 6,
        goes_on: true,
        ..proto::HistoryRows::default()
    };
    let from = proto::HistoryAge { revision: 7, key: vec![0, 7].into() };
    let end = proto::HistoryRows { watermark: UPTO, from: Some(from), ..proto::HistoryRows::default() };
    vec![whole, piece, end]
}

/// What a receiver takes, and what its history is then: each message comes first, and once more.
#[test]
fn shipped_rows() {
    let read = |bytes: &[u8]| {
        let message = proto::HistoryRows::decode(bytes).ok()?;
        let history = Arc::new(MemoryHistory::new());
        let mut intake = HistoryIntake::new(history);
        let first = intake.take(message.clone(), UPTO).ok()?;
        assert!(first <= UPTO, "the watermark is {first}, beyond the snapshot");
        let again = intake.take(message.clone(), UPTO);
        assert!(again.map_or(true, |again| again == first), "taken once more it is otherwise");
        Some(message)
    };
    let encoded = sound().iter().map(Message::encode_to_vec).collect();
    Campaign::new("shipped history", encoded).run(read, |message| read(&message.encode_to_vec()));
}
