//! A stream for output to each master, so that any of them can be asked: dialled again when it breaks.
//!
//! Its connection is not the link's: a full pipe of output holds up no order.

use std::sync::Arc;
use std::time::Duration;

use paceline_api::v1::master_link_client::MasterLinkClient;
use paceline_identity::{Connector, Expect, Role, channel};
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::backoff::Backoff;
use crate::config::MasterAddress;

use super::LogDesk;

/// How long a master may take to answer the call.
const ANSWER_DEADLINE: Duration = Duration::from_secs(6);
/// Least time between two dials. Output is read by people, and a master that is away is away for all shards.
const REDIAL: Duration = Duration::from_millis(500);

/// Keeps a stream to one master.
pub(crate) struct LogDialler {
    pub connector: Arc<dyn Connector>,
    pub master: MasterAddress,
    pub desk: LogDesk,
    pub backoff: Backoff,
}

impl LogDialler {
    /// Until it is dropped.
    pub(crate) async fn run(mut self) {
        loop {
            match self.talk().await {
                Ok(()) => self.backoff.reset(),
                Err(status) => {
                    let why = status.message();
                    tracing::debug!(master = self.master, why, "the stream for output broke");
                }
            }
            sleep(REDIAL + self.backoff.pause()).await;
        }
    }

    async fn talk(&self) -> Result<(), Status> {
        let expect = Expect::any(Role::Master);
        let mut client = MasterLinkClient::new(channel(self.connector.clone(), &self.master, expect));
        let (stream, pieces) = self.desk.master_opened();
        let call = timeout(ANSWER_DEADLINE, client.log_stream(ReceiverStream::new(pieces))).await;
        let late = |_| Status::deadline_exceeded(format!("no answer within {ANSWER_DEADLINE:?}"));
        let mut questions = call.map_err(late)??.into_inner();
        while let Some(question) = questions.message().await? {
            stream.asked(question);
        }
        Ok(())
    }
}
