//! A stream for output to each master, so that any of them can be asked: dialled again when it breaks, and given up when
//! the master is one no more.
//!
//! Its connection is not the link's: a full pipe of output holds up no order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use paceline_api::v1::master_link_client::MasterLinkClient;
use paceline_identity::{Connector, Expect, Role, channel};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
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

/// Keeps a stream to each of the masters that there are.
pub(crate) struct LogDiallers {
    pub connector: Arc<dyn Connector>,
    pub masters: watch::Receiver<Vec<MasterAddress>>,
    pub desk: LogDesk,
    /// Seeds the pauses.
    pub seed: u64,
}

impl LogDiallers {
    /// Until it is dropped, or nobody can tell any more which masters there are.
    pub(crate) async fn run(mut self) {
        let (mut diallers, mut running) = (JoinSet::new(), BTreeMap::<MasterAddress, AbortHandle>::new());
        loop {
            let masters = self.masters.borrow_and_update().clone();
            running.retain(|master, dialler| {
                let is_one = masters.contains(master);
                if !is_one {
                    dialler.abort();
                }
                is_one
            });
            for master in masters {
                running.entry(master).or_insert_with_key(|master| diallers.spawn(self.next(master).run()));
            }
            tokio::select! {
                changed = self.masters.changed() => if changed.is_err() { return },
                Some(ended) = diallers.join_next() => if let Err(error) = ended && error.is_panic() {
                    std::panic::resume_unwind(error.into_panic());
                },
            }
        }
    }

    fn next(&mut self, master: &MasterAddress) -> LogDialler {
        self.seed = self.seed.wrapping_add(1);
        let (connector, desk) = (self.connector.clone(), self.desk.clone());
        LogDialler { connector, master: master.clone(), desk, backoff: Backoff::new(self.seed) }
    }
}

/// Keeps a stream to one master.
struct LogDialler {
    connector: Arc<dyn Connector>,
    master: MasterAddress,
    desk: LogDesk,
    backoff: Backoff,
}

impl LogDialler {
    /// Until it is dropped.
    async fn run(mut self) {
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
