//! What is seen of a cell while it runs, and the checkers of `verify` that judge it: each is fed from the place that knows,
//! not from the cell's own account.
//!
//! ```text
//! masters' apply ─► witnessed ─┬─► facts: attempts, reads, watches, liveness, acknowledged, nodes
//! machines' journals ──────────┤
//! clients' calls and answers ──┼─► acknowledged, reads, the history for the search
//! world: who is down, cut, calm ─► nodes
//! ```
//!
//! It leaves to `facts` how an event of the cell becomes a fact of a checker, to `calls` what an answer says, and to
//! `nodes` since when a node cannot be heard.

mod calls;
mod facts;
mod machines;
mod nodes;

use std::sync::Arc;

use paceline_cell::Event;
use paceline_client::v1;
use paceline_master::Witnessed;
use paceline_types::{EventId, JobUid, Revision, Term};
use paceline_verify::acknowledged::Acknowledged;
use paceline_verify::attempts::Attempts;
use paceline_verify::history::{Action, CallId, ClientNumber, Outcome, Recorder, RequestId, SeenJob};
use paceline_verify::linearizable::jobs::{JobModel, Retirement};
use paceline_verify::linearizable::{BOUNDS, check_jobs};
use paceline_verify::liveness::Liveness;
use paceline_verify::reads::Reads;
use paceline_verify::replicas::Replicas;
use paceline_verify::watch::{WatchId, Watches};
use parking_lot::Mutex;

use crate::clock;
use crate::trace::Trace;

pub use calls::{Says, outcome, refused, seen, state_of};
pub use facts::shown as event_shown;
use machines::Journals;
use nodes::Nodes;

/// What everything due may take after healing: see the audit.
pub const DUE_WITHIN_MS: u64 = 180_000;
/// Every such revision each master's state is digested: all of them would double the cost of a seed.
const DIGEST_EVERY: u64 = 16;
/// Every such revision the state passes its own check as it is first applied.
const CHECK_EVERY: u64 = 4;

struct State {
    recorder: Option<Recorder>,
    acknowledged: Acknowledged,
    reads: Reads,
    attempts: Attempts,
    replicas: Replicas,
    liveness: Liveness,
    watches: Watches<String>,
    nodes: Nodes,
    journals: Journals,
    /// The last revision that any master has applied.
    known: Revision,
    term: u64,
    watch_ids: u32,
    /// How far whoever follows everything has come.
    followed: Revision,
}

/// The judge of one run. Clones are the same.
#[derive(Clone)]
pub struct Judge {
    state: Arc<Mutex<State>>,
    trace: Trace,
}

impl Judge {
    /// Nothing was seen yet.
    #[must_use]
    pub fn new(trace: Trace) -> Self {
        let state = State {
            recorder: Some(Recorder::default()),
            acknowledged: Acknowledged::default(),
            reads: Reads::default(),
            attempts: Attempts::default(),
            replicas: Replicas::default(),
            liveness: Liveness::within(DUE_WITHIN_MS),
            watches: Watches::default(),
            nodes: Nodes::new(),
            journals: Journals::default(),
            known: Revision(0),
            term: 0,
            watch_ids: 0,
            followed: Revision(0),
        };
        Self { state: Arc::new(Mutex::new(state)), trace }
    }

    /// Looks at something, and says what was wrong with it.
    fn look<V: ToString>(&self, check: &str, look: impl FnOnce(&mut State) -> Vec<V>) {
        let found = look(&mut self.state.lock());
        for violation in found {
            self.trace.violation(check, violation.to_string());
        }
    }

    /// A client makes a call.
    pub fn invoked(&self, client: ClientNumber, request: Option<RequestId>, action: Action) -> CallId {
        let mut state = self.state.lock();
        let State { recorder, acknowledged, reads, liveness, .. } = &mut *state;
        let recorder = recorder.as_mut().expect("calls end before the judgement");
        let now = clock::now_ms();
        let id = recorder.invoke(client, request, now, action).expect("a seed makes a few hundred calls");
        let call = recorder.open().find(|call| call.id == id).expect("just invoked");
        acknowledged.invoked(call);
        reads.invoked(call);
        liveness.invoked(id, now);
        id
    }

