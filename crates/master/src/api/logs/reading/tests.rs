//! A reader between a cell and a shard that answers as a node would.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use paceline_api::{detail_of, v1};
use paceline_cell::{Cell, Command, CommandBody, Entry, Reply, ReportedRun, ReportedState, RetiredJob};
use paceline_rules::JobSpec;
use paceline_schedule::{PassLimits, Scheduler};
use paceline_types::{
    AgentInstance, Attempt, BootId, ExitStatus, JobUid, NodeName, Reason, Resources, TaskIndex,
};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::api::logs::place::find_retired;
use crate::api::logs::{QUESTIONS_MAX, Readers};

/// Longer than anything here takes on a busy machine.
const LONG: Duration = Duration::from_secs(30);

/// A published cell with one node.
struct World {
    cell: Cell,
    published: Arc<Published>,
    scheduler: Scheduler,
    relay: LogRelay,
    readers: Readers,
}

impl World {
    fn new() -> Self {
        let cell = Cell::genesis("test");
        let published = Arc::new(Published::new(cell.clone()));
        let (scheduler, relay, readers) = (Scheduler::new(), LogRelay::new(), Readers::default());
        let mut world = Self { cell, published, scheduler, relay, readers };
        world.apply(CommandBody::RegisterNode {
            name: node(),
            instance: AgentInstance([1; 16]),
            boot: BootId([1; 16]),
            capacity: Resources::new(1_000, 1 << 30),
            labels: Default::default(),
            capabilities: Vec::new(),
        });
        world
    }

    fn apply(&mut self, body: CommandBody) -> Reply {
        let revision = self.cell.revision().next();
        let entry = Entry { unix_ms: 0, commands: vec![Command::from(body)] };
        let mut applied = self.cell.apply(revision, &entry);
        let changes = vec![(revision, Arc::new(applied.events))];
        self.published.publish(self.cell.clone(), changes, 0);
        applied.replies.remove(0)
    }

    fn submit(&mut self, tasks: u32, max_attempts: u32) -> JobUid {
        let spec =
            JobSpec { max_attempts, ..JobSpec::batch("j", tasks, &["/bin/x"], Resources::new(600, 1)) };
        match self.apply(CommandBody::SubmitJob { spec: Arc::new(spec), submitted_unix_ms: 0 }) {
            Reply::JobSubmitted { uid, .. } => uid,
            other => panic!("{other:?}"),
        }
    }

    /// Assigns what there is room for.
    fn place(&mut self) {
        let proposals = self.scheduler.pass(&self.cell, &PassLimits::default(), |_| true);
        assert!(!proposals.is_empty());
        for proposal in proposals {
            self.apply(proposal.command);
            self.scheduler.committed(proposal.id, self.cell.revision());
        }
    }

    fn report(&mut self, job: JobUid, attempt: u32, observed: ReportedState) {
        let (id, epoch) =
            self.cell.node_by_name(&node()).map(|node| (node.id, node.epoch)).expect("the node");
        let run =
            ReportedRun { job, attempt: Attempt(attempt), tasks: "0".parse().expect("valid"), observed };
        self.apply(CommandBody::Report { node: id, epoch, runs: vec![run] });
    }

    /// Moves a job to the history.
    fn retire(&mut self, job: JobUid) -> RetiredJob {
        let revision = self.cell.revision().next();
        let entry =
            Entry { unix_ms: 0, commands: vec![Command::from(CommandBody::Retire { jobs: vec![job] })] };
        let mut applied = self.cell.apply(revision, &entry);
        self.published.publish(self.cell.clone(), vec![(revision, Arc::new(applied.events))], 0);
        applied.retired.remove(0)
    }

    fn fails(&mut self, job: JobUid, attempt: u32) {
        let status = Some(ExitStatus::Code(1));
        self.report(job, attempt, ReportedState::Ended { status, reason: Reason::ExitedNonZero });
    }

