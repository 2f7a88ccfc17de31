//! What clients do: each carries out its script, one call after the other; every call and its answer is told to the judge.

mod script;

use std::sync::Arc;
use std::time::Duration;

use paceline_client::{CellFolder, Client, ClientError, ClientId, MasterEntry, v1};
use paceline_identity::PeerIdentity;
use paceline_types::Revision;
use paceline_verify::history::{Action, ClientNumber, Freshness, Outcome, RequestId, Target};
use tokio::time::{Instant, sleep_until};

use crate::hosts::{API_PORT, address};
use crate::judge::{Judge, Says, outcome};
use crate::keys::CELL;
use crate::ledger::{Answer, Ledger};
use crate::net::{Party, Plane, SimConnector};
use crate::power::Power;
use crate::trace::Trace;

pub use script::{Call, Script, Wanted};

/// How long a call may take: less than the longest outage that plans make, so that some calls end open.
const WITHIN: Duration = Duration::from_secs(20);

/// A client program.
#[derive(Clone)]
pub struct ClientSeat {
    /// Its host.
    pub name: String,
    /// Its number in the history.
    pub number: ClientNumber,
    /// Who it is.
    pub identity: PeerIdentity,
    /// Names it in request ids.
    pub id: [u8; 16],
    /// The masters.
    pub masters: Vec<String>,
    /// What it does.
    pub script: Script,
    /// Where it notes what it was told.
    pub ledger: Ledger,
    /// Who judges that.
    pub judge: Judge,
    /// Where it is seen.
    pub trace: Trace,
}

impl ClientSeat {
    /// A handle on the cell from the current host.
    #[must_use]
    pub fn open(&self) -> Client {
        let party =
            Party { identity: self.identity.clone(), power: Power::default(), trace: self.trace.clone() };
        let entry = |(id, name): (u64, &String)| MasterEntry {
            id,
            name: Some(name.clone()),
            api: address(name, API_PORT),
        };
        let folder = CellFolder {
            api: self.masters.iter().map(|name| address(name, API_PORT)).collect(),
            masters: (1..).zip(&self.masters).map(entry).collect(),
            credentials: CELL.into(),
        };
        let connector = Arc::new(SimConnector::new(party, Plane::Cell));
        Client::new(folder, connector, ClientId(self.id)).within(WITHIN)
    }

    /// Carries out the script.
    pub async fn live(self) -> turmoil::Result {
        let client = self.open();
        let begun = Instant::now();
        let mut changed = false;
        for (at_ms, call) in &self.script.calls {
            sleep_until(begun + Duration::from_millis(*at_ms)).await;
            self.carry_out(&client, call, &mut changed).await;
        }
        self.trace.event(&self.name, "has no more to ask");
        self.ledger.client_done();
        Ok(())
    }

    /// `changed`: a change was asked for before.
    async fn carry_out(&self, client: &Client, call: &Call, changed: &mut bool) {
        let first = !*changed;
        match call {
            Call::Submit(wanted) => {
                *changed = true;
                self.ledger.submitting(wanted);
                self.submit(client, wanted, first.then(|| self.first_id())).await;
            }
            Call::Again { name } => {
                *changed = true;
                if let Some(wanted) = self.script.wanted(name) {
                    self.submit(client, wanted, None).await;
                }
            }
            Call::RetryFirst => self.retry_first().await,
            Call::Stop { name } => {
                *changed = true;
                let action = Action::Stop { job: Target::name(name) };
                let asked = self.ask(action, None, client.jobs().stop(name.as_str())).await;
                let answer = self.changed(&format!("stop {name}"), asked.map(|reply| reply.revision));
                self.ledger.note(name, |job| job.stops.push(answer));
            }
            Call::Delete { name } => {
                *changed = true;
                let action = Action::Delete { job: Target::name(name) };
                let asked = self.ask(action, None, client.jobs().delete(name.as_str())).await;
                self.changed(&format!("delete {name}"), asked.map(|reply| reply.revision));
            }
            Call::Get { name, stale } => self.get(client, name, *stale).await,
            Call::List { retired } => {
                let read = self.list(client, *retired).await;
                self.said("list", read.map(|reply| reply.revision));
            }
            _ => {
                *changed |= !matches!(call, Call::Status);
                self.administer(client, call).await;
            }
        }
    }

    async fn administer(&self, client: &Client, call: &Call) {
        match call {
            Call::Transfer => {
                let moved = client.cell().transfer_leadership(None).await;
                if moved.is_ok() {
                    self.trace.sometimes("leadership was handed over");
                }
                self.said("transfer", moved.map(|reply| reply.revision));
            }
            Call::Bound { jobs } => {
                let settings = [("jobs_per_cell".to_owned(), *jobs)].into();
                let change = v1::CellConfig { settings, failure_domains: None };
                let set = client.cell().set_config(change).await;
                self.said(&format!("bound of {jobs} jobs"), set.map(|_| client.revision().0));
            }
            Call::ReleaseBrake => {
                self.judge.released(false);
                let released = client.cell().release_brake().await;
                let open = released.as_ref().is_err_and(|error| refused_is_open(error));
                self.judge.released(open);
                if released.as_ref().is_ok_and(|was_on| *was_on) {
                    self.trace.sometimes("an operator ended the brake");
                }
                self.said("brake release", released.map(u64::from));
            }
            _ => {
                let status = client.stale().cell().status().await;
                if let Ok(status) = &status {
                    self.heard(status);
                }
                self.said("status", status.map(|status| status.revision));
            }
        }
    }

