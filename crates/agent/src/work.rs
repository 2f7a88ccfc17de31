//! Calls to the runtime, off the owner's task: launches beside each other, everything else in batches, one
//! batch of a kind at a time.
//!
//! Every queue is bounded by the table: an attempt stands in each at most once. News from the runtime are
//! collected as a set, so a burst of them costs one look per attempt.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use paceline_rules::JobSpec;
use paceline_runtime::{Exit, Launch, LaunchError, Lease, Observed, Runtime, StopError};
use paceline_types::{AttemptId, Reason};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::config::Workers;
use crate::link::explain;
use crate::table::{End, Seen};
use crate::trouble::Trouble;

/// Attempts looked at, stopped or forgotten by one call of a worker: a few milliseconds of file system.
const BATCH: usize = 256;
/// How often a launch is tried that failed because the node was in trouble.
const LAUNCH_TRIES: u32 = 3;

/// What came of the work.
#[derive(Debug)]
pub(crate) enum Done {
    Launched {
        attempt: AttemptId,
        launched: bool,
    },
    /// Each with whether the runtime passed it on.
    Stopped(Vec<(AttemptId, bool)>),
    /// What is known now; nothing where the runtime has lost an attempt that it had started.
    Looked(Vec<(AttemptId, Option<Seen>)>),
    /// Those that could not be.
    Forgotten(Vec<AttemptId>),
    /// Whoever could not be told of a lease is told of the next one, or ends.
    Renewed,
}

/// Attempts of which the runtime said that something changed.
#[derive(Default)]
struct News {
    attempts: Mutex<BTreeSet<AttemptId>>,
    came: Notify,
}

