//! Calls to the runtime, off the owner's task and in batches: what waits goes together, because each call wakes a
//! thread and is waited for by the owner.
//!
//! Every queue is bounded by the table: an attempt stands in each at most once. News from the runtime are
//! collected as a set, so a burst of them costs one look per attempt.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use paceline_rules::JobSpec;
use paceline_runtime::{Exit, Launch, LaunchError, Lease, Observed, Runtime, StopError};
use paceline_types::{AttemptId, Reason};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::config::Workers;
use crate::link::explain;
use crate::table::{End, Seen};
use crate::trouble::Trouble;

/// Attempts looked at, stopped or forgotten by one call of a worker: a few milliseconds of file system.
const BATCH: usize = 256;
/// Batches of launches at once: one is prepared while the other waits for its supervisors. Of other calls there is one
/// batch of a kind.
const LAUNCH_BATCHES: usize = 2;
/// Launches in a batch: all of them are answered together, so that one that is slow holds the places of the others, and
/// with this no more of those than a machine of two cores has. Waking a thread costs little for each of eight.
const LAUNCH_BATCH: usize = 8;
/// News are looked at so long after each other at least: the end of a lone task at once, of a hundred a second a few
/// together. Below what a report waits for others.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How often a launch is tried that failed because the node was in trouble.
const LAUNCH_TRIES: u32 = 3;

/// What came of the work.
#[derive(Debug)]
pub(crate) enum Done {
    /// Each with whether it was started.
    Launched(Vec<(AttemptId, bool)>),
    /// Each with whether the runtime passed it on.
    Stopped(Vec<(AttemptId, bool)>),
    /// What is known now; nothing where the runtime has lost an attempt that it had started.
    Looked(Vec<(AttemptId, Option<Seen>)>),
    /// Those that could not be.
    Forgotten(Vec<AttemptId>),
    /// Whoever could not be told of a lease is told of the next one, or ends.
    Renewed,
}

/// What a call came to.
enum Finished {
    Done(Done),
    /// The first try of a batch of launches.
    Tried {
        launched: Vec<(AttemptId, bool)>,
        failed: Vec<Launch>,
    },
}

/// Attempts of which the runtime said that something changed.
#[derive(Default)]
struct News {
    attempts: Mutex<BTreeSet<AttemptId>>,
    came: Notify,
}

impl News {
    /// Wakes the owner for the first only: it takes all of them when it looks.
    fn tell(&self, attempt: AttemptId) {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = attempts.is_empty();
        attempts.insert(attempt);
        drop(attempts);
        if is_first {
            self.came.notify_one();
        }
    }

    fn take(&self) -> BTreeSet<AttemptId> {
        std::mem::take(&mut *self.attempts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

pub(crate) struct Work {
    runtime: Arc<dyn Runtime>,
    workers: Workers,
    running: JoinSet<Finished>,
    news: Arc<News>,
    /// When news that came are looked at.
    look_at: Option<Instant>,
    /// No look at news before this.
    look_not_before: Instant,
    trouble: Arc<Mutex<Trouble<Instant>>>,
    /// To start.
    launches: VecDeque<Launch>,
    launching: usize,
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
            look_at: None,
            look_not_before: Instant::now(),
            trouble: Arc::default(),
            launches: VecDeque::new(),
            launching: 0,
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
            // Launches that were given one after the other go together.
            self.start();
            let look = async {
                match self.look_at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                Some(finished) = self.running.join_next() => {
                    // A runtime that panics leaves an attempt in a state that nobody knows.
                    return self.settle(finished.expect("calls to the runtime do not panic"));
                }
                () = look => self.look_at_news(),
                () = self.news.came.notified() => {
                    self.look_at.get_or_insert(self.look_not_before.max(Instant::now()));
                }
            }
        }
    }

    fn look_at_news(&mut self) {
        self.look_at = None;
        self.look_not_before = Instant::now() + LOOK_EVERY;
        let news = self.news.take();
        self.look(news.into_iter(), false);
    }

    fn settle(&mut self, finished: Finished) -> Done {
        let done = match finished {
            Finished::Done(done) => done,
            Finished::Tried { launched, failed } => {
                self.launching -= 1;
                failed.into_iter().for_each(|launch| self.retry(launch));
                Done::Launched(launched)
            }
        };
        match &done {
            Done::Launched(_) => {}
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

    /// Starts it, with the others that are given before what is done next is asked for.
    pub(crate) fn launch(&mut self, attempt: AttemptId, spec: &JobSpec) {
        self.launches.push_back(launch_of(attempt, spec));
    }

    /// The first try of a batch.
    fn launch_batch(&mut self) {
        let batch: Vec<_> = self.launches.drain(..self.launches.len().min(LAUNCH_BATCH)).collect();
        let (runtime, workers) = (Arc::clone(&self.runtime), self.workers);
        let trouble = Arc::clone(&self.trouble);
        let hold = locked(&trouble).hold(Instant::now());
        let call = move || try_first(&*runtime, &trouble, batch);
        self.launching += 1;
        match hold {
            None => self.call(call),
            Some(hold) => {
                self.running.spawn(async move {
                    sleep(hold).await;
                    on_worker(workers, call).await
                });
            }
        }
    }

    /// Further tries, each for itself: the node is in trouble.
    fn retry(&mut self, launch: Launch) {
        let (runtime, workers) = (Arc::clone(&self.runtime), self.workers);
        let trouble = Arc::clone(&self.trouble);
        let (attempt, launch) = (launch.attempt, Arc::new(launch));
        self.running.spawn(async move {
            for tried in 2..=LAUNCH_TRIES {
                held(&trouble).await;
                let (runtime, launch) = (Arc::clone(&runtime), Arc::clone(&launch));
                match on_worker(workers, move || runtime.launch(&launch)).await {
                    Ok(()) => return Finished::Done(Done::Launched(vec![(attempt, true)])),
                    Err(error) => note_failure(&trouble, &error, tried),
                }
            }
            Finished::Done(Done::Launched(vec![(attempt, false)]))
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
        while self.launching < LAUNCH_BATCHES && !self.launches.is_empty() {
            self.launch_batch();
        }
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
        self.call(move || Finished::Done(work(&*runtime)));
    }

    /// Straight to a thread and back, without a task in between that would have to be woken twice.
    fn call(&mut self, call: impl FnOnce() -> Finished + Send + 'static) {
        match self.workers {
            Workers::Inline => self.running.spawn(async move { call() }),
            Workers::Threads => self.running.spawn_blocking(call),
        };
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

fn try_first(runtime: &dyn Runtime, trouble: &Mutex<Trouble<Instant>>, batch: Vec<Launch>) -> Finished {
    let answers = runtime.launch_all(&batch);
    let (mut launched, mut failed) = (Vec::new(), Vec::new());
    for (launch, answer) in batch.into_iter().zip(answers) {
        match answer {
            Ok(()) => launched.push((launch.attempt, true)),
            Err(error) => {
                note_failure(trouble, &error, 1);
                failed.push(launch);
            }
        }
    }
    Finished::Tried { launched, failed }
}

/// Waits as long as the node had better not be asked to start anything.
async fn held(trouble: &Mutex<Trouble<Instant>>) {
    let hold = locked(trouble).hold(Instant::now());
    if let Some(hold) = hold {
        sleep(hold).await;
    }
}

fn note_failure(trouble: &Mutex<Trouble<Instant>>, error: &LaunchError, tried: u32) {
    locked(trouble).failed(Instant::now());
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

#[cfg(test)]
mod tests;
