//! The writer and the readers together: on a history in memory, with a cell that really retires its jobs.

use paceline_cell::{Command, CommandBody, ConfigChange, Entry, JobSelector, Reply, Setting};
use paceline_replica::{HistoryAge, MemoryHistory, ReadLimit};
use paceline_rules::JobSpec;
use paceline_types::Resources;
use parking_lot::Mutex;

use super::*;

/// A cell and its history.
struct World {
    cell: Cell,
    store: MemoryHistory,
    retiring: Retiring,
    history: JobHistory,
    fatal: Arc<Mutex<Vec<String>>>,
}

fn open(cell: Cell, store: &MemoryHistory, execution: Execution) -> World {
    let fatal = Arc::new(Mutex::new(Vec::new()));
    let reasons = fatal.clone();
    let handler = FatalHandler::replaced_by(move |reason| reasons.lock().push(reason.to_owned()));
    let (retiring, history) = start(Arc::new(store.clone()), execution, handler).expect("it is in memory");
    World { cell, store: store.clone(), retiring, history, fatal }
}

fn world(execution: Execution) -> World {
    open(Cell::genesis("test"), &MemoryHistory::new(), execution)
}

impl World {
    fn apply(&mut self, bodies: Vec<CommandBody>) -> Reply {
        let entry = Entry { unix_ms: 0, commands: bodies.into_iter().map(Command::from).collect() };
        let revision = Revision(self.cell.revision().0 + 1);
        let applied = self.cell.apply(revision, &entry);
        if !applied.retired.is_empty() {
            self.retiring.retire(&self.cell, applied.retired);
        }
        applied.replies.into_iter().next().expect("one reply per command")
    }

    /// Submits and ends a job.
    fn ended(&mut self, name: &str, tasks: u32) -> JobUid {
        let spec = JobSpec::batch(name, tasks, &["/bin/true"], Resources::new(10, 1 << 20));
        let submit = CommandBody::SubmitJob { spec: Arc::new(spec), submitted_unix_ms: 0 };
        let reply =
            self.apply(vec![submit, CommandBody::StopJob { job: JobSelector::Name(name.to_owned()) }]);
        let Reply::JobSubmitted { uid, .. } = reply else { panic!("{reply:?}") };
        uid
    }

    fn retire(&mut self, jobs: &[JobUid]) {
        let reply = self.apply(vec![CommandBody::Retire { jobs: jobs.to_vec() }]);
        assert_eq!(reply, Reply::Retired { jobs: u32::try_from(jobs.len()).expect("few") });
    }

    fn set(&mut self, setting: Setting, value: u64) {
        let settings = [(setting, value)].into();
        self.apply(vec![CommandBody::SetConfig(ConfigChange { settings, failure_domains: None })]);
    }

    fn settle(&self) -> bool {
        self.retiring.settling(self.cell.revision()).settle()
    }

    fn stored(&self) -> Vec<JobUid> {
        let all = ReadLimit { rows: usize::MAX, bytes: usize::MAX };
        let rows = self.store.rows_after(&HistoryAge::default(), u64::MAX, all).expect("it is in memory");
        rows.iter().map(|row| uid_of(&row.key).expect("a key")).collect()
    }

    async fn find(&self, selector: JobSelector, view: Revision) -> Option<JobUid> {
        self.history.find(&selector, view).await.expect("reads").map(|found| found.job().uid)
    }

    async fn named(&self, name: &str) -> Option<JobUid> {
        self.find(JobSelector::Name(name.to_owned()), self.cell.revision()).await
    }
}

#[tokio::test]
async fn a_retired_job_is_found_before_and_after_it_is_durable() {
    let mut world = world(Execution::Threads);
    let job = world.ended("a", 3);
    world.retire(&[job]);
    let now = world.cell.revision();
    assert_eq!(world.named("a").await, Some(job));
    assert!(world.settle());
    assert_eq!(world.stored(), [job]);
    assert!(world.history.queue.tail(|tail| tail.is_empty()));
    assert_eq!(world.named("a").await, Some(job));
    assert_eq!(world.find(JobSelector::Uid(job), now).await, Some(job));
    assert_eq!(world.named("b").await, None);
    assert_eq!(world.find(JobSelector::Uid(job), Revision(now.0 - 1)).await, None, "above the view");
}

#[tokio::test]
async fn a_name_means_its_newest_job_that_the_view_may_see() {
    let mut world = world(Execution::Tasks);
    let first = world.ended("a", 1);
    world.retire(&[first]);
    let between = world.cell.revision();
    let second = world.ended("a", 2);
    world.retire(&[second]);
    assert_eq!(world.named("a").await, Some(second));
    assert_eq!(world.find(JobSelector::Name("a".to_owned()), between).await, Some(first));
}

