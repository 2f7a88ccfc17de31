//! The whole state as a stream: in order, complete, of one revision, or an error.

use paceline_api::v1;
use paceline_types::Revision;
use tonic::Streaming;
use tonic::codegen::Bytes;

use crate::error::ClientError;
use crate::verdict::words;

/// A snapshot in progress. It cannot go on after a break: another view would be another state.
#[derive(Debug)]
pub struct Snapshot {
    stream: Streaming<v1::SnapshotReply>,
    revision: Option<u64>,
    pieces: u64,
    end: Option<v1::SnapshotEnd>,
}

impl Snapshot {
    pub(crate) const fn new(stream: Streaming<v1::SnapshotReply>) -> Self {
        Self { stream, revision: None, pieces: 0, end: None }
    }

    /// Of the view; known after the first piece.
    #[must_use]
    pub fn revision(&self) -> Option<Revision> {
        self.revision.map(Revision)
    }

    /// What the snapshot ended with; known once [`Snapshot::next`] returned nothing.
    #[must_use]
    pub const fn end(&self) -> Option<&v1::SnapshotEnd> {
        self.end.as_ref()
    }

    /// The next piece; nothing after the last one, when all of them came.
    ///
    /// # Errors
    /// [`ClientError::Broken`] when the stream broke: begin again. [`ClientError::Protocol`] when pieces are
    /// missing or of another view.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        if self.end.is_some() {
            return Ok(None);
        }
        let piece = self
            .stream
            .message()
            .await
            .map_err(|status| ClientError::Broken { tries: 1, last: words(&status) })?;
        let piece = piece.ok_or_else(|| ClientError::protocol("a snapshot stopped before its end"))?;
        self.check(&piece)?;
        self.pieces += 1;
        if let Some(end) = piece.end {
            if end.pieces != self.pieces {
                let fault = format!("a snapshot of {} pieces ended after {}", end.pieces, self.pieces);
                return Err(ClientError::protocol(fault));
            }
            self.end = Some(end);
        }
        Ok(Some(piece.data))
    }

    fn check(&mut self, piece: &v1::SnapshotReply) -> Result<(), ClientError> {
        let revision = *self.revision.get_or_insert(piece.revision);
        if revision != piece.revision {
            let fault = format!("a snapshot of revision {revision} has a piece of {}", piece.revision);
            return Err(ClientError::protocol(fault));
        }
        if piece.piece != self.pieces {
            let fault = format!("piece {} of a snapshot came as number {}", piece.piece, self.pieces);
            return Err(ClientError::protocol(fault));
        }
        Ok(())
    }
}
