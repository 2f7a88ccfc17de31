//! Every fault of a specification at once, each with its field, its value and what was expected.

mod simulate;

use std::fmt;

use paceline_types::{LEASE_GRACE_MS_MAX, check_name};

use crate::limits::Limits;
use crate::spec::{Constraint, JobSpec, Labels, Operator, Override, Taint, Toleration};

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field as in a job file: `overrides[3].resources.cpu`.
    pub field: String,
    /// What it holds, cut to a readable length.
    pub value: String,
    /// What would be accepted.
    pub expected: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: `{}`: expected {}", self.field, self.value, self.expected)
    }
}

/// Longest value shown in a violation, in characters.
const SHOWN_CHARS_MAX: usize = 80;

/// Faults that are told one by one; what is beyond is counted. Nobody reads more at once, and a few bytes of a hostile
/// specification must not become a megabyte of prose.
pub const FAULTS_MAX: usize = 256;
/// Bytes of all labels that one side, the agent or the operators, gives a node: they travel with every listing.
const NODE_LABELS_BYTES_MAX: usize = 64 << 10;
/// The largest CPU quota of a task: more than any machine has, little enough for every quota's arithmetic.
const CPU_LIMIT_MILLI_MAX: u64 = 100_000_000;

/// Collects faults under a field path.
#[derive(Default)]
struct Faults {
    found: Vec<Violation>,
    left_out: usize,
}

impl Faults {
    fn check(
        &mut self,
        good: bool,
        field: impl Into<String>,
        value: impl fmt::Display,
        expected: impl Into<String>,
    ) {
        if !good && self.found.len() == FAULTS_MAX {
            self.left_out += 1;
        } else if !good {
            let value = value.to_string();
            let mut shown: String = value.chars().take(SHOWN_CHARS_MAX).collect();
            if shown.len() < value.len() {
                shown.push('…');
            }
            self.found.push(Violation { field: field.into(), value: shown, expected: expected.into() });
        }
    }

    fn text(&mut self, field: &str, text: &str, limits: &Limits) {
        self.check(
            text.len() <= limits.string_bytes as usize,
            field,
            format!("{} bytes", text.len()),
            format!("at most {} bytes", limits.string_bytes),
        );
        // exec takes C strings: a NUL would cut the text short without a word.
        self.check(!text.contains('\0'), field, text.escape_default(), "a text without NUL");
    }

    fn count(&mut self, field: &str, count: usize, limit: u32) {
        self.check(
            count <= limit as usize,
            field,
            format!("{count} items"),
            format!("at most {limit} items"),
        );
    }

    fn run(&mut self, field: &str, run: &[String], limits: &Limits) {
        let named = run.first().is_some_and(|program| !program.is_empty());
        self.check(named, field, format!("{run:?}"), "a program and its arguments, as in [\"/bin/true\"]");
        self.count(field, run.len(), limits.arguments);
        for (at, word) in run.iter().enumerate() {
            self.text(&format!("{field}[{at}]"), word, limits);
        }
    }

    fn env(&mut self, field: &str, env: &Labels, limits: &Limits) {
        self.count(field, env.len(), limits.list_items);
        for (name, value) in env {
            let path = format!("{field}.{name}");
            let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
            let good = !name.is_empty() && name.bytes().all(plain) && !name.as_bytes()[0].is_ascii_digit();
            self.check(good, &path, name, "a name of letters, digits and _ that does not begin with a digit");
            let own = name.starts_with("PACELINE_");
            self.check(!own, &path, name, "a name that does not begin with PACELINE_, which is the cell's");
            self.text(&path, value, limits);
        }
    }

    fn labels(&mut self, field: &str, labels: &Labels, limits: &Limits) {
        self.count(field, labels.len(), limits.list_items);
        for (name, value) in labels {
            self.label_name(&format!("{field}.{name}"), name);
            self.text(&format!("{field}.{name}"), value, limits);
        }
    }

