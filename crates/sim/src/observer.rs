//! The observer: a client that asks every master in turn, all the time, who leads and what its state is. Faults that aim at
//! the leader aim at whom it heard of; replicas that differ at a revision are found when they do.

use std::time::Duration;

use tokio::time::sleep;

use crate::workload::ClientSeat;

/// Between two masters.
const PAUSE: Duration = Duration::from_millis(150);
/// A master that does not answer within this is passed over.
const WITHIN: Duration = Duration::from_millis(300);

/// Who observes.
#[derive(Clone)]
pub struct Observer {
    /// As whom.
    pub seat: ClientSeat,
}

impl Observer {
    /// Asks for as long as the simulation lasts.
    pub async fn live(self) -> turmoil::Result {
        let client = self.seat.open().within(WITHIN).stale();
        loop {
            for master in &self.seat.masters {
                sleep(PAUSE).await;
                let Ok(at) = client.at(master).await else { continue };
                if let Ok(status) = at.cell().status().await {
                    self.seat.heard(&status);
                    self.seat.judge.status(&status);
                    self.seat.trace.count("digests", 1);
                }
            }
        }
    }
}
