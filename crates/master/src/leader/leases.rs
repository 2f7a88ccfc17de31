//! What the leader's loop does for `at_most_one`: it asks a majority before the hub grants leases. Which tasks wait because
//! a lease may be out is decided in `schedule`.

use std::sync::Arc;

use paceline_replica::Replica;
use tokio::task::JoinSet;

/// The answer to a question for a majority.
#[derive(Debug)]
pub(crate) struct Confirmed {
    /// Of the leadership that asked.
    pub term: u64,
    pub round: u64,
    pub confirmed: bool,
}

/// Asks a majority, from now on, whether this master leads. Everything committed by now is published when it answers.
pub(super) fn ask(replica: &Arc<Replica>, term: u64, round: u64, confirmations: &mut JoinSet<Confirmed>) {
    let replica = Arc::clone(replica);
    confirmations.spawn(async move {
        let answer = replica.read_index().await;
        if let Err(error) = &answer {
            tracing::debug!(%error, "no lease is granted");
        }
        Confirmed { term, round, confirmed: answer.is_ok() }
    });
}
