//! Specifications of jobs, decoded once per job instead of once per task, for as long as there is room.
//!
//! A cache: what is dropped comes again with the next session. Attempts that wait for their turn hold
//! their own reference, so dropping never takes a specification from under them.

use std::collections::BTreeMap;
use std::sync::Arc;

use paceline_link::message::JobBody;
use paceline_rules::JobSpec;
use paceline_types::JobUid;

/// Decodes what is in a [`JobBody`]; the text says what is wrong with it.
pub type DecodeSpec = fn(&[u8]) -> Result<JobSpec, String>;

/// A specification, or why there is none.
pub(super) type Decoded = Result<Arc<JobSpec>, String>;

#[derive(Debug)]
struct Cached {
    decoded: Decoded,
    bytes: usize,
    used: u64,
}

#[derive(Debug)]
pub(super) struct Specs {
    decode: DecodeSpec,
    jobs_max: usize,
    bytes_max: usize,
    jobs: BTreeMap<JobUid, Cached>,
    bytes: usize,
    uses: u64,
}

impl Specs {
    pub(super) fn new(decode: DecodeSpec, jobs_max: usize, bytes_max: usize) -> Self {
        Self { decode, jobs_max, bytes_max, jobs: BTreeMap::new(), bytes: 0, uses: 0 }
    }

    /// Takes a body on; one of an older version is replaced. The least recently used go at the bound,
    /// those of which `is_known` says that no attempt is left before all others.
    pub(super) fn insert(&mut self, body: &JobBody, is_known: impl Fn(JobUid) -> bool) {
        self.uses += 1;
        let decoded = (self.decode)(&body.spec).map(Arc::new);
        let cached = Cached { decoded, bytes: body.spec.len(), used: self.uses };
        self.bytes += cached.bytes;
        if let Some(old) = self.jobs.insert(body.job, cached) {
            self.bytes -= old.bytes;
        }
        while self.jobs.len() > 1 && (self.jobs.len() > self.jobs_max || self.bytes > self.bytes_max) {
            let others = self.jobs.iter().filter(|(job, _)| **job != body.job);
            let least = others.min_by_key(|(job, cached)| (is_known(**job), cached.used));
            let Some(job) = least.map(|(job, _)| *job) else { break };
            let dropped = self.jobs.remove(&job).expect("the key was just found in the map");
            self.bytes -= dropped.bytes;
        }
    }

    /// The specification of a job, if the session has brought it and it is still here.
    pub(super) fn find(&mut self, job: JobUid) -> Option<Decoded> {
        self.uses += 1;
        let cached = self.jobs.get_mut(&job)?;
        cached.used = self.uses;
        Some(cached.decoded.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use paceline_types::{Resources, Revision, SpecVersion};

    fn decode(bytes: &[u8]) -> Result<JobSpec, String> {
        let name = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
        Ok(JobSpec::batch(name, 1, &["/bin/true"], Resources::ZERO))
    }

    fn uid(job: u64) -> JobUid {
        JobUid { revision: Revision(job), ordinal: 0 }
    }

    fn body(job: u64) -> JobBody {
        JobBody { job: uid(job), version: SpecVersion(1), spec: b"x".to_vec() }
    }

    #[test]
    fn jobs_without_attempts_go_first_then_the_least_recently_used() {
        let mut specs = Specs::new(decode, 2, 1 << 20);
        specs.insert(&body(1), |_| true);
        specs.insert(&body(2), |_| true);
        assert!(specs.find(uid(1)).is_some());
        specs.insert(&body(3), |job| job == uid(2));
        assert!(specs.find(uid(1)).is_none(), "used last, but no attempt is left of it");
        specs.insert(&body(4), |_| true);
        assert!(specs.find(uid(2)).is_none(), "used least recently");
        assert!(specs.find(uid(3)).is_some() && specs.find(uid(4)).is_some());
    }

    #[test]
    fn a_body_above_the_bound_is_kept_until_the_next_comes() {
        let mut specs = Specs::new(decode, 10, 0);
        specs.insert(&body(1), |_| true);
        assert!(specs.find(uid(1)).is_some());
        specs.insert(&body(2), |_| true);
        assert!(specs.find(uid(1)).is_none());
        assert_eq!(specs.bytes, 1);
    }

    #[test]
    fn an_undecodable_body_keeps_its_error() {
        let mut specs = Specs::new(decode, 2, 1 << 20);
        specs.insert(&JobBody { spec: vec![0xff], ..body(1) }, |_| true);
        assert!(matches!(specs.find(uid(1)), Some(Err(_))));
    }
}