    fn label_name(&mut self, field: &str, name: &str) {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/');
        let good = (1..=LABEL_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(plain);
        self.check(good, field, name, LABEL_NAME_FORM);
    }
}

/// Longest label name, in bytes.
const LABEL_NAME_BYTES_MAX: usize = 128;
/// The form of label and taint names.
const LABEL_NAME_FORM: &str = "1 to 128 letters, digits, or - _ . /";

fn done(mut faults: Faults) -> Result<(), Vec<Violation>> {
    if faults.left_out > 0 {
        faults.found.push(Violation {
            field: "and more".to_owned(),
            value: format!("{} faults", faults.left_out),
            expected: "none".to_owned(),
        });
    }
    if faults.found.is_empty() { Ok(()) } else { Err(faults.found) }
}

/// Finds every fault of a job.
///
/// # Errors
/// All violations, in the order of the fields of a job file.
pub fn validate_job(job: &JobSpec, limits: &Limits) -> Result<(), Vec<Violation>> {
    let mut faults = Faults::default();
    if let Err(wrong) = check_name("job name", &job.name) {
        faults.check(false, "name", &job.name, wrong.expected);
    }
    faults.check(job.pool == "/", "pool", &job.pool, "/ (the root pool; other pools are not supported yet)");
    let tasks = 1..=limits.tasks_per_job;
    faults.check(tasks.contains(&job.tasks), "tasks", job.tasks, format!("1 to {}", limits.tasks_per_job));
    template(&mut faults, job, limits);
    let attempts = 1..=limits.max_attempts;
    faults.check(
        attempts.contains(&job.max_attempts),
        "max_attempts",
        job.max_attempts,
        format!("1 to {}", limits.max_attempts),
    );
    faults.check(job.replace_after_ms != Some(0), "replace_after", 0, "more than 0, or never");
    faults.count("constraints", job.constraints.len(), limits.list_items);
    for (at, term) in job.constraints.iter().enumerate() {
        constraint(&mut faults, &format!("constraints[{at}]"), term, limits);
    }
    faults.count("tolerations", job.tolerations.len(), limits.list_items);
    for (at, toleration) in job.tolerations.iter().enumerate() {
        faults.label_name(&format!("tolerations[{at}].key"), &toleration.key);
        if let Some(value) = &toleration.value {
            faults.text(&format!("tolerations[{at}].value"), value, limits);
        }
    }
    faults.labels("labels", &job.labels, limits);
    if let Some(block) = &job.simulate {
        simulate::simulate(&mut faults, block);
    }
    for (at, over) in job.overrides.iter().enumerate() {
        override_of(&mut faults, &format!("overrides[{at}]"), over, job, limits);
    }
    sizes(&mut faults, job, limits);
    done(faults)
}

fn template(faults: &mut Faults, job: &JobSpec, limits: &Limits) {
    let task = &job.template;
    faults.run("run", &task.run, limits);
    faults.env("env", &task.env, limits);
    if let Some(user) = &task.user {
        faults.check(!user.is_empty() && user.len() <= 32, "user", user, "a user name of 1 to 32 bytes");
        faults.text("user", user, limits);
    }
    resources(faults, "resources", task.resources.cpu_milli(), task.resources.memory_bytes());
    if let Some(limit) = task.cpu_limit_milli {
        let expected = format!("1m to {CPU_LIMIT_MILLI_MAX}m");
        faults.check((1..=CPU_LIMIT_MILLI_MAX).contains(&limit), "cpu_limit", format!("{limit}m"), expected);
    }
    faults.check(task.time_limit_ms != Some(0), "time_limit", 0, "more than 0");
    let grace = format!("at most {} ms", limits.grace_ms);
    faults.check(task.grace_ms <= limits.grace_ms, "grace", format!("{} ms", task.grace_ms), grace);
    let fits = !job.at_most_one || task.grace_ms <= LEASE_GRACE_MS_MAX;
    let grace = format!("at most {LEASE_GRACE_MS_MAX} ms with at_most_one: it is taken from the lease");
    faults.check(fits, "grace", format!("{} ms", task.grace_ms), grace);
}

fn resources(faults: &mut Faults, field: &str, cpu_milli: u64, memory_bytes: u64) {
    faults.check(cpu_milli > 0, format!("{field}.cpu"), cpu_milli, "more than 0, as in 10m");
    faults.check(memory_bytes > 0, format!("{field}.memory"), memory_bytes, "more than 0, as in 8Mi");
}

fn constraint(faults: &mut Faults, field: &str, term: &Constraint, limits: &Limits) {
    faults.label_name(&format!("{field}.label"), &term.label);
    faults.count(&format!("{field}.values"), term.values.len(), limits.list_items);
    let compares = matches!(term.operator, Operator::In | Operator::NotIn);
    let expected = if compares { "at least one value" } else { "no values" };
    faults.check(
        compares != term.values.is_empty(),
        format!("{field}.values"),
        format!("{:?}", term.values),
        expected,
    );
    for value in &term.values {
        faults.text(&format!("{field}.values"), value, limits);
    }
}

fn override_of(faults: &mut Faults, field: &str, over: &Override, job: &JobSpec, limits: &Limits) {
    let inside = over.tasks.last().is_some_and(|last| last < job.tasks);
    let expected = format!("indices of the job's tasks, 0 to {}", job.tasks.saturating_sub(1));
    faults.check(inside, format!("{field}.tasks"), &over.tasks, expected);
    if let Some(run) = &over.run {
        faults.run(&format!("{field}.run"), run, limits);
    }
    faults.env(&format!("{field}.env"), &over.env, limits);
    if let Some(need) = &over.resources {
        resources(faults, &format!("{field}.resources"), need.cpu_milli(), need.memory_bytes());
    }
    faults.check(over.time_limit_ms != Some(0), format!("{field}.time_limit"), 0, "more than 0");
}

/// Bytes that lists of texts take, near enough for a bound.
fn text_bytes(run: &[String], env: &Labels) -> u64 {
    let words: usize = run.iter().map(|word| word.len() + 4).sum();
    let pairs: usize = env.iter().map(|(name, value)| name.len() + value.len() + 8).sum();
    (words + pairs) as u64
}

fn sizes(faults: &mut Faults, job: &JobSpec, limits: &Limits) {
    let over: u64 = job.overrides.iter().map(override_bytes).sum();
    faults.check(
        over <= limits.override_bytes,
        "overrides",
        format!("{over} bytes"),
        format!("at most {} bytes in all", limits.override_bytes),
    );
    let term_bytes = |term: &Constraint| {
        term.label.len() + 8 + term.values.iter().map(|value| value.len() + 4).sum::<usize>()
    };
    let toleration_bytes =
        |toleration: &Toleration| toleration.key.len() + toleration.value.as_ref().map_or(0, String::len) + 8;
    let terms = job.constraints.iter().map(term_bytes).sum::<usize>()
        + job.tolerations.iter().map(toleration_bytes).sum::<usize>();
    let own = text_bytes(&job.template.run, &job.template.env) + text_bytes(&[], &job.labels) + terms as u64;
    let expected = format!(
        "at most {} bytes of command, environment, labels, constraints and tolerations",
        limits.spec_bytes
    );
    faults.check(own <= limits.spec_bytes, "job", format!("{own} bytes"), expected);
}

fn override_bytes(over: &Override) -> u64 {
    let indices = over.tasks.ranges().len() as u64 * 10;
    16 + indices + text_bytes(over.run.as_deref().unwrap_or_default(), &over.env)
}

/// Finds every fault of node labels.
///
/// # Errors
/// All violations.
pub fn validate_labels(field: &str, labels: &Labels, limits: &Limits) -> Result<(), Vec<Violation>> {
    let mut faults = Faults::default();
    faults.labels(field, labels, limits);
    let bytes: usize = labels.iter().map(|(name, value)| name.len() + value.len()).sum();
    let expected = format!("at most {NODE_LABELS_BYTES_MAX} bytes in all");
    faults.check(bytes <= NODE_LABELS_BYTES_MAX, field, format!("{bytes} bytes"), expected);
    done(faults)
}

/// Finds every fault of a taint.
///
/// # Errors
/// All violations.
pub fn validate_taint(taint: &Taint, limits: &Limits) -> Result<(), Vec<Violation>> {
    let mut faults = Faults::default();
    faults.label_name("taint.key", &taint.key);
    faults.text("taint.value", &taint.value, limits);
    done(faults)
}

#[cfg(test)]
mod tests {
    use super::*;
    use paceline_types::Resources;

