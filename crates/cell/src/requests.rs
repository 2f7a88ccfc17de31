//! The table of request ids (A-10): what was answered to whom, so that a retry gets the same answer and
//! nothing is done twice.
//!
//! ```text
//! id arrives ── client known? ─no── floor below the horizon ── refused: too old
//!                  │yes                    │no
//!                  ├─ below lowest unanswered ── refused: answered
//!                  ├─ recorded, same body ── the recorded reply
//!                  ├─ recorded, other body ── refused: conflict
//!                  └─ new ── room? ─no── refused: overloaded, not recorded
//!                              └yes── executed, reply recorded
//! ```
//!
//! A client's record lives `request_retention_ms` of cell clock after its last call. When it goes, the revision
//! of that call becomes the horizon: an id of that client that was executed had a floor below it.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use paceline_types::Revision;

use crate::command::RequestId;
use crate::config::CellConfig;
use crate::refusal::{Bound, Refusal};
use crate::reply::Reply;

/// Longest principal, in bytes: a role and a name of 63.
const PRINCIPAL_BYTES_MAX: usize = 128;
/// When a client that met a full table should come again. Answers free it, and they come in milliseconds.
const RETRY_AFTER_MS: u64 = 1_000;

/// Who makes requests.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ClientKey {
    pub principal: Arc<str>,
    pub client: [u8; 16],
}

/// The first half of the SHA-256 of a command's body.
pub(crate) type BodyHash = [u8; 16];

/// A request that was executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answered {
    pub sequence: u64,
    pub body_hash: BodyHash,
    pub reply: Reply,
}

/// What is kept of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    pub lowest_unanswered: u64,
    pub last_call_ms: u64,
    pub last_call: Revision,
    /// By sequence, rising, none below `lowest_unanswered`.
    pub answered: Vec<Arc<Answered>>,
}

impl Client {
    /// What the client takes of the table: an empty record takes a place too.
    pub(crate) fn records(&self) -> u64 {
        (self.answered.len() as u64).max(1)
    }

    fn position(&self, sequence: u64) -> Result<usize, usize> {
        self.answered.binary_search_by_key(&sequence, |answered| answered.sequence)
    }
}

/// What is to be done with a request.
#[derive(Debug)]
pub(crate) enum Admission {
    /// Execute and record.
    Execute(ClientKey),
    /// Answer so, and do nothing.
    Answer(Reply),
}

/// All clients of the cell.
#[derive(Clone, Debug, Default)]
pub(crate) struct RequestTable {
    clients: OrdMap<ClientKey, Arc<Client>>,
    /// Clients by the clock of their last call: the first is the next to expire.
    by_last_call: OrdSet<(u64, ClientKey)>,
    /// Records by principal, none zero.
    by_principal: OrdMap<Arc<str>, u64>,
    records: u64,
    horizon: Revision,
}

impl RequestTable {
    pub(crate) const fn horizon(&self) -> Revision {
        self.horizon
    }

    pub(crate) const fn records(&self) -> u64 {
        self.records
    }

    pub(crate) fn clients(&self) -> &OrdMap<ClientKey, Arc<Client>> {
        &self.clients
    }

