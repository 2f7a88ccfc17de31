//! Job specifications.
//!
//! Reading finds every fault of shape at once: numbers that are no kind or operator, index sets that are none.
//! A message that is absent reads as an empty one, which validation then refuses by the name of the field
//! that a person would have written; [`checked_spec`] does both, so that a caller hears all faults in one answer.

use paceline_rules::{
    Constraint, FAULTS_MAX, GRACE_MS_DEFAULT, JobKind, JobSpec, Limits, Operator, Override,
    REPLACE_AFTER_MS_DEFAULT, TaskSpec, Violation, validate_job,
};
use paceline_types::{IndexSet, Resources, TaskIndex};
use prost::Message;

use crate::fault::DecodeError;
use crate::states::operator;
use crate::v1;

/// Why bytes are not a specification.
#[derive(Debug, thiserror::Error)]
pub enum SpecDecodeError {
    /// They are not a message at all.
    #[error("the specification's bytes are damaged")]
    Malformed(#[source] prost::DecodeError),
    /// They are one with faults.
    #[error("the specification has {} faults, first {}", .0.len(), .0[0])]
    Faulty(Vec<Violation>),
}

/// The bytes of a specification, as links carry them.
#[must_use]
pub fn encode_spec(spec: &JobSpec) -> Vec<u8> {
    v1::JobSpec::from(spec).encode_to_vec()
}

/// Reads the bytes of a specification. Limits are not looked at: what was committed holds.
///
/// # Errors
/// [`SpecDecodeError`].
pub fn decode_spec(bytes: &[u8]) -> Result<JobSpec, SpecDecodeError> {
    let spec = v1::JobSpec::decode(bytes).map_err(SpecDecodeError::Malformed)?;
    spec.try_into().map_err(SpecDecodeError::Faulty)
}

/// Reads and validates a specification.
///
/// # Errors
/// All faults, those of shape first.
pub fn checked_spec(spec: v1::JobSpec, limits: &Limits) -> Result<JobSpec, Vec<Violation>> {
    let (spec, mut faults) = read(spec);
    if let Err(more) = validate_job(&spec, limits) {
        faults.extend(more);
    }
    if faults.is_empty() { Ok(spec) } else { Err(faults) }
}

impl TryFrom<v1::JobSpec> for JobSpec {
    type Error = Vec<Violation>;
    fn try_from(spec: v1::JobSpec) -> Result<Self, Vec<Violation>> {
        let (spec, faults) = read(spec);
        if faults.is_empty() { Ok(spec) } else { Err(faults) }
    }
}

/// Faults of shape, each replaced by something that validation will not complain about a second time.
#[derive(Default)]
struct Faults {
    found: Vec<Violation>,
    left_out: usize,
}

impl Faults {
    fn or<T>(&mut self, read: Result<T, DecodeError>, instead: T) -> T {
        read.unwrap_or_else(|fault| {
            if self.found.len() < FAULTS_MAX {
                self.found.push(fault.into());
            } else {
                self.left_out += 1;
            }
            instead
        })
    }

