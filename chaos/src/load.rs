//! Somebody who submits small jobs all the time, and remembers what became of each call.
//!
//! Calls begin at fixed times whether earlier ones were answered or not, so that a failover meets many at once.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use paceline_client::{Class, Client};
use paceline_rules::JobSpec;
use paceline_types::Resources;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval};

use crate::record::{Call, Outcome};
use crate::wait::ms_since;

/// A new job this often.
const SUBMIT_EVERY: Duration = Duration::from_millis(100);
/// Deadline of each call: many elections long, so that a failover does not show.
const CALL_WITHIN: Duration = Duration::from_secs(15);
/// Calls at once; at the bound, no new one begins. A cell that is away for long must not be met by thousands.
const CALLS_AT_ONCE: usize = 100;
/// What a small job needs: little, so that it fits beside everything else.
const NEEDS: Resources = Resources::new(10, 4 << 20);

/// The submissions in the background.
#[derive(Debug)]
pub struct Load {
    stop: oneshot::Sender<()>,
    calls: JoinHandle<Vec<Call>>,
}

impl Load {
    /// Begins. Every job's name begins with the prefix, and nobody else's may.
    pub fn start(client: &Client, prefix: &str) -> Self {
        let (stop, stopped) = oneshot::channel();
        let calls = tokio::spawn(submit_until(client.within(CALL_WITHIN), prefix.to_owned(), stopped));
        Self { stop, calls }
    }

    /// Begins no new call, waits for those under way, and returns the record.
    pub async fn stop(self) -> Result<Vec<Call>> {
        // A load that has ended by itself is found out by the wait.
        let _ = self.stop.send(());
        self.calls.await.context("the submissions in the background failed")
    }
}

async fn submit_until(client: Client, prefix: String, mut stopped: oneshot::Receiver<()>) -> Vec<Call> {
    let began = Instant::now();
    let mut ticks = interval(SUBMIT_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut open = JoinSet::new();
    let mut calls = Vec::new();
    let mut number = 0_u64;
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            _ = ticks.tick(), if open.len() < CALLS_AT_ONCE => {
                number += 1;
                open.spawn(submit(client.clone(), format!("{prefix}{number:06}"), began));
            }
            Some(Ok(call)) = open.join_next(), if !open.is_empty() => calls.push(call),
        }
    }
    calls.extend(open.join_all().await);
    calls
}

async fn submit(client: Client, name: String, began: Instant) -> Call {
    let began_ms = ms_since(began);
    let spec = JobSpec::batch(&name, 1, &["/bin/true"], NEEDS);
    let outcome = match client.jobs().submit(&spec).await {
        Ok(reply) => match reply.uid {
            Some(uid) => Outcome::Acknowledged { uid: uid.into(), existing: reply.existing },
            None => Outcome::Unknown { why: "the reply names no job".to_owned() },
        },
        Err(error) => match error.class() {
            Class::Unknown => Outcome::Unknown { why: error.to_string() },
            Class::Retry | Class::Refused | Class::Fatal => Outcome::Refused { why: error.to_string() },
        },
    };
    Call { name, began_ms, ended_ms: ms_since(began), outcome }
}