impl News {
    fn tell(&self, attempt: AttemptId) {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner).insert(attempt);
        self.came.notify_one();
    }

    fn take(&self) -> BTreeSet<AttemptId> {
        std::mem::take(&mut *self.attempts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

pub(crate) struct Work {
    runtime: Arc<dyn Runtime>,
    workers: Workers,
    running: JoinSet<Done>,
    news: Arc<News>,
    trouble: Arc<Mutex<Trouble<Instant>>>,
    /// To look at, and whether the runtime must have it.
    looks: BTreeMap<AttemptId, bool>,
    stops: VecDeque<(AttemptId, u64)>,
    /// The latest lease of each.
    leases: BTreeMap<AttemptId, Lease>,
    forgets: VecDeque<AttemptId>,
    /// Could not be forgotten, and will be tried again: as many as have a folder.
    unforgotten: Vec<AttemptId>,
    looking: bool,
    stopping: bool,
    renewing: bool,
    forgetting: bool,
}

impl Work {
    pub(crate) fn new(runtime: Arc<dyn Runtime>, workers: Workers) -> Self {
        let news = Arc::new(News::default());
        let told = Arc::clone(&news);
        runtime.subscribe(Box::new(move |attempt| told.tell(attempt)));
        Self {
            runtime,
            workers,
            running: JoinSet::new(),
            news,
            trouble: Arc::default(),
            looks: BTreeMap::new(),
            stops: VecDeque::new(),
            leases: BTreeMap::new(),
            forgets: VecDeque::new(),
            unforgotten: Vec::new(),
            looking: false,
            stopping: false,
            renewing: false,
            forgetting: false,
        }
    }

    /// What is done next. May be dropped and called again at any point.
    pub(crate) async fn next(&mut self) -> Done {
        loop {
            tokio::select! {
                biased;
                Some(done) = self.running.join_next() => {
                    // A runtime that panics leaves an attempt in a state that nobody knows.
                    return self.settle(done.expect("calls to the runtime do not panic"));
                }
                () = self.news.came.notified() => {
                    let news = self.news.take();
                    self.look(news.into_iter(), false);
                }
            }
        }
    }

    fn settle(&mut self, done: Done) -> Done {
        match &done {
            Done::Launched { .. } => {}
            Done::Stopped(_) => self.stopping = false,
            Done::Renewed => self.renewing = false,
            Done::Looked(found) => {
                self.looking = false;
                note(&self.trouble, found);
            }
            Done::Forgotten(failed) => {
                self.forgetting = false;
                self.unforgotten.extend(failed);
            }
        }
        self.start();
        done
    }

    pub(crate) fn launch(&mut self, attempt: AttemptId, spec: &JobSpec) {
        let launch = Arc::new(launch_of(attempt, spec));
        let (runtime, workers) = (Arc::clone(&self.runtime), self.workers);
        let trouble = Arc::clone(&self.trouble);
        self.running.spawn(async move {
            for tried in 1..=LAUNCH_TRIES {
                let hold = locked(&trouble).hold(Instant::now());
                if let Some(hold) = hold {
                    sleep(hold).await;
                }
                let (runtime, launch) = (Arc::clone(&runtime), Arc::clone(&launch));
                match on_worker(workers, move || runtime.launch(&launch)).await {
                    Ok(()) => return Done::Launched { attempt, launched: true },
                    Err(error) => {
                        locked(&trouble).failed(Instant::now());
                        log_launch(&error, tried);
                    }
                }
            }
            Done::Launched { attempt, launched: false }
        });
    }

    pub(crate) fn stop(&mut self, attempt: AttemptId, grace_ms: u64) {
        self.stops.push_back((attempt, grace_ms));
        self.start();
    }

    pub(crate) fn renew(&mut self, attempt: AttemptId, lease: Lease) {
        self.leases.insert(attempt, lease);
        self.start();
    }

    /// What the machine's boot clock shows.
    pub(crate) fn boot_clock_ms(&self) -> u64 {
        self.runtime.boot_clock_ms()
    }

    pub(crate) fn forget(&mut self, attempt: AttemptId) {
        self.forgets.push_back(attempt);
        self.start();
    }

    /// Once more what could not be forgotten. For a slow, regular call.
    pub(crate) fn retry_forgets(&mut self) {
        self.forgets.extend(self.unforgotten.drain(..));
        self.start();
    }

    /// Looks at attempts. `started` says that the runtime must have them: not finding one is news.
    pub(crate) fn look(&mut self, attempts: impl Iterator<Item = AttemptId>, started: bool) {
        for attempt in attempts {
            *self.looks.entry(attempt).or_default() |= started;
        }
        self.start();
    }

    fn start(&mut self) {
        if !self.looking && !self.looks.is_empty() {
            let batch: Vec<_> = std::iter::from_fn(|| self.looks.pop_first()).take(BATCH).collect();
            self.looking = true;
            self.spawn(move |runtime| Done::Looked(look(runtime, &batch)));
        }
        if !self.stopping && !self.stops.is_empty() {
            let batch: Vec<_> = self.stops.drain(..self.stops.len().min(BATCH)).collect();
            self.stopping = true;
            let stop =
                |runtime: &dyn Runtime, (attempt, grace_ms)| (attempt, stop(runtime, attempt, grace_ms));
            self.spawn(move |runtime| {
                Done::Stopped(batch.into_iter().map(|order| stop(runtime, order)).collect())
            });
        }
        if !self.renewing && !self.leases.is_empty() {
            let batch: Vec<_> = std::iter::from_fn(|| self.leases.pop_first()).take(BATCH).collect();
            self.renewing = true;
            self.spawn(move |runtime| {
                batch.iter().for_each(|(attempt, lease)| renew(runtime, attempt, *lease));
                Done::Renewed
            });
        }
        if !self.forgetting && !self.forgets.is_empty() {
            let batch: Vec<_> = self.forgets.drain(..self.forgets.len().min(BATCH)).collect();
            self.forgetting = true;
            self.spawn(move |runtime| {
                Done::Forgotten(batch.into_iter().filter(|attempt| !forget(runtime, attempt)).collect())
            });
        }
    }

    fn spawn(&mut self, work: impl FnOnce(&dyn Runtime) -> Done + Send + 'static) {
        let runtime = Arc::clone(&self.runtime);
        self.running.spawn(on_worker(self.workers, move || work(&*runtime)));
    }
}

/// What was seen of attempts tells how the node is: one that runs, or ran, says that it can start tasks.
fn note(trouble: &Mutex<Trouble<Instant>>, found: &[(AttemptId, Option<Seen>)]) {
    for (_, seen) in found {
        match seen {
            Some(Seen::Ended(End { reason: Reason::NodeFault, .. })) => {
                locked(trouble).failed(Instant::now())
            }
            Some(Seen::Running { .. } | Seen::Ended(End { status: Some(_), .. })) => {
                locked(trouble).started()
            }
            Some(Seen::Starting | Seen::Ended(_)) | None => {}
        }
    }
}

fn locked(trouble: &Mutex<Trouble<Instant>>) -> MutexGuard<'_, Trouble<Instant>> {
    // One field, replaced whole: a panic elsewhere leaves it usable.
    trouble.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) async fn on_worker<T: Send + 'static>(
    workers: Workers,
    call: impl FnOnce() -> T + Send + 'static,
) -> T {
    match workers {
        Workers::Inline => call(),
        Workers::Threads => {
            tokio::task::spawn_blocking(call).await.expect("calls to the runtime do not panic")
        }
    }
}