    /// Whether an answer to this id is recorded.
    pub(crate) fn knows(&self, id: &RequestId) -> bool {
        let key = ClientKey { principal: id.principal.as_str().into(), client: id.client };
        self.clients.get(&key).is_some_and(|client| client.position(id.sequence).is_ok())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// For a snapshot: everything else follows from the clients.
    pub(crate) fn restore_horizon(&mut self, horizon: Revision) {
        self.horizon = horizon;
    }

    /// Decides about a request before its command is executed.
    pub(crate) fn admit(
        &mut self,
        id: &RequestId,
        body_hash: &BodyHash,
        now_ms: u64,
        revision: Revision,
        config: &CellConfig,
    ) -> Admission {
        if let Some(refusal) = malformed(id) {
            return Admission::Answer(Reply::Refused(refusal));
        }
        let key = ClientKey { principal: id.principal.as_str().into(), client: id.client };
        match self.clients.get(&key) {
            None if id.floor < self.horizon => {
                let refusal = Refusal::RequestTooOld { horizon: self.horizon };
                return Admission::Answer(Reply::Refused(refusal));
            }
            None => {}
            Some(client) => {
                let known = recall(client, id, body_hash);
                self.touch(&key, id.lowest_unanswered, now_ms, revision);
                if let Some(reply) = known {
                    return Admission::Answer(reply);
                }
            }
        }
        match self.full(&key, config) {
            Some(refusal) => Admission::Answer(Reply::Refused(refusal)),
            None => Admission::Execute(key),
        }
    }

    /// Notes a call: the record lives on, and what the client has is dropped.
    fn touch(&mut self, key: &ClientKey, lowest: u64, now_ms: u64, revision: Revision) {
        let Some(mut client) = self.take(key) else { return };
        let next = Arc::make_mut(&mut client);
        next.lowest_unanswered = next.lowest_unanswered.max(lowest);
        let keep = next.answered.partition_point(|answered| answered.sequence < next.lowest_unanswered);
        next.answered.drain(..keep);
        next.last_call_ms = now_ms;
        next.last_call = revision;
        self.insert(key, client);
    }

    /// Records the reply to an admitted request.
    pub(crate) fn record(
        &mut self,
        key: &ClientKey,
        id: &RequestId,
        answered: Answered,
        now_ms: u64,
        revision: Revision,
    ) {
        let mut client = self.take(key).unwrap_or_else(|| {
            Arc::new(Client {
                lowest_unanswered: id.lowest_unanswered,
                last_call_ms: now_ms,
                last_call: revision,
                answered: Vec::new(),
            })
        });
        // Shared with a published view at most once: the views of a batch are one.
        let next = Arc::make_mut(&mut client);
        if let Err(at) = next.position(answered.sequence) {
            next.answered.insert(at, Arc::new(answered));
        }
        self.insert(key, client);
    }

    /// Puts a client in the place of what was there, with all sums.
    pub(crate) fn put(&mut self, key: &ClientKey, client: Client) {
        self.take(key);
        self.insert(key, Arc::new(client));
    }

    fn insert(&mut self, key: &ClientKey, client: Arc<Client>) {
        self.records = self.records.saturating_add(client.records());
        let share = self.by_principal.get(&key.principal).copied().unwrap_or(0);
        self.by_principal.insert(Arc::clone(&key.principal), share.saturating_add(client.records()));
        self.by_last_call.insert((client.last_call_ms, key.clone()));
        self.clients.insert(key.clone(), client);
    }

    fn take(&mut self, key: &ClientKey) -> Option<Arc<Client>> {
        let client = self.clients.remove(key)?;
        self.by_last_call.remove(&(client.last_call_ms, key.clone()));
        self.records = self.records.saturating_sub(client.records());
        match self.by_principal.get(&key.principal).map(|share| share.saturating_sub(client.records())) {
            Some(share) if share > 0 => self.by_principal.insert(Arc::clone(&key.principal), share),
            _ => self.by_principal.remove(&key.principal),
        };
        Some(client)
    }

    /// Whether there is no room for one more record of this client.
    ///
    /// A principal may hold as many records as are free. One alone gets half of the table, two a third each, and
    /// there is always room for one more principal, without evicting anything.
    fn full(&self, key: &ClientKey, config: &CellConfig) -> Option<Refusal> {
        let open = self.clients.get(key).map_or(0, |client| client.answered.len() as u64);
        let overloaded =
            |bound, limit| Some(Refusal::Overloaded { bound, limit, retry_after_ms: RETRY_AFTER_MS });
        let open_limit = u64::from(config.request_ids_per_client);
        if open >= open_limit {
            return overloaded(Bound::OpenRequests, open_limit);
        }
        let held = self.by_principal.get(&key.principal).copied().unwrap_or(0);
        let free = u64::from(config.request_records).saturating_sub(self.records);
        if held >= free {
            return overloaded(Bound::RequestRecords, u64::from(config.request_records));
        }
        None
    }

    /// Forgets clients whose last call was `retention_ms` or longer ago.
    pub(crate) fn expire(&mut self, now_ms: u64, retention_ms: u64) {
        while let Some((last_call_ms, key)) = self.by_last_call.get_min().cloned() {
            if now_ms.saturating_sub(last_call_ms) < retention_ms {
                return;
            }
            match self.take(&key) {
                Some(client) => self.horizon = self.horizon.max(client.last_call),
                // Sums and clients disagree only in a defect; without this line it would be an endless loop.
                None => drop(self.by_last_call.remove_min()),
            }
        }
    }

    /// What is wrong with the sums, for `check`.
    pub(crate) fn check(&self) -> Vec<String> {
        let mut again = Self::default();
        for (key, client) in &self.clients {
            again.put(key, (**client).clone());
        }
        let mut wrong = Vec::new();
        if again.records != self.records {
            wrong.push(format!("requests: {} records, counted {}", self.records, again.records));
        }
        if again.by_principal != self.by_principal {
            wrong.push("requests: shares of principals differ from a recount".to_owned());
        }
        if again.by_last_call != self.by_last_call {
            wrong.push("requests: index by last call differs from a recount".to_owned());
        }
        for (key, client) in &self.clients {
            let sequences: Vec<_> = client.answered.iter().map(|answered| answered.sequence).collect();
            let rising = sequences.windows(2).all(|pair| pair[0] < pair[1]);
            if !rising || sequences.first().is_some_and(|first| *first < client.lowest_unanswered) {
                wrong.push(format!("requests: sequences of {} are {sequences:?}", key.principal));
            }
        }
        wrong
    }
}

/// What is known of this id.
fn recall(client: &Client, id: &RequestId, body_hash: &BodyHash) -> Option<Reply> {
    if id.sequence < client.lowest_unanswered {
        let lowest_unanswered = client.lowest_unanswered;
        return Some(Reply::Refused(Refusal::RequestAnswered { lowest_unanswered }));
    }
    let answered = &client.answered[client.position(id.sequence).ok()?];
    if answered.body_hash == *body_hash {
        Some(answered.reply.clone())
    } else {
        Some(Reply::Refused(Refusal::RequestConflict))
    }
}

fn malformed(id: &RequestId) -> Option<Refusal> {
    if id.principal.is_empty() || id.principal.len() > PRINCIPAL_BYTES_MAX {
        let value = format!("{} bytes", id.principal.len());
        return Some(Refusal::argument(
            "request.principal",
            value,
            format!("1 to {PRINCIPAL_BYTES_MAX} bytes"),
        ));
    }
    if id.sequence < id.lowest_unanswered {
        let lowest_unanswered = id.lowest_unanswered;
        return Some(Refusal::RequestAnswered { lowest_unanswered });
    }
    None
}

#[cfg(test)]
mod tests;
