//! Histories that are right by construction: calls of several clients, each with an instant of effect between its
//! question and its answer, carried out in that order on a reference with plain states.

use paceline_types::{JobState, JobUid, Revision};

use crate::history::{
    Action, Answer, Call, CallId, ClientNumber, Freshness, History, Outcome, Refused, RequestId, SeenJob,
    Target,
};

/// Numbers from a seed: xorshift64*, which is enough to spread cases.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let mixed = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(mixed).expect("31 bits") % bound.max(1)
    }

    fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// What a history should look like.
pub struct Plan {
    pub calls: usize,
    pub names: usize,
    pub clients: usize,
    pub unanswered_percent: usize,
    /// Unanswered calls that are tried again under the same request id.
    pub reuse_percent: usize,
}

struct Job {
    name: String,
    uid: JobUid,
    spec: u64,
    state: JobState,
    retired: bool,
}

/// The cell, as simply as can be. Jobs oldest first.
#[derive(Default)]
struct Reference {
    jobs: Vec<Job>,
    revision: u64,
}

impl Reference {
    /// What happens without any call.
    fn drift(&mut self, random: &mut Random) {
        let count = self.jobs.len();
        if count == 0 || !random.percent(30) {
            return;
        }
        let at = random.below(count);
        self.revision += 1;
        let job = &mut self.jobs[at];
        match job.state {
            JobState::Active if random.percent(20) => job.state = JobState::Stopping,
            JobState::Active => job.state = JobState::Succeeded,
            JobState::Stopping => job.state = JobState::Killed,
            _ => {
                // Of one name, the oldest retires first.
                let name = self.jobs[at].name.clone();
                let first = self.jobs.iter_mut().find(|job| job.name == name && !job.retired);
                first.into_iter().filter(|job| job.state.is_terminal()).for_each(|job| job.retired = true);
            }
        }
    }

    fn select(&self, job: &Target) -> Option<usize> {
        match job.uid {
            Some(uid) => self.jobs.iter().position(|found| found.uid == uid),
            None => {
                let newest = |live: bool| {
                    self.jobs.iter().rposition(|found| found.name == job.name && (!live || !found.retired))
                };
                newest(true).or_else(|| newest(false))
            }
        }
    }

    fn act(&mut self, action: &Action) -> Outcome {
        self.revision += u64::from(!action.is_read());
        match self.answer(action) {
            Ok(answer) => Outcome::Answered { revision: Revision(self.revision), answer },
            Err(refused) => Outcome::Refused(refused),
        }
    }

    fn answer(&mut self, action: &Action) -> Result<Answer, Refused> {
        match action {
            Action::Submit { name, spec } => self.submit(name, *spec),
            Action::Stop { job } => {
                let at = self.select(job).ok_or(Refused::NotFound)?;
                let Job { uid, state, .. } = &mut self.jobs[at];
                if *state == JobState::Active {
                    *state = JobState::Stopping;
                }
                Ok(Answer::Stopping { uid: *uid, state: *state })
            }
            Action::Delete { job } => {
                let at = self.select(job).ok_or(Refused::NotFound)?;
                if self.jobs[at].retired || !self.jobs[at].state.is_terminal() {
                    return Err(Refused::Conflict);
                }
                Ok(Answer::Deleted { uid: self.jobs.remove(at).uid })
            }
            Action::Get { job, .. } => {
                let at = self.select(job).ok_or(Refused::NotFound)?;
                Ok(Answer::Seen(seen(&self.jobs[at])))
            }
            Action::List { prefix, retired, .. } => {
                let wanted = |job: &&Job| job.name.starts_with(prefix) && (*retired || !job.retired);
                Ok(Answer::Listed(self.jobs.iter().filter(wanted).rev().map(seen).collect()))
            }
        }
    }