    fn read(&self, job: JobUid, change: impl FnOnce(&mut Reading)) -> Reader {
        let (out, pieces) = mpsc::channel(PIECES_MAX);
        let wanted = Wanted { job, task: TaskIndex(0), attempt: Attempt(0) };
        let wants = Wants { wanted, settled: None, stderr: false, offset: 0, max_bytes: None, follow: false };
        let seat = self.readers.admit("user/u").expect("room");
        let mut reading = Reading::new(self.relay.clone(), self.published.clone(), seat, wants, out);
        reading.patience = Duration::from_millis(1);
        change(&mut reading);
        Reader { pieces, task: tokio::spawn(reading.run()) }
    }
}

fn node() -> NodeName {
    "n".parse().expect("a name")
}

/// The caller's end.
struct Reader {
    pieces: mpsc::Receiver<Result<LogsReply, Status>>,
    task: JoinHandle<()>,
}

impl Reader {
    async fn next(&mut self) -> Option<Result<LogsReply, Status>> {
        timeout(LONG, self.pieces.recv()).await.expect("in time")
    }

    /// All bytes to the end, each at its position, and whether the attempt had ended.
    async fn rest(&mut self, mut at: u64) -> (Vec<u8>, bool) {
        let (mut bytes, mut end) = (Vec::new(), false);
        while let Some(piece) = self.next().await {
            let piece = piece.expect("a piece");
            assert_eq!(piece.offset, at, "each byte once");
            at += piece.data.len() as u64;
            bytes.extend_from_slice(&piece.data);
            end = piece.end;
        }
        (bytes, end)
    }

    async fn refused(&mut self) -> (ErrorCode, String) {
        let status = self.next().await.expect("an answer").expect_err("a refusal");
        let detail = detail_of(&status).expect("typed");
        (detail.code(), detail.message)
    }
}

/// What a node has of one attempt.
#[derive(Clone, Default)]
struct Output(Arc<Mutex<(Vec<u8>, bool)>>, Arc<AtomicUsize>);

impl Output {
    fn write(&self, bytes: &[u8]) {
        self.0.lock().expect("whole").0.extend_from_slice(bytes);
    }

    fn end(&self) {
        self.0.lock().expect("whole").1 = true;
    }

    fn asked(&self) -> usize {
        self.1.load(Ordering::SeqCst)
    }

    /// A shard that has the node and answers from this.
    fn shard(&self, relay: &LogRelay, name: &str) -> JoinHandle<()> {
        let (questions, mut asked) = mpsc::channel(QUESTIONS_MAX);
        let (relay, output, name) = (relay.clone(), self.clone(), name.to_owned());
        let shard: ShardName = name.parse().expect("a name");
        let number = relay.open_for_tests(&shard, questions);
        tokio::spawn(async move {
            let _open = Ended { relay: relay.clone(), shard, number };
            while let Some(Ok(question)) = asked.recv().await {
                output.1.fetch_add(1, Ordering::SeqCst);
                relay.answer_for_tests(number, output.piece(&question));
            }
        })
    }

    fn piece(&self, question: &v1::LogRequest) -> LogPiece {
        let written = self.0.lock().expect("whole");
        let from = usize::try_from(question.offset).expect("small").min(written.0.len());
        let most = usize::try_from(question.max_bytes).expect("small");
        let data = &written.0[from..written.0.len().min(from + most)];
        LogPiece {
            ticket: question.ticket,
            offset: question.offset,
            data: data.to_vec().into(),
            end: written.1 && data.len() < most,
            ..LogPiece::default()
        }
    }
}

/// Ends a shard's stream as a killed shard would.
struct Ended {
    relay: LogRelay,
    shard: ShardName,
    number: u64,
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.relay.end_for_tests(&self.shard, self.number);
    }
}

/// A shard that answers every question with one failure.
fn failing(relay: &LogRelay, name: &str, failure: v1::LogFailure) {
    let (questions, mut asked) = mpsc::channel(QUESTIONS_MAX);
    let number = relay.open_for_tests(&name.parse().expect("a name"), questions);
    let relay = relay.clone();
    tokio::spawn(async move {
        while let Some(Ok(question)) = asked.recv().await {
            let (ticket, error) = (question.ticket, "no".to_owned());
            let piece = LogPiece { ticket, error, failure: failure.into(), ..LogPiece::default() };
            relay.answer_for_tests(number, piece);
        }
    });
}

fn text(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| u8::try_from(at % 251).expect("a byte")).collect()
}

