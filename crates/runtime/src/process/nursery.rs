//! The agent's end of its nursery, the process that supervisors are forked from: orders go in, answers come out.
//!
//! A nursery that ends or stays silent is replaced with the next order. What became of the orders that it had is
//! then not known here: whoever asks is told so, and finds out by taking the attempt itself.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use paceline_supervisor::nursery::{Answer, NURSERY};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How long an order may wait for room in the pipe and then for its answer, from the asking on: orders that were given
/// together have waited together. A supervisor takes its attempt within
/// milliseconds; a machine so busy that this is not enough had better not be given more.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Between the closing of its pipes and the end of a process there is nothing left to do.
const END_WITHIN: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// One answer comes for each order.
const ANSWERS: usize = 1;

/// What an order came to.
#[derive(Debug)]
pub enum NurseryError {
    /// Nobody took the attempt.
    Failed(String),
    /// Nobody knows, or none could be asked.
    Unknown(io::Error),
}

/// Those who wait, by attempt; nothing once no answer will come any more.
type Waiting = Mutex<Option<BTreeMap<String, SyncSender<Answer>>>>;

/// The nursery of an agent; it is started with the first order.
#[derive(Debug)]
pub struct Nursery {
    program: PathBuf,
    answer_within: Duration,
    running: Mutex<Option<Running>>,
}

impl Nursery {
    /// None yet.
    pub fn new(program: PathBuf) -> Self {
        Self { program, answer_within: ANSWER_WITHIN, running: Mutex::default() }
    }

    /// The supervisor's program.
    pub fn program(&self) -> &PathBuf {
        &self.program
    }

    /// Orders a supervisor.
    pub fn ask(&self, attempt: &str, frame: &[u8]) -> Result<Asked, NurseryError> {
        let mut running = lock(&self.running);
        let until = Instant::now() + self.answer_within;
        let sent = self.send(&mut running, attempt, frame, until);
        let (answer, process) = sent.map_err(NurseryError::Unknown)?;
        Ok(Asked { answer, process, within: self.answer_within, until })
    }

    fn send(
        &self,
        running: &mut Option<Running>,
        attempt: &str,
        frame: &[u8],
        until: Instant,
    ) -> io::Result<(Receiver<Answer>, Process)> {
        let had_one = running.as_ref().is_some_and(Running::answers);
        match self.send_to(running, attempt, frame, until) {
            // It had ended meanwhile and so has not read this order; another one will.
            Err(error) if had_one && error.kind() == ErrorKind::BrokenPipe => {
                self.send_to(running, attempt, frame, until)
            }
            other => other,
        }
    }

    fn send_to(
        &self,
        running: &mut Option<Running>,
        attempt: &str,
        frame: &[u8],
        until: Instant,
    ) -> io::Result<(Receiver<Answer>, Process)> {
        let mut nursery = match running.take().filter(Running::answers) {
            Some(nursery) => nursery,
            None => Running::start(&self.program)?,
        };
        let answer = nursery.wait_for(attempt);
        // Half an order may be in the pipe of one that failed: it goes.
        nursery.write(frame, until).map_err(|error| match error.kind() {
            ErrorKind::BrokenPipe => io::Error::new(error.kind(), nursery.process.ended()),
            _ => error,
        })?;
        let process = nursery.process.clone();
        *running = Some(nursery);
        Ok((answer, process))
    }
}

/// An order that has no answer yet.
#[derive(Debug)]
pub struct Asked {
    answer: Receiver<Answer>,
    process: Process,
    within: Duration,
    until: Instant,
}

impl Asked {
    /// Waits until the supervisor has taken its attempt. An answer that came in time is there, however late it is looked
    /// for.
    pub fn answer(self) -> Result<Answer, NurseryError> {
        match self.answer.recv_timeout(self.until.saturating_duration_since(Instant::now())) {
            Ok(Answer::Failed(message)) => Err(NurseryError::Failed(message)),
            Ok(answer) => Ok(answer),
            Err(RecvTimeoutError::Timeout) => {
                self.process.kill();
                let silent = format!("its nursery did not answer within {:?}", self.within);
                Err(NurseryError::Unknown(io::Error::new(ErrorKind::TimedOut, silent)))
            }
            Err(RecvTimeoutError::Disconnected) => Err(NurseryError::Unknown(self.process.ended())),
        }
    }
}