    fn fields(job: &JobSpec) -> Vec<String> {
        match validate_job(job, &Limits::default()) {
            Ok(()) => Vec::new(),
            Err(found) => found.into_iter().map(|violation| violation.field).collect(),
        }
    }

    #[test]
    fn a_plain_job_has_no_fault() {
        assert!(
            fields(&JobSpec::batch("hello", 20_000, &["/bin/true"], Resources::new(10, 8 << 20))).is_empty()
        );
    }

    #[test]
    fn all_faults_are_found_at_once() {
        let mut job = JobSpec::batch("Hello", 0, &[], Resources::ZERO);
        job.pool = "/science".into();
        job.max_attempts = 0;
        job.template.env =
            [("PACELINE_JOB".to_owned(), "x".to_owned()), ("1a".to_owned(), "\0".to_owned())].into();
        job.constraints =
            vec![Constraint { label: String::new(), operator: Operator::In, values: Vec::new() }];
        job.overrides = vec![Override { tasks: "5".parse().expect("valid"), ..Override::default() }];
        assert_eq!(
            fields(&job),
            [
                "name",
                "pool",
                "tasks",
                "run",
                "env.1a",
                "env.1a",
                "env.PACELINE_JOB",
                "resources.cpu",
                "resources.memory",
                "max_attempts",
                "constraints[0].label",
                "constraints[0].values",
                "overrides[0].tasks",
            ]
        );
    }