#[tokio::test]
async fn all_that_is_there_is_read_in_pieces_and_in_order() {
    let mut world = World::new();
    let job = world.submit(1, 1);
    world.place();
    let output = Output::default();
    output.write(&text(600_000));
    failing(&world.relay, "a", v1::LogFailure::NodeNotHere);
    let _shard = output.shard(&world.relay, "b");
    assert_eq!(world.read(job, |_| ()).rest(0).await, (text(600_000), false));
    assert_eq!(output.asked(), 3, "the shard that answered is asked again, with no piece too many");
    let mut bounded = world.read(job, |reading| (reading.offset, reading.left) = (10, Some(5)));
    assert_eq!(bounded.rest(10).await, (text(15)[10..].to_vec(), false));
    output.end();
    let (bytes, end) = world.read(job, |reading| reading.follow = true).rest(0).await;
    assert_eq!((bytes.len(), end), (600_000, true));
}

#[tokio::test]
async fn whoever_does_not_read_is_not_read_for() {
    let mut world = World::new();
    let job = world.submit(1, 1);
    world.place();
    let output = Output::default();
    output.write(&text(4 << 20));
    let _shard = output.shard(&world.relay, "a");
    let mut reader = world.read(job, |_| ());
    let first = reader.next().await.expect("a piece").expect("a piece");
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    // One taken, one that waits, one in hand.
    assert!(output.asked() <= 3, "{} pieces were asked for", output.asked());
    let (rest, _) = reader.rest(first.data.len() as u64).await;
    assert_eq!(rest.len() + first.data.len(), 4 << 20);
}

#[tokio::test]
async fn a_reader_that_goes_away_leaves_neither_ticket_nor_seat() {
    let mut world = World::new();
    let job = world.submit(1, 1);
    world.place();
    // A shard that takes the question and never answers.
    let (questions, mut asked) = mpsc::channel(QUESTIONS_MAX);
    world.relay.open_for_tests(&"a".parse().expect("a name"), questions);
    let reader = world.read(job, |reading| reading.follow = true);
    asked.recv().await.expect("a question").expect("no end");
    assert_eq!((world.relay.open_tickets(), world.readers.seats()), (1, 1));
    drop(reader.pieces);
    timeout(LONG, reader.task).await.expect("it ends").expect("no panic");
    assert_eq!((world.relay.open_tickets(), world.readers.seats()), (0, 0));
}

#[tokio::test]
async fn a_shard_that_dies_is_survived_at_the_byte_where_it_was() {
    let mut world = World::new();
    let job = world.submit(1, 1);
    world.place();
    let output = Output::default();
    output.write(b"one ");
    let first = output.shard(&world.relay, "a");
    let mut reader = world.read(job, |reading| (reading.follow, reading.patience) = (true, LONG));
    assert_eq!(reader.next().await.expect("a piece").expect("a piece").data, "one ");
    first.abort();
    output.write(b"two");
    output.end();
    let _second = output.shard(&world.relay, "b");
    assert_eq!(reader.rest(4).await, (b"two".to_vec(), true));
}

#[tokio::test]
async fn a_task_without_an_attempt_is_refused_with_the_way_out_or_waited_for() {
    let mut world = World::new();
    let job = world.submit(1, 1);
    let (code, message) = world.read(job, |_| ()).refused().await;
    assert_eq!(code, ErrorCode::Conflict);
    assert!(message.contains("task 0 of job `j` is pending and has had no attempt"), "{message}");
    assert!(message.contains("-f") && message.contains("paceline job get j"), "{message}");
    let output = Output::default();
    output.write(b"at last");
    output.end();
    let _shard = output.shard(&world.relay, "a");
    let mut reader = world.read(job, |reading| reading.follow = true);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    world.place();
    assert_eq!(reader.rest(0).await, (b"at last".to_vec(), true));
    let (code, message) = world.read(job, |reading| reading.wanted.task = TaskIndex(7)).refused().await;
    assert_eq!(code, ErrorCode::NotFound);
    assert!(message.contains("no task 7") && message.contains("from 0 to 0"), "{message}");
}

