//! What goes together, with a runtime that counts its calls.

use std::sync::atomic::{AtomicUsize, Ordering};

use paceline_runtime::{Capability, ChangeListener, LogChunk, LogStream, ObserveError};
use paceline_types::Resources;

use super::*;

#[derive(Default)]
struct Counting {
    /// Launches in each call.
    calls: Mutex<Vec<usize>>,
    /// These fail once.
    failing: Mutex<BTreeSet<AttemptId>>,
    looks: AtomicUsize,
    listener: Mutex<Option<ChangeListener>>,
}

impl Counting {
    fn tell(&self, task: u32) {
        self.listener.lock().unwrap().as_ref().expect("somebody listens")(attempt(task));
    }
}

impl Runtime for Counting {
    fn capabilities(&self) -> Vec<Capability> {
        Vec::new()
    }

    fn launch(&self, launch: &Launch) -> Result<(), LaunchError> {
        self.launch_all(std::slice::from_ref(launch)).pop().unwrap()
    }

    fn launch_all(&self, launches: &[Launch]) -> Vec<Result<(), LaunchError>> {
        self.calls.lock().unwrap().push(launches.len());
        let mut failing = self.failing.lock().unwrap();
        let answer = |attempt| match failing.remove(&attempt) {
            true => Err(LaunchError::NoUid { attempt, cause: "a test".to_owned() }),
            false => Ok(()),
        };
        launches.iter().map(|launch| launch.attempt).map(answer).collect()
    }

    fn stop(&self, _: &AttemptId, _: u64) -> Result<(), StopError> {
        Ok(())
    }

    fn renew_lease(&self, _: &AttemptId, _: Lease) -> Result<(), StopError> {
        Ok(())
    }

    fn boot_clock_ms(&self) -> u64 {
        0
    }

    fn observe(&self, _: &AttemptId) -> Result<Option<Observed>, ObserveError> {
        // ORDERING: only the number counts, nothing is published with it.
        self.looks.fetch_add(1, Ordering::Relaxed);
        Ok(Some(Observed::Starting))
    }

    fn attempts(&self) -> Result<Vec<(AttemptId, Observed)>, ObserveError> {
        Ok(Vec::new())
    }

    fn forget(&self, _: &AttemptId) -> Result<(), ObserveError> {
        Ok(())
    }

    fn read_log(
        &self,
        attempt: &AttemptId,
        _: LogStream,
        _: u64,
        _: usize,
    ) -> Result<LogChunk, ObserveError> {
        Err(ObserveError::Unknown { attempt: *attempt })
    }

    fn subscribe(&self, listener: ChangeListener) {
        *self.listener.lock().unwrap() = Some(listener);
    }
}

fn attempt(task: u32) -> AttemptId {
    format!("42-0.{task}.1").parse().unwrap()
}

fn work() -> (Arc<Counting>, Work) {
    let runtime = Arc::new(Counting::default());
    let work = Work::new(Arc::clone(&runtime) as Arc<dyn Runtime>, Workers::Inline);
    (runtime, work)
}

async fn launched(work: &mut Work) -> Vec<(AttemptId, bool)> {
    match work.next().await {
        Done::Launched(launched) => launched,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn launches_given_together_go_together_and_only_the_failed_are_tried_again() {
    let (runtime, mut work) = work();
    runtime.failing.lock().unwrap().insert(attempt(2));
    let spec = JobSpec::batch("together", 5, &["/bin/true"], Resources::new(10, 1 << 20));
    (0..5).for_each(|task| work.launch(attempt(task), &spec));
    let started: Vec<_> = [0, 1, 3, 4].map(|task| (attempt(task), true)).into();
    assert_eq!(launched(&mut work).await, started);
    assert_eq!(launched(&mut work).await, [(attempt(2), true)]);
    assert_eq!(*runtime.calls.lock().unwrap(), [5, 1]);
}

#[tokio::test]
async fn many_launches_go_in_batches_so_that_a_slow_one_holds_up_few() {
    let (runtime, mut work) = work();
    let spec = JobSpec::batch("many", 20, &["/bin/true"], Resources::new(10, 1 << 20));
    (0..20).for_each(|task| work.launch(attempt(task), &spec));
    let mut started = 0;
    while started < 20 {
        started += launched(&mut work).await.len();
    }
    assert_eq!(*runtime.calls.lock().unwrap(), [8, 8, 4]);
}

#[tokio::test]
async fn a_lone_end_is_looked_at_at_once_and_a_burst_behind_it_by_one_call() {
    let (runtime, mut work) = work();
    let began = Instant::now();
    runtime.tell(0);
    assert!(matches!(work.next().await, Done::Looked(found) if found.len() == 1));
    (1..=100).chain(1..=100).for_each(|task| runtime.tell(task));
    assert!(matches!(work.next().await, Done::Looked(found) if found.len() == 100));
    assert!(began.elapsed() >= LOOK_EVERY, "the first look was just now");
    assert_eq!(runtime.looks.load(Ordering::Relaxed), 101);
}
