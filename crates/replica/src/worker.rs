//! Owner loops that must not run on an async worker: the log writer and the applier.
//!
//! In production each is an operating-system thread. Under simulation everything has to stay on one thread, so the same
//! loops run as tasks there; what they do is identical.

use std::time::Duration;

use futures::channel::oneshot;
use tokio::sync::mpsc;

use crate::fatal::{FatalHandler, PanicGuard};

/// Where owner loops and blocking reads run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Execution {
    /// Each loop has its own thread: production.
    #[default]
    Threads,
    /// Each loop is a task of the current runtime and blocks it while it works: simulation.
    Tasks,
}

/// The owner of some state, fed by a queue.
pub trait Owner: Send + 'static {
    /// What the queue carries.
    type Event: Send + 'static;
    /// Takes over `first` and whatever else it wants to drain from the queue. `false` ends the loop.
    fn handle(&mut self, first: Self::Event, queue: &mut mpsc::Receiver<Self::Event>) -> bool;
    /// How long a task waits before it handles the next event: what a thread would lose to a slow disk by itself.
    fn delay(&self) -> Duration {
        Duration::ZERO
    }
}

/// Starts the loop of `owner`; it ends when every sender is gone or the owner says so.
pub fn start<O: Owner>(
    execution: Execution,
    name: &'static str,
    fatal: FatalHandler,
    mut owner: O,
    mut queue: mpsc::Receiver<O::Event>,
) {
    match execution {
        Execution::Threads => {
            let run = move || {
                let _guard = PanicGuard::new(fatal, name);
                while let Some(event) = queue.blocking_recv() {
                    if !owner.handle(event, &mut queue) {
                        break;
                    }
                }
            };
            std::thread::Builder::new()
                .name(format!("paceline-{name}"))
                .spawn(run)
                .expect("a master that cannot start one thread cannot run at all");
        }
        Execution::Tasks => {
            tokio::spawn(async move {
                let _guard = PanicGuard::new(fatal, name);
                while let Some(event) = queue.recv().await {
                    let delay = owner.delay();
                    if !delay.is_zero() {
                        tokio::time::sleep(delay).await;
                    }
                    if !owner.handle(event, &mut queue) {
                        break;
                    }
                }
            });
        }
    }
}

impl Execution {
    /// Runs blocking work away from the async workers and waits for it. `None` if it panicked, or if the runtime ends.
    pub async fn blocking<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        match self {
            Self::Threads => {
                let (done, result) = oneshot::channel();
                tokio::task::spawn_blocking(move || done.send(work()).ok());
                result.await.ok()
            }
            Self::Tasks => Some(work()),
        }
    }
}