    /// Its caller knows what became of it.
    pub fn returned(&self, id: CallId, outcome: Outcome) {
        let (acknowledged, reads) = {
            let mut state = self.state.lock();
            let State { recorder, acknowledged, reads, liveness, .. } = &mut *state;
            let recorder = recorder.as_mut().expect("calls end before the judgement");
            let call = recorder.answer(id, clock::now_ms(), outcome).expect("each call is answered once");
            liveness.returned(id);
            (acknowledged.returned(call), reads.returned(call))
        };
        self.look("acknowledged", |_| acknowledged);
        self.look("reads", |_| reads);
    }

    /// A master applied an entry.
    pub fn witnessed(&self, master: &str, seen: &Witnessed<'_>) {
        let Witnessed { cell, revision, term, events, .. } = *seen;
        let id = |ordinal| EventId { revision, ordinal };
        self.look("watches", |state| {
            let events = facts::watched(cell, events);
            state.watches.committed(revision, events);
            Vec::<String>::new()
        });
        if revision.0.is_multiple_of(DIGEST_EVERY) {
            self.look("replicas-agree", |state| {
                let digest = cell.digest();
                state.replicas.digest(master, revision, digest.as_ref()).err().into_iter().collect()
            });
        }
        let now = clock::now_ms();
        let fresh = {
            let mut state = self.state.lock();
            if term > state.term {
                state.term = term;
                state.nodes.leader(now);
            }
            let fresh = revision > state.known;
            state.known = state.known.max(revision);
            fresh
        };
        if !fresh {
            return;
        }
        if seen.entry.is_none() {
            self.trace.sometimes("an entry that no build can read was refused");
        }
        if events.iter().any(|event| matches!(event, Event::NodeLost { .. })) {
            self.trace.sometimes("a node was written off");
        }
        if revision.0.is_multiple_of(CHECK_EVERY) {
            self.look("cell-state", |_| cell.check());
        }
        self.look("evictions", |state| {
            let State { nodes, attempts, .. } = state;
            facts::nodes(cell, revision, events, now, nodes, attempts)
        });
        self.look("attempts", |state| {
            facts::jobs(cell, events, &mut state.attempts);
            let facts = (0..).zip(events).filter_map(|(at, event)| Some((at, facts::attempt(cell, event)?)));
            let found = facts.flat_map(|(at, (job, fact))| state.attempts.committed(id(at), job, &fact));
            let found = found.collect();
            state.attempts.known_to(revision);
            found
        });
        self.look("reads", |state| {
            for (job, fact) in events.iter().filter_map(facts::read) {
                state.reads.fact(revision, job, &fact);
            }
            state.reads.known_to(revision)
        });
        self.look("acknowledged", |state| facts::effects(seen, &mut state.acknowledged));
        self.look("liveness", |state| facts::due(events, &mut state.liveness));
        self.look("watches", |state| {
            state.watches.known_to(revision);
            state.watches.check()
        });
    }

    /// What a master says of itself. Only whoever asks one after the other may tell.
    pub fn status(&self, status: &v1::CellStatusReply) {
        let (master, term) = (&status.answered_by, Term(status.term));
        self.look("replicas-agree", |state| {
            let replicas = &mut state.replicas;
            let shown = replicas.shows(master, Revision(status.revision));
            let led = replicas.term(master, term, status.leader == *master);
            [shown.err(), led.err()].into_iter().flatten().collect()
        });
    }

    /// The digest of a master's state.
    pub fn digest(&self, master: &str, digest: &v1::StateDigest) {
        self.look("replicas-agree", |state| {
            let told = state.replicas.digest(master, Revision(digest.revision), &digest.digest);
            told.err().into_iter().collect()
        });
    }

