//! The stream to the leader: finds it, keeps it, and when it is lost finds the next one.
//!
//! Masters are tried in turn; one that does not lead names the one that does. What is said on the stream is the
//! owner's business: this task only dials, reads and notices the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::{Stream, StreamExt};
use paceline_api::v1::master_link_client::MasterLinkClient;
use paceline_api::v1::{Leader, MasterFrame, ShardFrame};
use paceline_api::{FRAME_BYTES_MAX, Known, detail_of};
use paceline_identity::{Connector, Expect, Role, channel};
use paceline_link::message::MasterMessage;
use paceline_link::{LinkId, master_message_bytes};
use paceline_telemetry::Metrics;
use tokio::sync::{Notify, mpsc};
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Status, Streaming};

use crate::backoff::Backoff;
use crate::intake::Intake;
use crate::masters::Masters;
use crate::owner::Event;
use crate::turns::Turns;

/// How long a master may take to answer the call; connecting has its own deadline below this.
const ANSWER_DEADLINE: Duration = Duration::from_secs(6);
/// Hints followed at once. Two masters that each take the other for the leader are not followed in a circle.
const HINTS_IN_A_ROW: u32 = 2;
/// Room for what the logic keeps in flight, its Hello, and one to spare: an outbox is never full.
const OUTBOX_SPARE: usize = 2;

/// The stream as the owner holds it. Dropping it ends the stream, and the dialler looks for another.
#[derive(Debug)]
pub(crate) struct LeaderStream {
    pub outbox: mpsc::Sender<ShardFrame>,
    pub taken: Arc<Taken>,
    _attempt: DropGuard,
}

/// Counts the batches that the network has taken from an outbox.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    count: AtomicU64,
    pub changed: Notify,
}

impl Taken {
    fn one(&self) {
        // ORDERING: Relaxed; only the number matters, and the notification orders itself after it.
        self.count.fetch_add(1, Ordering::Relaxed);
        self.changed.notify_one();
    }

    /// How many since the last call.
    pub(crate) fn take(&self) -> u64 {
        // ORDERING: Relaxed, pairs with `one`: a batch that is missed here notifies again.
        self.count.swap(0, Ordering::Relaxed)
    }
}

/// Finds leaders, one after the other, until the owner is gone.
pub(crate) struct Dialler {
    pub connector: Arc<dyn Connector>,
    pub masters: Masters,
    pub metrics: Arc<Metrics>,
    pub events: mpsc::Sender<Event>,
    pub backoff: Backoff,
    pub in_flight_max: u64,
}

/// How an attempt ended.
#[derive(Debug)]
struct Ended {
    why: String,
    hint: Option<Leader>,
    /// The master spoke to us as a leader.
    led: bool,
    /// This shard gave it up, as it does with a leader that says nothing.
    given_up: bool,
}

/// Why a talk ended, and who leads as far as the master knows.
type Farewell = (String, Option<Leader>);

fn farewell(status: &Status) -> Farewell {
    let leader = detail_of(status).and_then(|detail| detail.leader);
    (status.message().to_owned(), leader.filter(|leader| !leader.api_address.is_empty()))
}

impl Dialler {
    pub(crate) async fn run(mut self) {
        let mut turns = Turns::new(self.masters.all());
        let mut hint: Option<Leader> = None;
        let mut hints = 0;
        for link in (1..).map(LinkId) {
            let (address, expect) = match hint.take() {
                Some(leader) if !leader.name.is_empty() => {
                    (leader.api_address, Expect::named(Role::Master, leader.name))
                }
                Some(leader) => (leader.api_address, Expect::any(Role::Master)),
                None => (turns.next(), Expect::any(Role::Master)),
            };
            let ended = self.attempt(link, &address, expect).await;
            turns.follow(self.masters.all());
            if self.events.is_closed() {
                return;
            }
            let Ended { why, hint: next, led, given_up } = ended;
            if led {
                turns.spoke();
                tracing::info!(%address, why, "the leader is lost");
                self.backoff.reset();
                hints = 0;
            } else {
                tracing::debug!(%address, why, "no leader there");
            }
            if given_up {
                turns.fell_silent(&address);
            }
            let next = next.filter(|leader| !turns.passes_over(&leader.api_address));
            if next.is_some() && hints < HINTS_IN_A_ROW {
                (hint, hints) = (next, hints + 1);
                continue;
            }
            hints = 0;
            sleep(self.backoff.pause()).await;
        }
    }

    async fn attempt(&self, link: LinkId, address: &str, expect: Expect) -> Ended {
        let in_flight = usize::try_from(self.in_flight_max).unwrap_or(usize::MAX - OUTBOX_SPARE);
        let (outbox, inbox) = mpsc::channel(in_flight + OUTBOX_SPARE);
        let (taken, ended) = (Arc::new(Taken::default()), CancellationToken::new());
        let stream = LeaderStream { outbox, taken: taken.clone(), _attempt: ended.clone().drop_guard() };
        let connected = Event::LeaderConnected { link, stream };
        if self.events.send(connected).await.is_err() {
            return Ended { why: "the shard ends".to_owned(), hint: None, led: false, given_up: false };
        }
        let outgoing = ReceiverStream::new(inbox).inspect(move |_| taken.one());
        let mut led = false;
        let talk = self.talk(link, address, expect, outgoing, &mut led);
        let outcome = ended.run_until_cancelled(talk).await;
        // An error means that the owner is gone, and with it whoever would care.
        let _ = self.events.send(Event::LeaderDisconnected { link }).await;
        let given_up = outcome.is_none();
        let (why, hint) = outcome.unwrap_or_else(|| ("given up by this shard".to_owned(), None));
        Ended { why, hint, led, given_up }
    }

    async fn talk(
        &self,
        link: LinkId,
        address: &str,
        expect: Expect,
        outgoing: impl Stream<Item = ShardFrame> + Send + 'static,
        led: &mut bool,
    ) -> Farewell {
        let mut client = MasterLinkClient::new(channel(self.connector.clone(), address, expect))
            .max_decoding_message_size(FRAME_BYTES_MAX)
            .max_encoding_message_size(FRAME_BYTES_MAX);
        let frames = match timeout(ANSWER_DEADLINE, client.connect(outgoing)).await {
            Ok(Ok(response)) => response.into_inner(),
            Ok(Err(status)) => return farewell(&status),
            Err(_) => return (format!("no answer within {ANSWER_DEADLINE:?}"), None),
        };
        self.listen(link, frames, led).await
    }

    async fn listen(&self, link: LinkId, mut frames: Streaming<MasterFrame>, led: &mut bool) -> Farewell {
        let intake = Intake::of_leader();
        loop {
            let mut frame = match frames.message().await {
                Ok(Some(frame)) => frame,
                Ok(None) => return ("the stream ended".to_owned(), None),
                Err(status) => return farewell(&status),
            };
            if let Some(masters) = frame.masters.take() {
                self.masters.learn(masters);
            }
            match Known::<MasterMessage>::try_from(frame) {
                Ok(Known { messages, unknown }) => {
                    self.metrics.skipped_messages("the leader", unknown);
                    // Who the masters are says the process; that it leads says its hub alone.
                    if messages.is_empty() {
                        continue;
                    }
                    *led = true;
                    let held = intake.hold(messages.iter().map(master_message_bytes).sum()).await;
                    let event = Event::LeaderMessages { link, messages, held };
                    if self.events.send(event).await.is_err() {
                        return ("the shard ends".to_owned(), None);
                    }
                }
                Err(fault) => return (fault.to_string(), None),
            }
        }
    }
}