/// One nursery process.
#[derive(Debug)]
struct Running {
    orders: ChildStdin,
    process: Process,
    waiting: Arc<Waiting>,
}

impl Running {
    /// It inherits nothing from us.
    fn start(program: &PathBuf) -> io::Result<Self> {
        let mut command = Command::new(program);
        command.arg(NURSERY).env_clear().current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        let orders = child.stdin.take().expect("it was asked for");
        let answers = child.stdout.take().expect("it was asked for");
        let running = Self {
            orders,
            process: Process::new(child),
            waiting: Arc::new(Mutex::new(Some(BTreeMap::new()))),
        };
        rustix::io::ioctl_fionbio(&running.orders, true)?;
        let (waiting, process) = (Arc::clone(&running.waiting), running.process.clone());
        let listen = move || listen(answers, &waiting, &process);
        thread::Builder::new().name("runtime-nursery".into()).spawn(listen)?;
        Ok(running)
    }

    /// Whether there is still somebody to answer.
    fn answers(&self) -> bool {
        lock(&self.waiting).is_some()
    }

    fn wait_for(&self, attempt: &str) -> Receiver<Answer> {
        let (tell, told) = sync_channel(ANSWERS);
        if let Some(waiting) = &mut *lock(&self.waiting) {
            waiting.insert(attempt.to_owned(), tell);
        }
        told
    }

    fn write(&mut self, mut frame: &[u8], until: Instant) -> io::Result<()> {
        while !frame.is_empty() {
            match self.orders.write(frame) {
                Ok(count) => frame = &frame[count..],
                Err(e) if e.kind() == ErrorKind::WouldBlock => wait_for_room(&self.orders, until)?,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.process.end();
    }
}

/// The process itself, for whoever finds that it must go.
#[derive(Clone, Debug)]
struct Process(Arc<Mutex<Child>>);

impl Process {
    fn new(child: Child) -> Self {
        Self(Arc::new(Mutex::new(child)))
    }

    /// Also when it is stopped; supervisors go on.
    fn kill(&self) {
        _ = lock(&self.0).kill();
    }

    /// Until it is gone.
    fn end(&self) {
        let mut child = lock(&self.0);
        _ = child.kill();
        _ = child.wait();
    }

    /// How it ended, of one that has closed its pipes. One that goes on without them is killed.
    fn ended(&self) -> io::Error {
        let mut child = lock(&self.0);
        let until = Instant::now() + END_WITHIN;
        let ended = loop {
            match child.try_wait() {
                Ok(Some(status)) => break Ok(status),
                Ok(None) if Instant::now() < until => thread::sleep(LOOK_EVERY),
                _ => break child.kill().and_then(|()| child.wait()),
            }
        };
        match ended {
            Ok(status) => io::Error::other(format!("the nursery ended with {status}")),
            Err(error) => error,
        }
    }
}

fn wait_for_room(orders: &ChildStdin, until: Instant) -> io::Result<()> {
    let left = until.saturating_duration_since(Instant::now());
    let left = Timespec::try_from(left).map_err(io::Error::other)?;
    match poll(&mut [PollFd::new(orders, PollFlags::OUT)], Some(&left)) {
        Ok(0) => Err(io::Error::new(ErrorKind::TimedOut, "the nursery takes no orders")),
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Passes answers on until nobody is left who could give one: the nursery, and supervisors that have not answered.
fn listen(answers: ChildStdout, waiting: &Waiting, process: &Process) {
    let mut answers = BufReader::new(answers);
    let mut line = String::new();
    while answers.read_line(&mut line).is_ok_and(|length| length > 0) {
        let Some((attempt, answer)) = Answer::parse(&line) else {
            tracing::error!(line, "the nursery says what is no answer");
            process.kill();
            break;
        };
        let asked = lock(waiting).as_mut().and_then(|waiting| waiting.remove(attempt));
        // Whoever asked may have given up.
        _ = asked.map(|asked| asked.send(answer));
        line.clear();
    }
    _ = process.ended();
    *lock(waiting) = None;
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change under these locks is a single insert, remove or replace.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
