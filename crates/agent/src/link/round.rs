//! One round of dialling: everybody who could take the node, one after the other, until somebody answers.
//!
//! Who refuses the connection is passed over at once; who stays silent, because the machine is off or the
//! network is cut, is left to answer while the next one is tried beside it.
//!
//! It knows what a failure costs the other side, and leaves to `pace` what follows from that.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use paceline_link::message::ShardList;
use paceline_types::NodeName;
use tokio::time::{Instant, sleep_until};

use super::dial::{DialError, Dialler, Dialling, Reached};
use super::explain;
use super::targets::Target;

/// How long one target may be silent before the next is tried too: far above what a shard takes that is
/// busy with the handshakes of ten thousand others, far below the deadline of a dial.
const STAGGER: Duration = Duration::from_secs(1);

/// How a round went.
pub(super) enum RoundEnd {
    /// A shard answered.
    Reached(Box<Reached>),
    /// A master said which shards there are.
    Listed(ShardList),
    /// Nobody did.
    Failed {
        /// The last reason.
        cause: String,
        /// Somebody was there and had work with us.
        costly: bool,
    },
}

enum Answer {
    Reached(Box<Reached>),
    Listed(ShardList),
}

/// A round on its way.
pub(super) struct Round {
    left: VecDeque<Target>,
    dials: Vec<Dialling>,
    next_at: Instant,
    cause: String,
    costly: bool,
}

impl Round {
    pub(super) fn new(targets: VecDeque<Target>) -> Self {
        let cause = "there is nobody to dial".to_owned();
        Self { left: targets, dials: Vec::new(), next_at: Instant::now(), cause, costly: false }
    }

    /// How it goes. May be dropped and called again at any point.
    pub(super) async fn next(&mut self, dialler: &Dialler, node: &NodeName) -> RoundEnd {
        loop {
            self.dial_next(dialler, node);
            if self.dials.is_empty() {
                return RoundEnd::Failed { cause: std::mem::take(&mut self.cause), costly: self.costly };
            }
            let more = self.may_dial_beside();
            let answer = tokio::select! {
                answer = poll_fn(|context| poll_first(&mut self.dials, context)) => answer,
                () = sleep_until(self.next_at), if more => continue,
            };
            match answer {
                Ok(Answer::Reached(reached)) => return RoundEnd::Reached(reached),
                Ok(Answer::Listed(list)) => return RoundEnd::Listed(list),
                Err(error) => {
                    self.costly |= error.is_costly();
                    self.cause = explain(&error);
                }
            }
        }
    }

    fn dial_next(&mut self, dialler: &Dialler, node: &NodeName) {
        let silent = Instant::now() >= self.next_at && self.may_dial_beside();
        if (self.dials.is_empty() || silent)
            && let Some(target) = self.left.pop_front()
        {
            self.dials.push(dialler.dial(target, node));
            self.next_at = Instant::now() + STAGGER;
        }
    }

    /// A master is asked only when every shard has failed.
    fn may_dial_beside(&self) -> bool {
        matches!(self.left.front(), Some(Target::Shard { .. }))
    }
}

fn poll_first(dials: &mut Vec<Dialling>, context: &mut Context<'_>) -> Poll<Result<Answer, DialError>> {
    for at in 0..dials.len() {
        let answer = match &mut dials[at] {
            Dialling::Shard(dial) => {
                Pin::new(dial).poll(context).map_ok(|reached| Answer::Reached(Box::new(reached)))
            }
            Dialling::Master(ask) => Pin::new(ask).poll(context).map_ok(Answer::Listed),
        };
        if answer.is_ready() {
            drop(dials.swap_remove(at));
            return answer;
        }
    }
    Poll::Pending
}
