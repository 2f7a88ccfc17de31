//! Named checks with reasons. The role that knows sets them; the endpoints only read.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

/// What a check is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Failing means that the process should be restarted.
    Live,
    /// Failing means that the process cannot do its work at the moment.
    Ready,
}

/// The checks of one process. Clones share them.
#[derive(Clone, Default)]
pub struct Health {
    checks: Arc<Mutex<BTreeMap<&'static str, State>>>,
}

struct State {
    probe: Probe,
    /// Why the check fails; `None` while it passes.
    reason: Option<String>,
}

/// The handle of one check.
#[derive(Clone)]
pub struct Check {
    health: Health,
    name: &'static str,
}

/// What an endpoint answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthReport {
    /// Whether all checks pass.
    pub healthy: bool,
    /// Each check with its reason, if it fails.
    pub checks: Vec<(&'static str, Option<String>)>,
}

impl Health {
    /// No checks: alive, but not ready, until a role says more.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a check, which fails as `starting` until it is first set. The same name means the same check.
    pub fn check(&self, probe: Probe, name: &'static str) -> Check {
        let starting = || State { probe, reason: Some("starting".to_owned()) };
        self.checks.lock().entry(name).or_insert_with(starting);
        Check { health: self.clone(), name }
    }

    /// Whether the process should go on living.
    pub fn live(&self) -> HealthReport {
        self.report(|probe| probe == Probe::Live)
    }

    /// Whether the process can do its work. All checks count, and there must be one that says so.
    pub fn ready(&self) -> HealthReport {
        let mut report = self.report(|_| true);
        if !self.checks.lock().values().any(|state| state.probe == Probe::Ready) {
            report.healthy = false;
            report.checks.push(("role", Some("starting".to_owned())));
        }
        report
    }

    fn report(&self, counts: impl Fn(Probe) -> bool) -> HealthReport {
        let checks: Vec<_> = self
            .checks
            .lock()
            .iter()
            .filter(|(_, state)| counts(state.probe))
            .map(|(name, state)| (*name, state.reason.clone()))
            .collect();
        HealthReport { healthy: checks.iter().all(|(_, reason)| reason.is_none()), checks }
    }
}

impl Check {
    /// All is well.
    pub fn pass(&self) {
        self.set(None);
    }

    /// Something is wrong, and this is what.
    pub fn fail(&self, reason: impl Into<String>) {
        self.set(Some(reason.into()));
    }

    fn set(&self, reason: Option<String>) {
        if let Some(state) = self.health.checks.lock().get_mut(self.name) {
            state.reason = reason;
        }
    }
}

impl fmt::Display for HealthReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", if self.healthy { "ok" } else { "failing" })?;
        for (name, reason) in &self.checks {
            match reason {
                None => writeln!(f, "  ok       {name}")?,
                Some(reason) => writeln!(f, "  failing  {name}: {reason}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_without_checks_is_alive_and_not_ready() {
        let health = Health::new();
        assert!(health.live().healthy);
        assert!(!health.ready().healthy);
    }

    #[test]
    fn a_check_fails_until_it_is_set_and_gives_its_reason() {
        let health = Health::new();
        let raft = health.check(Probe::Ready, "raft");
        assert!(!health.ready().healthy);
        raft.pass();
        assert!(health.ready().healthy);
        raft.fail("no leader for 3 s");
        assert_eq!(health.ready().to_string(), "failing\n  failing  raft: no leader for 3 s\n");
        assert!(health.live().healthy, "readiness is not a reason to be restarted");
    }

    #[test]
    fn what_is_not_alive_is_not_ready_either() {
        let health = Health::new();
        health.check(Probe::Ready, "raft").pass();
        health.check(Probe::Live, "disk").fail("the last sync took 90 s");
        assert!(!health.live().healthy);
        assert!(!health.ready().healthy);
    }

    #[test]
    fn asking_again_for_a_check_keeps_its_state() {
        let health = Health::new();
        health.check(Probe::Ready, "raft").pass();
        health.check(Probe::Ready, "raft");
        assert!(health.ready().healthy);
    }
}
