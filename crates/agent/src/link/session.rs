//! One open session: frames both ways, heartbeats, and when to look for the way home.

use std::time::Duration;

use paceline_api::v1;
use paceline_link::message::{AgentMessage, AgentOrder};
use paceline_types::ShardName;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tonic::Streaming;

use super::dial::{DialError, Dialling, Opened, Reached};
use crate::logs::LogTask;

/// What a session has to say to the link.
pub(super) enum News {
    Order(AgentOrder),
    /// An order of a kind that only a newer agent knows.
    Skipped,
    Ended(String),
    NotWelcomed,
    MoveDue,
    Home(Result<Reached, DialError>),
}

enum Home {
    Here,
    ElsewhereAt(Instant),
    Dialling(paceline_identity::BoxFuture<'static, Result<Reached, DialError>>),
}

pub(super) struct Session {
    shard: ShardName,
    address: String,
    up: mpsc::Sender<v1::AgentFrame>,
    down: Streaming<v1::OrderFrame>,
    _logs: LogTask,
    heartbeat: Duration,
    heard_at: Instant,
    patience: Duration,
    /// Until when a Welcome is waited for; nothing once it came.
    welcome_by: Option<Instant>,
    home: Home,
}

impl Session {
    pub(super) fn new(opened: Opened, logs: LogTask, heartbeat: Duration, patience: Duration) -> Self {
        let now = Instant::now();
        Self {
            shard: opened.shard,
            address: opened.address,
            up: opened.up,
            down: opened.down,
            _logs: logs,
            heartbeat,
            heard_at: now,
            patience,
            welcome_by: Some(now + patience),
            home: Home::Here,
        }
    }

    /// The next news; heartbeats are sent meanwhile. May be dropped and called again at any point.
    pub(super) async fn next(&mut self) -> News {
        loop {
            let home = async {
                match &mut self.home {
                    Home::Here => std::future::pending().await,
                    Home::ElsewhereAt(at) => {
                        sleep_until(*at).await;
                        News::MoveDue
                    }
                    Home::Dialling(dialling) => News::Home(dialling.await),
                }
            };
            let unwelcomed = async {
                match self.welcome_by {
                    Some(by) => sleep_until(by).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                frame = self.down.message() => return news_of(frame),
                () = sleep_until(self.heard_at + self.heartbeat) => {}
                () = unwelcomed => return News::NotWelcomed,
                news = home => return news,
            }
            self.send(AgentMessage::Alive);
        }
    }

    pub(super) const fn shard(&self) -> &ShardName {
        &self.shard
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) const fn is_welcomed(&self) -> bool {
        self.welcome_by.is_none()
    }

    pub(super) fn welcomed(&mut self, heartbeat: Duration) {
        self.welcome_by = None;
        self.heartbeat = heartbeat;
    }

    pub(super) fn wait_for_welcome_again(&mut self) {
        self.welcome_by = Some(Instant::now() + self.patience);
    }

    pub(super) fn move_in(&mut self, delay: Duration) {
        self.home = Home::ElsewhereAt(Instant::now() + delay);
    }

    pub(super) fn stay(&mut self) {
        self.home = Home::Here;
    }

    /// Dials home beside the session; nothing to dial means that home is here after all.
    pub(super) fn dial_home(&mut self, dialling: Option<Dialling>) {
        self.home = match dialling {
            Some(Dialling::Shard(dialling)) => Home::Dialling(dialling),
            Some(Dialling::Master(_)) | None => Home::Here,
        };
    }

    pub(super) fn has_room(&self) -> bool {
        self.up.capacity() > 0
    }

    /// Sends where there is room. Without room the shard has unread frames of ours, which says as much as a
    /// heartbeat; reports are only sent where there is room.
    pub(super) fn send(&mut self, message: AgentMessage) {
        self.heard_at = Instant::now();
        if let Err(mpsc::error::TrySendError::Closed(_)) = self.up.try_send(message.into()) {
            tracing::debug!(shard = %self.shard, "the stream has ended");
        }
    }

    /// Ends our direction and reads the other one to its end.
    pub(super) async fn leave(self) {
        let Self { up, mut down, .. } = self;
        drop(up);
        while let Ok(Some(_)) = down.message().await {}
    }
}

fn news_of(frame: Result<Option<v1::OrderFrame>, tonic::Status>) -> News {
    match frame {
        Ok(Some(frame)) => match Option::<AgentOrder>::try_from(frame) {
            Ok(Some(order)) => News::Order(order),
            Ok(None) => News::Skipped,
            Err(fault) => News::Ended(format!("an order makes no sense: {fault}")),
        },
        Ok(None) => News::Ended("the shard ended the session".to_owned()),
        Err(status) => News::Ended(format!("the stream broke: {}: {}", status.code(), status.message())),
    }
}
