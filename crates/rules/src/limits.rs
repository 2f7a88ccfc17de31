//! The bounds of a specification. They are cell state: apply reads them from the configuration.

/// Every bound that [`crate::validate_job`] holds a job to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Tasks in one job.
    pub tasks_per_job: u32,
    /// Bytes of all overrides of a job, as stored: above this a job is better split.
    pub override_bytes: u64,
    /// Arguments of a command, its name included.
    pub arguments: u32,
    /// Bytes of one argument, value or label: the kernel refuses longer ones at exec (`MAX_ARG_STRLEN`).
    pub string_bytes: u32,
    /// Environment variables, labels, constraints, tolerations: each list on its own.
    pub list_items: u32,
    /// Attempts that may fail.
    pub max_attempts: u32,
    /// Longest grace period.
    pub grace_ms: u64,
    /// Bytes of the whole specification but its overrides.
    pub spec_bytes: u64,
}

impl Limits {
    /// No bound at all: for whoever reads a job before the cell, whose limits decide, has seen it.
    pub const NONE: Self = Self {
        tasks_per_job: u32::MAX,
        override_bytes: u64::MAX,
        arguments: u32::MAX,
        string_bytes: u32::MAX,
        list_items: u32::MAX,
        max_attempts: u32::MAX,
        grace_ms: u64::MAX,
        spec_bytes: u64::MAX,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            tasks_per_job: 1_000_000,
            override_bytes: 1 << 20,
            arguments: 1_024,
            string_bytes: 128 << 10,
            list_items: 1_024,
            max_attempts: 1_000,
            grace_ms: 3_600_000,
            spec_bytes: 512 << 10,
        }
    }
}
