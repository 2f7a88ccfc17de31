//! What clients do: each carries out its script, one call after the other, and notes what it was told.

use std::sync::Arc;
use std::time::Duration;

use paceline_client::{CellFolder, Client, ClientError, ClientId, MasterEntry, v1};
use paceline_identity::PeerIdentity;
use paceline_rules::JobSpec;
use paceline_types::Resources;
use tokio::time::{Instant, sleep_until};

use crate::hosts::{API_PORT, address};
use crate::keys::CELL;
use crate::ledger::{Answer, Ledger};
use crate::net::{Party, Plane, SimConnector};
use crate::power::Power;
use crate::trace::Trace;

/// How long a call may take: less than the longest outage that plans make, so that some calls end open.
const WITHIN: Duration = Duration::from_secs(20);
/// Memory that each task asks for.
const TASK_MEMORY_BYTES: u64 = 1 << 20;

/// A call of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// Submits a job of equal tasks.
    Submit {
        /// Its name.
        name: String,
        /// How many tasks.
        tasks: u32,
        /// What each asks for.
        cpu_milli: u64,
        /// How long each lasts.
        task_ms: u64,
        /// With which code each exits.
        exit: u8,
    },
    /// Submits an earlier job of the script once more, word for word.
    Again {
        /// Its name.
        name: String,
    },
    /// Stops a job.
    Stop {
        /// Its name.
        name: String,
    },
    /// Deletes a job.
    Delete {
        /// Its name.
        name: String,
    },
    /// Reads one job.
    Get {
        /// Its name.
        name: String,
    },
    /// Reads the status of the cell from any master, digest and all.
    Status,
    /// Asks the leader to hand over.
    Transfer,
    /// Bounds how many jobs the cell holds, so that finished ones retire early.
    Bound {
        /// So many.
        jobs: u64,
    },
}

/// What one client does when.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Script {
    /// Calls, each not before its time in milliseconds.
    pub calls: Vec<(u64, Call)>,
}

/// A client program.
#[derive(Clone)]
pub struct ClientSeat {
    /// Its host.
    pub name: String,
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
        for (at_ms, call) in &self.script.calls {
            sleep_until(begun + Duration::from_millis(*at_ms)).await;
            self.carry_out(&client, call).await;
        }
        self.trace.event(&self.name, "has no more to ask");
        self.ledger.client_done();
        Ok(())
    }

    async fn carry_out(&self, client: &Client, call: &Call) {
        match call {
            Call::Submit { name, tasks, cpu_milli, task_ms, exit } => {
                self.ledger.submitting(name, *tasks, *exit);
                self.submit(client, &spec(name, *tasks, *cpu_milli, *task_ms, *exit)).await;
            }
            Call::Again { name } => {
                if let Some(spec) = self.spec_of(name) {
                    self.submit(client, &spec).await;
                }
            }
            Call::Stop { name } => {
                let asked = client.jobs().stop(name.as_str()).await.map(|reply| reply.revision);
                let answer = self.changed(&format!("stop {name}"), asked);
                self.ledger.note(name, |job| job.stops.push(answer));
            }
            Call::Delete { name } => {
                let asked = client.jobs().delete(name.as_str()).await.map(|reply| reply.revision);
                let answer = self.changed(&format!("delete {name}"), asked);
                self.ledger.note(name, |job| job.deletions.push(answer));
            }
            Call::Get { name } => {
                let read = client.jobs().get(name.as_str()).await.map(|job| job.revision);
                self.said(&format!("get {name}"), read);
            }
            Call::Status => {
                let status = client.stale().cell().status().await;
                if let Ok(status) = &status {
                    self.heard(status);
                }
                self.said("status", status.map(|status| status.revision));
            }
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
        }
    }

    async fn submit(&self, client: &Client, spec: &JobSpec) {
        self.ledger.note(&spec.name, |job| job.asked += 1);
        let reply = client.jobs().submit(spec).await;
        let uid =
            reply.as_ref().ok().and_then(|reply| reply.uid.as_ref()).map(|uid| (uid.revision, uid.ordinal));
        let answer = self.changed(
            &format!("submit {} of {} tasks", spec.name, spec.tasks),
            reply.map(|reply| reply.revision),
        );
        self.ledger.note(&spec.name, |job| {
            job.uids.extend(uid);
            // What is certain stays: a retry that is refused does not undo what was acknowledged, or what is open.
            match (&job.submitted, &answer) {
                (Some(Answer::Done(_)), _) | (Some(Answer::Open), Answer::NotDone(_)) => {}
                _ => job.submitted = Some(answer),
            }
        });
    }

    /// The words of an earlier submission of this script.
    fn spec_of(&self, wanted: &str) -> Option<JobSpec> {
        self.script.calls.iter().find_map(|(_, call)| match call {
            Call::Submit { name, tasks, cpu_milli, task_ms, exit } if name == wanted => {
                Some(spec(name, *tasks, *cpu_milli, *task_ms, *exit))
            }
            _ => None,
        })
    }

    /// Notes what a status says about leader and state.
    pub fn heard(&self, status: &v1::CellStatusReply) {
        self.ledger.leads(status.term, &status.leader);
        if status.masters.iter().any(|master| master.purged_revision.is_some()) {
            self.trace.sometimes("a log was purged");
        }
        let Some(state) = &status.state_digest else { return };
        if let Some(other) = self.ledger.digest(state.revision, &state.digest, &status.answered_by) {
            let text = format!("{} and {other} differ at revision {}", status.answered_by, state.revision);
            self.trace.violation("replicas-agree", text);
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

fn spec(name: &str, tasks: u32, cpu_milli: u64, task_ms: u64, exit: u8) -> JobSpec {
    let mut spec = JobSpec::batch(name, tasks, &["/bin/task"], Resources::new(cpu_milli, TASK_MEMORY_BYTES));
    spec.template.env.insert("SIM_MS".into(), task_ms.to_string());
    spec.template.env.insert("SIM_EXIT".into(), exit.to_string());
    spec
}