#[tokio::test]
async fn an_earlier_attempt_is_found_while_its_assignment_is_remembered() {
    let mut world = World::new();
    let job = world.submit(1, 3);
    world.place();
    world.fails(job, 1);
    let output = Output::default();
    output.write(b"the first try");
    output.end();
    let _shard = output.shard(&world.relay, "a");
    let wanted = |attempt| move |reading: &mut Reading| reading.wanted.attempt = Attempt(attempt);
    // It waits for its second attempt; 0 is the last one, which is the first.
    for attempt in [0, 1] {
        assert_eq!(world.read(job, wanted(attempt)).rest(0).await.0, b"the first try");
    }
    world.place();
    assert_eq!(world.read(job, wanted(1)).rest(0).await.0, b"the first try");
    let (code, message) = world.read(job, wanted(3)).refused().await;
    assert_eq!(code, ErrorCode::Conflict);
    assert!(message.contains("has had 2 attempts") && message.contains("attempt 3 is to come"), "{message}");
    world.published.restore(world.cell.clone());
    let (code, message) = world.read(job, wanted(1)).refused().await;
    assert_eq!(code, ErrorCode::NotFound);
    assert!(message.contains("on which node attempt 1 of task 0"), "{message}");
}

#[tokio::test]
async fn output_of_a_retired_job_is_read_where_its_record_says() {
    let mut world = World::new();
    let job = world.submit(1, 1);
    world.place();
    world.fails(job, 1);
    let output = Output::default();
    output.write(b"the last words");
    output.end();
    let _shard = output.shard(&world.relay, "a");
    let retired = world.retire(job);
    let wanted = |attempt| Wanted { job, task: TaskIndex(0), attempt: Attempt(attempt) };
    let find =
        |world: &World, attempt| find_retired(&world.cell, &world.published, &retired, wanted(attempt));
    for attempt in [0, 1] {
        let place = find(&world, attempt).expect("the record has it");
        let read = |reading: &mut Reading| reading.settled = Some(place.clone());
        assert_eq!(world.read(job, read).rest(0).await, (b"the last words".to_vec(), true));
    }
    // Without the record there is nothing to go by.
    assert_eq!(world.read(job, |_| ()).refused().await.0, ErrorCode::NotFound);
    let message = find(&world, 2).expect_err("there was one").message().to_owned();
    assert!(message.contains("was failed and had one attempt"), "{message}");
    world.apply(CommandBody::DrainNode { node: node() });
    world.apply(CommandBody::RemoveNode { node: node() });
    let message = find(&world, 0).expect_err("its node is gone").message().to_owned();
    assert!(message.contains("ran on node n, which has left the cell"), "{message}");
}

#[tokio::test]
async fn a_node_that_has_no_output_is_told_from_one_that_has_not_begun() {
    let mut world = World::new();
    let job = world.submit(1, 1);
    world.place();
    failing(&world.relay, "a", v1::LogFailure::NoOutput);
    let (code, message) = world.read(job, |_| ()).refused().await;
    assert_eq!(code, ErrorCode::Conflict);
    assert!(message.contains("is not there yet") && message.contains("-f"), "{message}");
    world.fails(job, 1);
    let (code, message) = world.read(job, |reading| reading.follow = true).refused().await;
    assert_eq!(code, ErrorCode::NotFound);
    assert!(message.contains("is gone or there never was any: node n"), "{message}");
}

#[tokio::test]
async fn a_node_that_cannot_be_asked_is_an_error_and_not_a_hang() {
    let mut world = World::new();
    let job = world.submit(1, 1);
    world.place();
    for shard in [None, Some(v1::LogFailure::NodeNotHere)] {
        if let Some(failure) = shard {
            failing(&world.relay, "a", failure);
        }
        let (code, message) = world.read(job, |_| ()).refused().await;
        assert_eq!(code, ErrorCode::Conflict);
        assert!(message.contains("node n spoke through no shard"), "{message}");
        assert!(message.contains("paceline node list"), "{message}");
    }
    failing(&world.relay, "a", v1::LogFailure::Busy);
    let (_, message) = world.read(job, |_| ()).refused().await;
    assert!(message.contains("no for 0 s"), "{message}");
    world.relay.close();
    let (code, _) = world.read(job, |_| ()).refused().await;
    assert_eq!(code, ErrorCode::Unavailable, "another master is asked");
}
