//! Sending a snapshot: offer it, send the history that the receiver lacks, go on from where it is, install. A retry
//! resumes.

use std::time::Duration;

use super::Me;
use super::check::address;
use super::client::{PeerClient, PeerError};
use crate::config::SNAPSHOT_TRANSFER_CHUNK_BYTES;
use crate::disk::DiskError;
use crate::history::HistorySource;
use crate::member::Member;
use crate::raft::Vote;
use crate::snapshot::SnapshotFile;
use crate::wire::proto::snapshot_request::Step;
use crate::wire::{self, Malformed, proto};

/// One piece is a megabyte written to a page cache, or synced to the history; ten seconds mean a broken network or disk.
const CHUNK_DEADLINE: Duration = Duration::from_secs(10);

/// A transfer that ended early.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The peer.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// The own file.
    #[error(transparent)]
    Read(#[from] DiskError),
    /// An answer that makes no sense.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// Sends `snapshot` to `member` and has it installed; returns the vote that the peer answers with.
pub async fn send(
    client: &dyn PeerClient,
    me: &Me,
    member: &Member,
    vote: Vote,
    snapshot: &SnapshotFile,
    history: &HistorySource,
    install_deadline: Duration,
) -> Result<Vote, SendError> {
    let key = proto::SnapshotKey {
        sender_disk_id: me.disk_id.to_vec().into(),
        last_log_id: snapshot.meta().last_log_id.as_ref().map(wire::log_id),
        length_bytes: snapshot.length_bytes(),
        checksum: snapshot.total_checksum(),
    };
    let request = |step| proto::SnapshotRequest {
        addressing: Some(address(me, member)),
        key: Some(key.clone()),
        step: Some(step),
    };
    let offer = request(Step::Offer(proto::SnapshotOffer {}));
    let offered = client.snapshot(offer, CHUNK_DEADLINE).await?;
    let upto = snapshot.meta().last_log_id.map_or(0, |id| id.index());
    let mut watermark = offered.history_watermark;
    let mut shipment = history.shipment(watermark, upto);
    while watermark < upto {
        let rows = shipment.next().await?;
        let last = rows.watermark >= upto;
        watermark = client.snapshot(request(Step::History(rows)), CHUNK_DEADLINE).await?.history_watermark;
        if last {
            // Whoever still has not enough refuses the installation, and says so.
            break;
        }
    }
    let mut offset_bytes = offered.received_bytes;
    while offset_bytes < snapshot.length_bytes() {
        let content = snapshot.read_at(offset_bytes, SNAPSHOT_TRANSFER_CHUNK_BYTES)?;
        let chunk = proto::SnapshotChunk { offset_bytes, checksum: crc32c::crc32c(&content), content };
        offset_bytes = client.snapshot(request(Step::Chunk(chunk)), CHUNK_DEADLINE).await?.received_bytes;
    }
    let install = request(Step::Install(proto::SnapshotInstall { vote: Some(wire::vote(&vote)) }));
    let installed = client.snapshot(install, install_deadline).await?;
    Ok(wire::vote_from(installed.vote)?)
}