    #[test]
    fn faults_beyond_the_bound_are_counted() {
        let mut job = JobSpec::batch("j", 1, &["/bin/true"], Resources::new(1, 1));
        job.overrides = vec![Override::default(); 10_000];
        let found = validate_job(&job, &Limits::default()).expect_err("empty overrides");
        assert_eq!(found.len(), FAULTS_MAX + 1);
        assert_eq!(found[FAULTS_MAX].value, "9744 faults");
    }

    #[test]
    fn tolerations_and_constraint_labels_count_as_the_specification() {
        let mut job = JobSpec::batch("j", 1, &["/bin/true"], Resources::new(1, 1));
        let toleration = |value: String| Toleration { key: "k".to_owned(), value: Some(value) };
        job.tolerations = vec![toleration("x".repeat(200_000)), toleration("a\0".to_owned())];
        assert_eq!(fields(&job), ["tolerations[0].value", "tolerations[1].value"]);
        job.tolerations = vec![toleration("x".repeat(120_000)); 5];
        assert_eq!(fields(&job), ["job"]);
        job.tolerations.clear();
        job.template.cpu_limit_milli = Some(u64::MAX);
        assert_eq!(fields(&job), ["cpu_limit"]);
    }

    #[test]
    fn the_labels_of_a_node_are_bounded_in_sum() {
        let labels = |count: usize| (0..count).map(|at| (format!("l{at}"), "x".repeat(1_000))).collect();
        assert_eq!(validate_labels("labels", &labels(60), &Limits::default()), Ok(()));
        let found = validate_labels("labels", &labels(70), &Limits::default()).expect_err("too much");
        assert_eq!(found[0].expected, "at most 65536 bytes in all");
    }

    #[test]
    fn large_overrides_are_refused_with_their_size() {
        let mut job = JobSpec::batch("j", 100, &["/bin/true"], Resources::new(1, 1));
        let big = Override {
            tasks: "0".parse().expect("valid"),
            run: Some(vec!["x".repeat(120_000)]),
            ..Override::default()
        };
        job.overrides = vec![big; 9];
        let found = validate_job(&job, &Limits::default()).expect_err("too large");
        assert_eq!(found[0].field, "overrides");
        assert!(found[0].value.starts_with("1080270 bytes"), "{}", found[0].value);
    }
}