    fn done(mut self) -> Vec<Violation> {
        if self.left_out > 0 {
            let value = format!("{} faults of shape", self.left_out);
            let (field, expected) = ("and more".to_owned(), "none".to_owned());
            self.found.push(Violation { field, value, expected });
        }
        self.found
    }
}

fn read(spec: v1::JobSpec) -> (JobSpec, Vec<Violation>) {
    let mut faults = Faults::default();
    let kind = faults.or(kind(spec.kind), JobKind::Batch);
    let constraints = spec.constraints.into_iter().enumerate();
    let constraints = constraints.map(|(at, term)| constraint(&mut faults, at, term)).collect();
    let overrides = spec.overrides.into_iter().enumerate();
    let overrides = overrides.map(|(at, over)| override_of(&mut faults, at, over)).collect();
    let spec = JobSpec {
        name: spec.name,
        kind,
        pool: spec.pool,
        tasks: spec.tasks,
        template: template(spec.template.unwrap_or_default()),
        overrides,
        max_attempts: spec.max_attempts,
        max_running: spec.max_running,
        max_failed_tasks: spec.max_failed_tasks,
        constraints,
        tolerations: spec.tolerations.into_iter().map(Into::into).collect(),
        labels: spec.labels,
        replace_after_ms: spec.replace_after.map_or(Some(REPLACE_AFTER_MS_DEFAULT), |after| after.ms),
        simulate: spec.simulate.map(Into::into),
        at_most_one: spec.at_most_one,
    };
    (spec, faults.done())
}

fn kind(code: i32) -> Result<JobKind, DecodeError> {
    match v1::JobKind::try_from(code) {
        Ok(v1::JobKind::Batch) => Ok(JobKind::Batch),
        Ok(v1::JobKind::Unspecified) | Err(_) => Err(DecodeError::new("kind", code, "1: batch")),
    }
}

fn template(task: v1::TaskSpec) -> TaskSpec {
    TaskSpec {
        run: task.run,
        env: task.env,
        user: task.user,
        resources: task.resources.map_or(Resources::ZERO, Into::into),
        cpu_limit_milli: task.cpu_limit_milli,
        time_limit_ms: task.time_limit_ms,
        grace_ms: task.grace_ms.unwrap_or(GRACE_MS_DEFAULT),
    }
}

fn constraint(faults: &mut Faults, at: usize, term: v1::Constraint) -> Constraint {
    let instead = if term.values.is_empty() { Operator::Exists } else { Operator::In };
    let operator = operator(&format!("constraints[{at}].operator"), term.operator);
    Constraint { label: term.label, operator: faults.or(operator, instead), values: term.values }
}

fn override_of(faults: &mut Faults, at: usize, over: v1::Override) -> Override {
    let tasks = IndexSet::try_from(over.tasks.unwrap_or_default());
    let tasks = tasks.map_err(|fault| fault.within(&format!("overrides[{at}].tasks")));
    Override {
        tasks: faults.or(tasks, [TaskIndex(0)].into_iter().collect()),
        run: over.run.map(|line| line.words),
        env: over.env,
        resources: over.resources.map(Into::into),
        time_limit_ms: over.time_limit_ms,
    }
}

impl From<JobSpec> for v1::JobSpec {
    fn from(spec: JobSpec) -> Self {
        let kind = match spec.kind {
            JobKind::Batch => v1::JobKind::Batch,
        };
        Self {
            name: spec.name,
            kind: kind.into(),
            pool: spec.pool,
            tasks: spec.tasks,
            template: Some(spec.template.into()),
            overrides: spec.overrides.into_iter().map(Into::into).collect(),
            max_attempts: spec.max_attempts,
            max_running: spec.max_running,
            max_failed_tasks: spec.max_failed_tasks,
            constraints: spec.constraints.into_iter().map(Into::into).collect(),
            tolerations: spec.tolerations.into_iter().map(Into::into).collect(),
            labels: spec.labels,
            replace_after: replace_after(spec.replace_after_ms),
            simulate: spec.simulate.map(Into::into),
            at_most_one: spec.at_most_one,
        }
    }
}

/// The default takes no bytes.
fn replace_after(ms: Option<u64>) -> Option<v1::ReplaceAfter> {
    if ms == Some(REPLACE_AFTER_MS_DEFAULT) { None } else { Some(v1::ReplaceAfter { ms }) }
}

impl From<&JobSpec> for v1::JobSpec {
    fn from(spec: &JobSpec) -> Self {
        spec.clone().into()
    }
}

impl From<TaskSpec> for v1::TaskSpec {
    fn from(task: TaskSpec) -> Self {
        Self {
            run: task.run,
            env: task.env,
            user: task.user,
            resources: Some(task.resources.into()),
            cpu_limit_milli: task.cpu_limit_milli,
            time_limit_ms: task.time_limit_ms,
            grace_ms: Some(task.grace_ms),
        }
    }
}

impl From<Override> for v1::Override {
    fn from(over: Override) -> Self {
        Self {
            tasks: Some(over.tasks.into()),
            run: over.run.map(|words| v1::CommandLine { words }),
            env: over.env,
            resources: over.resources.map(Into::into),
            time_limit_ms: over.time_limit_ms,
        }
    }
}

impl From<Constraint> for v1::Constraint {
    fn from(term: Constraint) -> Self {
        Self { label: term.label, operator: v1::Operator::from(term.operator).into(), values: term.values }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faulty() -> v1::JobSpec {
        let mut spec = v1::JobSpec::from(JobSpec::batch("Hello", 3, &["/bin/true"], Resources::new(10, 10)));
        spec.kind = 7;
        spec.constraints =
            vec![v1::Constraint { label: "rack".into(), operator: 0, values: vec!["a".into()] }];
        let tasks = Some(v1::IndexSet { ranges: vec![1] });
        spec.overrides = vec![v1::Override { tasks, ..v1::Override::default() }];
        spec
    }

    #[test]
    fn all_faults_of_shape_are_found_at_once() {
        let faults = JobSpec::try_from(faulty()).expect_err("refused");
        let fields: Vec<_> = faults.iter().map(|fault| fault.field.as_str()).collect();
        assert_eq!(fields, ["kind", "constraints[0].operator", "overrides[0].tasks.ranges"]);
        assert_eq!(faults[0].to_string(), "kind: `7`: expected 1: batch");
    }

    #[test]
    fn faults_of_shape_and_of_rules_come_in_one_answer_and_none_twice() {
        let faults = checked_spec(faulty(), &Limits::default()).expect_err("refused");
        let fields: Vec<_> = faults.iter().map(|fault| fault.field.as_str()).collect();
        assert_eq!(fields, ["kind", "constraints[0].operator", "overrides[0].tasks.ranges", "name"]);
    }

    #[test]
    fn a_small_message_with_many_faults_gives_a_bounded_answer() {
        let mut spec = faulty();
        spec.overrides =
            vec![
                v1::Override { tasks: Some(v1::IndexSet { ranges: vec![1] }), ..Default::default() };
                100_000
            ];
        let faults = checked_spec(spec, &Limits::default()).expect_err("refused");
        assert!(faults.len() <= 2 * (FAULTS_MAX + 1), "{}", faults.len());
        assert!(
            faults.iter().any(|fault| fault.value == format!("{} faults of shape", 100_002 - FAULTS_MAX))
        );
    }

    #[test]
    fn what_is_absent_is_refused_by_the_name_in_a_job_file() {
        let bare =
            v1::JobSpec { name: "j".into(), kind: 1, pool: "/".into(), tasks: 1, ..Default::default() };
        let faults = checked_spec(bare, &Limits::default()).expect_err("refused");
        let fields: Vec<_> = faults.iter().map(|fault| fault.field.as_str()).collect();
        assert_eq!(fields, ["run", "resources.cpu", "resources.memory", "max_attempts"]);
    }

    #[test]
    fn damaged_bytes_are_refused() {
        assert!(matches!(decode_spec(b"\xff\xff"), Err(SpecDecodeError::Malformed(_))));
        assert!(matches!(decode_spec(b""), Err(SpecDecodeError::Faulty(_))));
    }
}