#[test]
fn replay_after_a_kill_between_apply_and_sync_loses_nothing_and_brings_nothing_back() {
    let mut before = world(Execution::Tasks);
    before.set(Setting::HistoryJobs, 2);
    let jobs: Vec<JobUid> = (0..3).map(|at| before.ended(&format!("j{at}"), 1)).collect();
    let begin = before.cell.clone();
    for job in &jobs {
        before.retire(&[*job]);
    }
    assert_eq!(before.stored(), jobs[1..]);
    // The kill: one more is applied, and its put never happens.
    let late = before.ended("late", 1);
    before.store.fail_puts();
    before.retire(&[late]);
    assert!(!before.settle(), "a snapshot of this state must not become current");
    assert_eq!(before.fatal.lock().len(), 1);

    // What the disk holds, and the log from the beginning.
    let survivor = MemoryHistory::new();
    let all = ReadLimit { rows: usize::MAX, bytes: usize::MAX };
    let rows = before.store.rows_after(&HistoryAge::default(), u64::MAX, all).expect("it is in memory");
    survivor
        .put(&rows, before.store.watermark().expect("it is in memory"), &Keep::ALL)
        .expect("it is in memory");
    let mut after = open(begin, &survivor, Execution::Tasks);
    for job in &jobs {
        after.retire(&[*job]);
        assert!(after.history.queue.tail(|tail| tail.is_empty()));
        assert_eq!(after.stored(), jobs[1..], "what was trimmed stays away");
    }
    let again = after.ended("late", 1);
    assert_eq!(again, late);
    after.retire(&[late]);
    assert!(after.settle());
    assert_eq!(after.stored(), [jobs[2], late]);
}

#[test]
fn history_is_trimmed_by_number_and_by_cell_clock_when_something_retires() {
    let mut world = world(Execution::Tasks);
    world.set(Setting::HistoryAgeMs, 8_000);
    let tick = |world: &mut World, times: u64| {
        for _ in 0..times {
            let from_ms = world.cell.clock_ms();
            world.apply(vec![CommandBody::Tick { from_ms, step_ms: 5_000 }]);
        }
    };
    let jobs: Vec<JobUid> = (0..5).map(|at| world.ended(&format!("j{at}"), 1)).collect();
    world.retire(&jobs[..1]);
    tick(&mut world, 1);
    world.retire(&jobs[1..2]);
    tick(&mut world, 1);
    assert_eq!(world.stored(), jobs[..2], "nothing retires, nothing goes");
    world.retire(&jobs[2..3]);
    assert_eq!(world.stored(), jobs[1..3]);
    world.set(Setting::HistoryJobs, 1);
    assert_eq!(world.stored(), jobs[1..3]);
    world.retire(&jobs[3..4]);
    assert_eq!(world.stored(), jobs[3..4]);
    world.set(Setting::HistoryJobs, 0);
    world.retire(&jobs[4..]);
    assert!(world.stored().is_empty());
}

#[test]
fn one_put_takes_whole_entries_of_one_policy() {
    let mut world = world(Execution::Tasks);
    let jobs: Vec<JobUid> = (0..4).map(|at| world.ended(&format!("j{at}"), 1)).collect();
    let retirement = |world: &mut World, jobs: &[JobUid]| {
        let entry = Entry { unix_ms: 0, commands: vec![CommandBody::Retire { jobs: jobs.to_vec() }.into()] };
        let applied = world.cell.apply(Revision(world.cell.revision().0 + 1), &entry);
        Retirement::of(&world.cell, applied.retired)
    };
    let mut waiting = vec![retirement(&mut world, &jobs[..2]), retirement(&mut world, &jobs[2..3])];
    world.set(Setting::HistoryJobs, 7);
    waiting.push(retirement(&mut world, &jobs[3..]));
    let (taken, rows) = queue::put_of(&waiting).expect("something waits");
    assert_eq!((taken, rows.len()), (2, 3));
    let (taken, rows) = queue::put_of(&waiting[2..]).expect("something waits");
    assert_eq!((taken, rows.len()), (1, 1));
    assert!(queue::put_of(&[]).is_none());
}

#[tokio::test]
async fn a_scan_goes_down_through_tail_and_store_without_a_gap() {
    let mut world = world(Execution::Threads);
    let mut jobs = Vec::new();
    for at in 0..600 {
        let name = if at % 2 == 0 { format!("even-{at}") } else { format!("odd-{at}") };
        jobs.push(world.ended(&name, 1));
    }
    world.retire(&jobs[..300]);
    let early = world.cell.revision();
    world.retire(&jobs[300..]);
    let scan = |view, before, name_prefix: &str| Scan { view, before, name_prefix: name_prefix.to_owned() };
    let uids = |page: &RetiredPage| page.jobs.iter().map(|job| job.job().uid).collect::<Vec<_>>();
    let down: Vec<JobUid> = jobs.iter().rev().copied().collect();
    // Whether part of it is in the tail still or not.
    for _ in 0..2 {
        let page = world.history.scan(scan(world.cell.revision(), None, "")).await.expect("reads");
        assert_eq!((uids(&page), page.down_to), (down.clone(), None));
        let page = world.history.scan(scan(early, None, "")).await.expect("reads");
        assert_eq!(uids(&page), down[300..]);
        let page = world.history.scan(scan(early, Some(jobs[7]), "even-")).await.expect("reads");
        assert_eq!(uids(&page), [jobs[6], jobs[4], jobs[2], jobs[0]]);
        assert!(world.settle());
    }
}
