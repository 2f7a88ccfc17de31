//! What any checker found, under one type, for harnesses that only collect and print.

use thiserror::Error;

/// A broken promise, with the checker that found it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Violation {
    /// See [`crate::linearizable`].
    #[error("linearizable: {0}")]
    Linearizable(#[from] crate::linearizable::Violation),
    /// See [`crate::reads`].
    #[error("reads: {0}")]
    Reads(#[from] crate::reads::Violation),
    /// See [`crate::acknowledged`].
    #[error("acknowledged: {0}")]
    Acknowledged(#[from] crate::acknowledged::Violation),
    /// See [`crate::watch`].
    #[error("watch: {0}")]
    Watch(#[from] crate::watch::Violation),
    /// See [`crate::attempts`].
    #[error("attempts: {0}")]
    Attempts(#[from] crate::attempts::Violation),
    /// See [`crate::replicas`].
    #[error("replicas: {0}")]
    Replicas(#[from] crate::replicas::Violation),
    /// See [`crate::evictions`].
    #[error("evictions: {0}")]
    Evictions(#[from] crate::evictions::Violation),
    /// See [`crate::liveness`].
    #[error("liveness: {0}")]
    Liveness(#[from] crate::liveness::Violation),
}

impl Violation {
    /// The checker that found it: the first word of the text.
    #[must_use]
    pub const fn checker(&self) -> &'static str {
        match self {
            Self::Linearizable(_) => "linearizable",
            Self::Reads(_) => "reads",
            Self::Acknowledged(_) => "acknowledged",
            Self::Watch(_) => "watch",
            Self::Attempts(_) => "attempts",
            Self::Replicas(_) => "replicas",
            Self::Evictions(_) => "evictions",
            Self::Liveness(_) => "liveness",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use paceline_types::Term;

    #[test]
    fn a_violation_begins_with_the_name_of_its_checker() {
        let two =
            crate::replicas::Violation::TwoLeaders { term: Term(3), one: "m1".into(), other: "m2".into() };
        let violation = Violation::from(two);
        assert_eq!(violation.to_string(), "replicas: m1 and m2 both lead in term 3");
        assert!(violation.to_string().starts_with(violation.checker()));
    }
}
