//! One call from its first try to its answer, refusal or deadline.

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use paceline_api::detail_of;
use paceline_api::v1::{ErrorCode, ErrorDetail};
use tokio::time::{Instant, sleep, timeout_at};
use tonic::Status;
use tonic::transport::Channel;

use crate::backoff::{Backoff, Jitter};
use crate::error::ClientError;
use crate::masters::{Masters, Target};
use crate::verdict::{Verdict, is_absent, judge, words};

/// The longest first try. A paused or cut-off master answers nothing; this long after, another is asked. Longer
/// than any healthy answer takes, a slow disk's included.
const TRY_MS_FIRST: u64 = 2_000;

/// The longest later try: a cell that is slow must not be asked faster than it answers.
const TRY_MS_LONGEST: u64 = 16_000;

/// Redirects in a row that are followed at once; then masters contradict each other and a pause helps.
const REDIRECTS_AT_ONCE: u32 = 2;

/// With less time left than this, another try could not be answered.
const LAST_PAUSE: Duration = Duration::from_millis(10);

/// The longest deadline: as good as for ever, and no clock overflows.
const WITHIN_MAX: Duration = Duration::from_secs(365 * 86_400);

/// Where tries go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// To the leader, wherever it is.
    Leader,
    /// To this master and no other.
    Master(String),
}

/// What a call may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Reads: repeating it does nothing twice, and there is no outcome to be unsure of.
    Read,
    /// Changes something, under a request id.
    Mutation,
}

/// One call in progress.
pub(crate) struct Caller<'a> {
    masters: &'a Masters,
    route: &'a Route,
    kind: Kind,
    backoff: Backoff<'a>,
    within: Duration,
    deadline: Instant,
    tries: u32,
    try_ms: u64,
    redirects: u32,
    /// A try may have been executed.
    ambiguous: bool,
    /// Addresses whose identity did not fit.
    impostors: BTreeSet<String>,
    last: String,
    /// No try has reached anybody.
    only_absent: bool,
    /// The bound that the last try met, if it met one.
    bound: Option<String>,
}

impl<'a> Caller<'a> {
    pub(crate) fn new(
        masters: &'a Masters,
        route: &'a Route,
        jitter: &'a Jitter,
        kind: Kind,
        within: Duration,
    ) -> Self {
        Self {
            masters,
            route,
            kind,
            backoff: Backoff::new(jitter),
            within,
            deadline: Instant::now() + within.min(WITHIN_MAX),
            tries: 0,
            try_ms: TRY_MS_FIRST,
            redirects: 0,
            ambiguous: false,
            impostors: BTreeSet::new(),
            last: "nothing was tried".to_owned(),
            only_absent: true,
            bound: None,
        }
    }

    /// Tries until there is an end. What `attempt` sends must be the same each time.
    pub(crate) async fn run<T, F, Fut>(mut self, attempt: F) -> Result<T, ClientError>
    where
        F: Fn(Channel) -> Fut,
        Fut: Future<Output = Result<T, Status>>,
    {
        loop {
            let target = self.target();
            let before = Instant::now();
            if before >= self.deadline {
                return Err(self.too_late());
            }
            self.tries += 1;
            let try_deadline = self.deadline.min(before + Duration::from_millis(self.try_ms));
            match timeout_at(try_deadline, attempt(target.channel)).await {
                Ok(Ok(answer)) => {
                    self.answered(&target.address);
                    return Ok(answer);
                }
                Ok(Err(status)) => self.after(&target.address, &status).await?,
                Err(_) => self.after_silence(&target.address, before.elapsed()).await?,
            }
        }
    }

    fn target(&self) -> Target {
        match self.route {
            Route::Leader => self.masters.target(),
            Route::Master(address) => self.masters.at(address),
        }
    }

    fn answered(&self, address: &str) {
        if *self.route == Route::Leader {
            self.masters.favour(address);
        }
    }