fn launch_of(attempt: AttemptId, spec: &JobSpec) -> Launch {
    let task = spec.task(attempt.task);
    Launch {
        attempt,
        job_name: spec.name.clone(),
        task_count: spec.tasks,
        run: task.run,
        env: task.env,
        user: task.user,
        resources: task.resources,
        cpu_limit_milli: task.cpu_limit_milli,
        time_limit_ms: task.time_limit_ms,
        grace_ms: task.grace_ms,
        at_most_one: spec.at_most_one,
        script: spec.simulate.map(|block| block.script(attempt)),
    }
}

fn log_launch(error: &LaunchError, tried: u32) {
    tracing::warn!(error = explain(error), tried, of = LAUNCH_TRIES, "a launch failed");
}

fn stop(runtime: &dyn Runtime, attempt: AttemptId, grace_ms: u64) -> bool {
    match runtime.stop(&attempt, grace_ms) {
        // What is not here needs no stop; that it is gone is found by looking.
        Ok(()) | Err(StopError::Unknown { .. }) => true,
        Err(error) => {
            tracing::warn!(error = explain(&error), %attempt, "a stop failed and will be repeated");
            false
        }
    }
}

fn renew(runtime: &dyn Runtime, attempt: &AttemptId, lease: Lease) {
    match runtime.renew_lease(attempt, lease) {
        // What is not here needs no lease.
        Ok(()) | Err(StopError::Unknown { .. }) => {}
        Err(error) => tracing::warn!(error = explain(&error), %attempt, "a lease could not be passed on"),
    }
}

fn forget(runtime: &dyn Runtime, attempt: &AttemptId) -> bool {
    let forgotten = runtime.forget(attempt);
    if let Err(error) = &forgotten {
        tracing::warn!(error = explain(error), %attempt, "an acknowledged attempt could not be removed");
    }
    forgotten.is_ok()
}

fn look(runtime: &dyn Runtime, batch: &[(AttemptId, bool)]) -> Vec<(AttemptId, Option<Seen>)> {
    let mut found = Vec::with_capacity(batch.len());
    for &(attempt, started) in batch {
        match runtime.observe(&attempt) {
            Ok(Some(observed)) => found.push((attempt, Some(seen(&observed)))),
            Ok(None) if started => found.push((attempt, None)),
            Ok(None) => {}
            Err(error) => {
                tracing::error!(error = explain(&error), %attempt, "an attempt cannot be looked at")
            }
        }
    }
    found
}

/// What the table knows of what the runtime says.
pub(crate) fn seen(observed: &Observed) -> Seen {
    match observed {
        Observed::Starting => Seen::Starting,
        Observed::Running { pid, .. } => Seen::Running { pid: *pid },
        Observed::Exited(exit) => Seen::Ended(end(exit)),
    }
}

/// A status stands only where there was a process and somebody saw its end.
fn end(exit: &Exit) -> End {
    let unseen = exit.pid == 0 || exit.reason == Reason::NodeRebooted;
    End { status: (!unseen).then_some(exit.status), reason: exit.reason }
}