    /// A master's process begins anew on its disk.
    pub fn restarted(&self, master: &str) {
        self.state.lock().replicas.restarted(master);
    }

    /// The number of a new watch, opened after a revision.
    pub fn watch(&self, after: Revision) -> WatchId {
        let mut state = self.state.lock();
        state.watch_ids += 1;
        let id = WatchId(state.watch_ids);
        state.watches.opened(id, after, None);
        state.followed = after;
        id
    }

    /// Changes what is known of watches.
    pub fn watches(&self, change: impl FnOnce(&mut Watches<String>)) {
        self.look("watches", |state| {
            change(&mut state.watches);
            state.watches.check()
        });
    }

    /// A watch is over: the next one is another.
    pub fn unwatch(&self, id: WatchId) {
        self.state.lock().watches.ended(id);
    }

    /// A watch has come so far.
    pub fn followed(&self, revision: Revision) {
        let mut state = self.state.lock();
        state.followed = state.followed.max(revision);
    }

    /// Whether everything up to here was followed.
    #[must_use]
    pub fn is_followed(&self, revision: Revision) -> bool {
        self.state.lock().followed >= revision
    }

    /// From now on nothing is broken.
    pub fn healed(&self) {
        self.state.lock().liveness.healed(clock::now_ms());
    }

    /// What should have come to its end by now.
    pub fn check_liveness(&self) {
        self.look("liveness", |state| state.liveness.check(clock::now_ms()));
    }

    /// Whether watches have got everything up to a revision is judged now, and stale attempts must be gone.
    pub fn at_rest(&self, revision: Revision, jobs: &[SeenJob]) {
        self.look("acknowledged", |state| state.acknowledged.sight(revision, "", jobs));
        self.look("watches", |state| state.watches.finish(revision));
        self.look("attempts", |state| {
            let mut found = state.attempts.check(clock::now_ms());
            found.extend(state.attempts.check_gone(clock::now_ms()));
            found
        });
    }

    /// Judges the history as a whole; calls end before.
    pub fn judge(&self) {
        let Some(recorder) = self.state.lock().recorder.take() else { return };
        let history = recorder.finish();
        self.trace.count("history_calls", history.len() as u64);
        self.trace.count("history_answered", history.answered() as u64);
        // Configurations of the plans let jobs retire, and none so many that they leave the history.
        let model = JobModel { ends: true, retirement: Retirement::Retire };
        self.look("linearizable", |_| check_jobs(&history, &model, BOUNDS));
    }

    /// The journal of a machine is read, and the attempts on it judged.
    pub fn machine(&self, machine: &crate::machine::Machine) {
        let now = clock::now_ms();
        self.look("attempts", |state| {
            let State { journals, attempts, .. } = state;
            for started in journals.read(machine, attempts) {
                self.trace.event(machine.name(), started);
                self.trace.count("launches", 1);
            }
            attempts.check(now)
        });
    }

    /// A machine lost its power: what ran is gone.
    pub fn powerless(&self, node: &str) {
        let mut state = self.state.lock();
        let State { nodes, attempts, .. } = &mut *state;
        nodes.powerless(node);
        if let Ok(node) = node.parse() {
            attempts.disturbed(&node);
        }
    }

    /// A machine has its power again.
    pub fn powered(&self, node: &str) {
        self.state.lock().nodes.powered(node);
    }

    /// The process of a node is there, or is not.
    pub fn up(&self, node: &str, up: bool) {
        self.state.lock().nodes.up(node, up, clock::now_ms());
    }

    /// Something is broken somewhere, or nothing is.
    pub fn broken(&self, broken: bool) {
        self.state.lock().nodes.broken(broken, clock::now_ms());
    }

    /// An operator ends the brake, or may have.
    pub fn released(&self, open: bool) {
        self.state.lock().nodes.released(clock::now_ms(), open);
    }
}

/// The uid of a job of the wire.
fn uid(uid: Option<v1::JobUid>) -> Option<JobUid> {
    uid.map(Into::into)
}
