//! The state machine: registers whose values say which call wrote them, and a digest over everything applied.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use paceline_replica::{CommittedEntry, FrozenState, SnapshotError, StateMachine};
use parking_lot::Mutex;

use super::ledger::{Applied, CallId, Ledger};

/// How many registers there are.
pub const REGISTERS: u8 = 8;
/// FNV-1a's prime: a digest against accidents, not against people.
const PRIME: u64 = 0x0000_0100_0000_01b3;
/// Call, register.
const HEADER_BYTES: usize = 9;

/// The content of a write.
pub fn payload(call: CallId, register: u8, bytes: usize) -> Bytes {
    let mut content = Vec::with_capacity(HEADER_BYTES + bytes);
    content.extend_from_slice(&call.to_le_bytes());
    content.push(register);
    content.resize(HEADER_BYTES + bytes, call.to_le_bytes()[0]);
    content.into()
}

fn parse(payload: &[u8]) -> Option<(CallId, u8)> {
    let call = payload.get(..8)?.try_into().ok()?;
    Some((CallId::from_le_bytes(call), *payload.get(8)?))
}

/// What the registers hold, and how far they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// The last entry applied.
    pub applied: u64,
    /// Who wrote each register last, and where.
    pub registers: BTreeMap<u8, (CallId, u64)>,
    /// Every write in order: call and revision.
    pub journal: Vec<(CallId, u64)>,
    /// Folds everything applied.
    pub digest: u64,
}

/// What a host's readers see.
pub type Published = Arc<Mutex<State>>;

/// The state machine of one host.
pub struct Registers {
    host: String,
    state: State,
    ledger: Ledger,
    published: Published,
}

impl Registers {
    /// Empty registers.
    pub fn new(host: &str, ledger: Ledger) -> (Self, Published) {
        let published = Published::default();
        let machine = Self { host: host.to_owned(), state: State::default(), ledger, published };
        let published = machine.published.clone();
        (machine, published)
    }
}

impl StateMachine for Registers {
    fn apply(&mut self, entry: CommittedEntry) -> Bytes {
        let CommittedEntry { revision, term, payload } = entry;
        let state = &mut self.state;
        for word in [revision, term, u64::from(crc32c::crc32c(&payload))] {
            state.digest = (state.digest ^ word).wrapping_mul(PRIME);
        }
        state.applied = revision;
        let write = parse(&payload);
        if let Some((call, register)) = write {
            state.registers.insert(register, (call, revision));
            state.journal.push((call, revision));
        }
        let (call, register) = write.map_or((None, 0), |(call, register)| (Some(call), register));
        let applied = Applied { term, call, register, digest: state.digest };
        self.ledger.applied(&self.host, revision, applied);
        Bytes::copy_from_slice(&revision.to_le_bytes())
    }

    fn applied_batch(&mut self) {
        let mut published = self.published.lock();
        let known = published.journal.len();
        if known > self.state.journal.len() || published.applied > self.state.applied {
            *published = self.state.clone();
            return;
        }
        published.journal.extend_from_slice(&self.state.journal[known..]);
        published.registers.clone_from(&self.state.registers);
        published.applied = self.state.applied;
        published.digest = self.state.digest;
    }

    fn freeze(&self) -> Box<dyn FrozenState> {
        Box::new(Frozen { state: Some(self.state.clone()) })
    }

    fn restore(
        &mut self,
        chunks: &mut dyn Iterator<Item = Result<Bytes, SnapshotError>>,
    ) -> Result<(), SnapshotError> {
        let content = chunks.collect::<Result<Vec<_>, _>>()?.concat();
        let state = decode(&content).ok_or_else(|| SnapshotError::Refused("no registers".into()))?;
        if state.applied > 0 {
            let expected = self.ledger.at(state.applied).map(|entry| entry.digest);
            if expected != Some(state.digest) {
                let words = format!("a snapshot at {} has digest {:x}", state.applied, state.digest);
                self.ledger.wrong_snapshot(&self.host, &words);
            }
        }
        *self.published.lock() = state.clone();
        self.state = state;
        Ok(())
    }
}

struct Frozen {
    state: Option<State>,
}

impl FrozenState for Frozen {
    fn chunks(&mut self) -> Option<Bytes> {
        self.state.take().map(|state| encode(&state).into())
    }
}

fn encode(state: &State) -> Vec<u8> {
    let mut words = vec![state.applied, state.digest, state.registers.len() as u64];
    for (register, (call, revision)) in &state.registers {
        words.extend([u64::from(*register), *call, *revision]);
    }
    words.extend(state.journal.iter().flat_map(|(call, revision)| [*call, *revision]));
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn decode(content: &[u8]) -> Option<State> {
    let (words, rest) = content.as_chunks::<8>();
    if !rest.is_empty() {
        return None;
    }
    let mut words = words.iter().map(|word| u64::from_le_bytes(*word));
    let mut state = State { applied: words.next()?, digest: words.next()?, ..State::default() };
    for _ in 0..words.next()? {
        let register = u8::try_from(words.next()?).ok()?;
        state.registers.insert(register, (words.next()?, words.next()?));
    }
    while let Some(call) = words.next() {
        state.journal.push((call, words.next()?));
    }
    Some(state)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Trace;

    #[test]
    fn registers_are_restored_from_what_was_frozen() {
        let trace = Trace::new(false);
        let ledger = Ledger::new(trace.clone());
        let (mut machine, published) = Registers::new("m1", ledger.clone());
        for call in 1..=3 {
            ledger.begin(call);
            machine.apply(CommittedEntry { revision: call + 4, term: 1, payload: payload(call, 2, 5) });
        }
        machine.applied_batch();
        let mut frozen = machine.freeze();
        let chunks: Vec<_> = std::iter::from_fn(|| frozen.chunks()).collect();
        let (mut other, restored) = Registers::new("m2", ledger);
        other.restore(&mut chunks.into_iter().map(Ok)).unwrap();
        assert_eq!(*restored.lock(), *published.lock());
        assert_eq!(restored.lock().registers.get(&2), Some(&(3, 7)));
        assert_eq!(trace.violations(), Vec::<String>::new());
    }

    #[test]
    fn bytes_that_are_no_write_change_only_the_digest() {
        let (mut machine, _) = Registers::new("m1", Ledger::new(Trace::new(false)));
        machine.apply(CommittedEntry { revision: 1, term: 1, payload: Bytes::from_static(b"short") });
        assert_eq!((machine.state.applied, machine.state.journal.len()), (1, 0));
        assert_ne!(machine.state.digest, 0);
    }
}