    fn submit(&mut self, name: &str, spec: u64) -> Result<Answer, Refused> {
        let newest = self.jobs.iter().rfind(|job| job.name == name && !job.state.is_terminal());
        match newest {
            Some(job) if job.spec == spec && job.state == JobState::Active => {
                Ok(Answer::Submitted { uid: job.uid, existing: true })
            }
            Some(_) => Err(Refused::NameInUse),
            None => {
                let uid = JobUid { revision: Revision(self.revision), ordinal: 0 };
                let (name, state) = (name.to_owned(), JobState::Active);
                self.jobs.push(Job { name, uid, spec, state, retired: false });
                Ok(Answer::Submitted { uid, existing: false })
            }
        }
    }
}

fn seen(job: &Job) -> SeenJob {
    SeenJob { name: job.name.clone(), uid: job.uid, state: job.state }
}

/// When a call runs.
struct Planned {
    client: u32,
    invoked: u64,
    effect: Option<u64>,
    returned: Option<u64>,
}

/// A history that is right.
pub fn generate(plan: &Plan, random: &mut Random) -> History {
    let mut planned = times(plan, random);
    planned.sort_by_key(|call| call.effect.unwrap_or(u64::MAX));
    let mut reference = Reference::default();
    let mut calls = Vec::new();
    for (id, call) in (0..).zip(planned) {
        reference.drift(random);
        let action = action(plan, &reference, random);
        let outcome = if call.effect.is_some() { reference.act(&action) } else { Outcome::Unknown };
        let Planned { client, invoked, effect, returned } = call;
        let mut call = Call {
            id: CallId(id),
            client: ClientNumber(client),
            request: None,
            invoked,
            returned,
            action,
            outcome: if returned.is_some() { outcome.clone() } else { Outcome::Unknown },
        };
        // Tried again later, under the same id: the recorded answer comes back.
        let retried = returned.is_none() && !call.action.is_read() && random.percent(plan.reuse_percent);
        if let Some(effect) = effect.filter(|_| retried) {
            call.request =
                Some(RequestId { principal: "user/ann".to_owned(), client: [1; 16], sequence: id });
            let again = effect.saturating_sub(20).max(invoked) + random.below(50) as u64;
            let returned = Some(again.max(effect) + 10);
            let id = CallId(1_000_000 + id);
            calls.push(Call { id, invoked: again, returned, outcome, ..call.clone() });
        }
        calls.push(call);
    }
    calls.into_iter().collect()
}

fn times(plan: &Plan, random: &mut Random) -> Vec<Planned> {
    let mut free_at: Vec<u64> = (0..plan.clients).map(|_| random.below(20) as u64).collect();
    let mut calls = Vec::new();
    for number in 0..plan.calls {
        let client = number % plan.clients.max(1);
        let invoked = free_at[client] + random.below(10) as u64;
        let effect = invoked + random.below(20) as u64;
        let returned = effect + random.below(20) as u64;
        free_at[client] = returned + 1;
        let answered = !random.percent(plan.unanswered_percent);
        // What was given up may be done late, or never.
        let late = if answered { 0 } else { random.below(200) as u64 };
        calls.push(Planned {
            client: u32::try_from(client).expect("few clients"),
            invoked,
            effect: (answered || random.percent(50)).then_some(effect + late),
            returned: answered.then_some(returned),
        });
    }
    calls
}

fn action(plan: &Plan, reference: &Reference, random: &mut Random) -> Action {
    let name = format!("job-{}", random.below(plan.names));
    let of_name: Vec<_> = reference.jobs.iter().filter(|job| job.name == name).collect();
    let uid = if of_name.is_empty() || !random.percent(30) {
        None
    } else {
        Some(of_name[random.below(of_name.len())].uid)
    };
    let read = Freshness::LINEARIZABLE;
    match random.below(100) {
        0..35 => Action::Submit { name, spec: random.below(2) as u64 },
        35..50 => Action::Stop { job: Target { name, uid } },
        50..65 => Action::Delete { job: Target { name, uid } },
        65..95 => Action::Get { job: Target { name, uid }, read },
        _ => Action::List { prefix: "job-".to_owned(), retired: random.percent(50), read },
    }
}