    /// Makes a call on jobs, and has it and its answer noted.
    pub async fn ask<R: Says>(
        &self,
        action: Action,
        request: Option<RequestId>,
        call: impl Future<Output = Result<R, ClientError>>,
    ) -> Result<R, ClientError> {
        let id = self.judge.invoked(self.number, request, action);
        let result = call.await;
        self.judge.returned(id, outcome(&result));
        result
    }

    /// Reads all jobs at once, and has that noted.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn list(&self, client: &Client, retired: bool) -> Result<v1::ListJobsReply, ClientError> {
        let action = Action::List { prefix: String::new(), retired, read: Freshness::LINEARIZABLE };
        let request = v1::ListJobsRequest { retired, ..v1::ListJobsRequest::default() };
        self.ask(action, None, client.jobs().list_page(request)).await
    }

    async fn get(&self, client: &Client, name: &str, stale: bool) {
        let read = if stale { Freshness::stale(Revision(0)) } else { Freshness::LINEARIZABLE };
        let from = if stale { client.stale() } else { client.clone() };
        let action = Action::Get { job: Target::name(name), read };
        let asked = self.ask(action, None, from.jobs().get(name)).await;
        self.said(&format!("get {name}"), asked.map(|job| job.revision));
    }

    /// The id that the client library gives to the first change of a process.
    fn first_id(&self) -> RequestId {
        RequestId { principal: self.identity.principal(), client: self.id, sequence: 1 }
    }

    async fn submit(&self, client: &Client, wanted: &Wanted, request: Option<RequestId>) {
        let spec = wanted.spec();
        let action = Action::Submit { name: wanted.name.clone(), spec: wanted.hash_of_spec() };
        let reply = self.ask(action, request, client.jobs().submit(&spec)).await;
        let what = format!("submit {} of {} tasks", wanted.name, wanted.tasks);
        self.changed(&what, reply.map(|reply| reply.revision));
    }

    /// Another handle with the same client id begins its sequence anew: its first change has the id of the first change
    /// of this script.
    async fn retry_first(&self) {
        let Some(wanted) = self.script.first() else { return };
        let late = self.open();
        let action = Action::Submit { name: wanted.name.clone(), spec: wanted.hash_of_spec() };
        let spec = wanted.spec();
        let reply = self.ask(action, Some(self.first_id()), late.jobs().submit(&spec)).await;
        match &reply {
            Ok(_) => self.trace.sometimes("a late retry was answered as before"),
            Err(error) if error.code() == Some(v1::ErrorCode::RequestAnswered) => {
                self.trace.sometimes("a late retry was refused");
            }
            Err(_) => {}
        }
        self.said(&format!("late retry of {}", wanted.name), reply.map(|reply| reply.revision));
    }

    /// Notes what a status says about leader and state.
    pub fn heard(&self, status: &v1::CellStatusReply) {
        self.ledger.leads(status.term, &status.leader);
        if status.masters.iter().any(|master| master.purged_revision.is_some()) {
            self.trace.sometimes("a log was purged");
        }
        if status.node_loss.as_ref().is_some_and(|loss| loss.brake.is_some()) {
            self.trace.sometimes("the brake held write-offs back");
        }
        if let Some(state) = &status.state_digest {
            self.judge.digest(&status.answered_by, state);
        }
    }

    fn changed(&self, what: &str, outcome: Result<u64, ClientError>) -> Answer {
        let answer = self.said(what, outcome);
        if matches!(answer, Answer::Done(_)) {
            self.ledger.mutation_done();
        }
        answer
    }

    fn said(&self, what: &str, outcome: Result<u64, ClientError>) -> Answer {
        let answer = match &outcome {
            Ok(revision) => Answer::Done(*revision),
            Err(error) => Answer::of(error),
        };
        let counted = match &answer {
            Answer::Done(_) => "calls_done",
            Answer::NotDone(_) => "calls_not_done",
            Answer::Open => {
                self.trace.sometimes("a call ended with its outcome open");
                "calls_open"
            }
        };
        self.trace.count(counted, 1);
        match outcome {
            Ok(revision) => self.trace.event(&self.name, format_args!("{what}: done at revision {revision}")),
            Err(error) => self.trace.event(&self.name, format_args!("{what}: {error}")),
        }
        answer
    }
}

/// Whether what was asked for may be done all the same.
fn refused_is_open(error: &ClientError) -> bool {
    crate::judge::refused(error) == Outcome::Unknown
}