    /// What follows a try that ended with a status: a pause, or the end of the call.
    async fn after(&mut self, address: &str, status: &Status) -> Result<(), ClientError> {
        self.last = format!("{address}: {}", words(status));
        tracing::debug!(address, tries = self.tries, last = self.last, "a try brought no answer");
        self.bound = detail_of(status)
            .filter(|detail| detail.code() == ErrorCode::Overloaded)
            .map(|detail| detail.message);
        self.only_absent &= is_absent(status);
        let verdict = judge(status);
        if !matches!(verdict, Verdict::Redirect { .. }) {
            self.redirects = 0;
        }
        match verdict {
            Verdict::Redirect { leader } => self.redirected(address, leader).await,
            Verdict::Again { ambiguous, elsewhere, wait_ms } => {
                self.ambiguous |= ambiguous;
                if elsewhere {
                    self.masters.pass(address);
                }
                self.pause(wait_ms).await
            }
            Verdict::Refused(detail) => Err(self.refused(detail)),
            Verdict::Impostor => self.impostor(address).await,
            Verdict::Fatal => Err(self.ended(ClientError::Protocol { fault: self.last.clone() })),
        }
    }

    async fn after_silence(&mut self, address: &str, waited: Duration) -> Result<(), ClientError> {
        self.last = format!("{address}: no answer for {} ms", waited.as_millis());
        tracing::debug!(address, tries = self.tries, last = self.last, "a try brought no answer");
        self.ambiguous = true;
        self.only_absent = false;
        self.bound = None;
        self.redirects = 0;
        self.try_ms = (self.try_ms * 2).min(TRY_MS_LONGEST);
        self.masters.pass(address);
        self.pause(0).await
    }

    async fn redirected(&mut self, address: &str, leader: Option<String>) -> Result<(), ClientError> {
        if matches!(self.route, Route::Master(_)) {
            // Whoever names a master wants that one's answer, not another's.
            let message = format!("{address} does not lead, and the call was to go to no other master");
            let detail = paceline_api::error_detail(ErrorCode::NotLeader, message);
            return Err(self.refused(Box::new(detail)));
        }
        self.masters.pass(address);
        let Some(leader) = leader.filter(|leader| leader != address) else {
            return self.pause(0).await;
        };
        self.masters.favour(&leader);
        self.redirects += 1;
        if self.redirects <= REDIRECTS_AT_ONCE { Ok(()) } else { self.pause(0).await }
    }

    async fn impostor(&mut self, address: &str) -> Result<(), ClientError> {
        self.impostors.insert(address.to_owned());
        let all = match self.route {
            Route::Leader => self.masters.all().iter().all(|known| self.impostors.contains(known)),
            Route::Master(_) => true,
        };
        if all {
            return Err(self.ended(ClientError::Identity { fault: self.last.clone() }));
        }
        self.masters.pass(address);
        self.pause(0).await
    }

    /// A refusal is the answer, unless an earlier try may have been executed and the refusal was not made by those
    /// who would know of that: the cell has forgotten the id, or the call did not come as far as the cell.
    fn refused(&self, detail: Box<ErrorDetail>) -> ClientError {
        let knows_nothing = matches!(
            detail.code(),
            ErrorCode::NotLeader
                | ErrorCode::RequestTooOld
                | ErrorCode::RequestAnswered
                | ErrorCode::PermissionDenied
                | ErrorCode::Unsupported
        );
        let refusal = ClientError::Refused(detail);
        if knows_nothing { self.ended(refusal) } else { refusal }
    }

    /// The end of the call for this reason, or as an unknown outcome where a try may have been executed.
    fn ended(&self, reason: ClientError) -> ClientError {
        let open = self.ambiguous && self.kind == Kind::Mutation;
        let within_ms = self.within_ms();
        if open {
            ClientError::Unknown { within_ms, tries: self.tries, last: self.last.clone() }
        } else {
            reason
        }
    }

    /// Waits before the next try. The last pauses before the deadline shrink, so that none of its time is given
    /// away; but there is no try sooner than the cell asked for.
    async fn pause(&mut self, asked_ms: u64) -> Result<(), ClientError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left <= LAST_PAUSE || left <= Duration::from_millis(asked_ms) {
            return Err(self.too_late());
        }
        let pause = self.backoff.pause(asked_ms).min((left / 2).max(Duration::from_millis(asked_ms)));
        sleep(pause).await;
        Ok(())
    }

    fn too_late(&self) -> ClientError {
        let (within_ms, tries, last) = (self.within_ms(), self.tries, self.last.clone());
        self.ended(match self.bound.clone() {
            Some(why) => ClientError::Overloaded { within_ms, tries, why },
            None if *self.route == Route::Leader && self.only_absent => {
                ClientError::NobodyThere { within_ms, tries, known: self.masters.all().join(", "), last }
            }
            None => ClientError::Unavailable { within_ms, tries, last },
        })
    }

    fn within_ms(&self) -> u64 {
        u64::try_from(self.within.as_millis()).unwrap_or(u64::MAX)
    }
}
