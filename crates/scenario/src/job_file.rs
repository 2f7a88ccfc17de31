//! From a job file to a specification.

use paceline_rules::{
    Constraint, JobKind, JobSpec, Limits, Operator, Override, REPLACE_AFTER_MS_DEFAULT, TaskSpec, Toleration,
    validate_job,
};
use paceline_types::{IndexSet, Resources, parse_cpu_milli, parse_memory_bytes};

use crate::duration::parse_duration_ms;
use crate::fault::{Fault, Faults};
use crate::fields::{Fields, JOB_FIELDS, Reader};
use crate::simulate;
use crate::yaml::{self, At, Node};

/// From SIGTERM to SIGKILL unless the file says otherwise.
const GRACE_MS_DEFAULT: u64 = 10_000;

const CPU: &str = "thousandths of a CPU as in 250m, or CPUs as in 2 or 1.5";
const MEMORY: &str = "bytes, or with Ki Mi Gi Ti or k M G T, as in 8Mi";
pub(crate) const DURATION: &str = "a duration, as in 250ms, 30s, 5m or 2h";
const REPLACE_AFTER: &str = "a duration, as in 30s or 5m, or never";
pub(crate) const COUNT: &str = "a whole number, 0 or more";

/// Reads a job file and holds it to the limits.
///
/// # Errors
/// Every fault of the file, in the order of its lines.
pub fn read_job(text: &str, limits: &Limits) -> Result<JobSpec, Faults> {
    let root = yaml::read(text)?;
    let mut reader = Reader::default();
    let job = job(&mut reader, &root);
    let mut faults = reader.faults;
    // A field that could not be read stands at a default that would be blamed a second time: one fault per field.
    let known: Vec<String> = faults.iter().map(|fault| fault.field.clone()).collect();
    if let Err(violations) = validate_job(&job, limits) {
        for violation in violations {
            let covered = |field: &String| {
                violation.field.starts_with(field.as_str()) || field.starts_with(&violation.field)
            };
            if !known.iter().any(covered) {
                let at = place(&reader.places, &violation.field).unwrap_or(root.at);
                faults.push(Fault {
                    line: at.line,
                    column: at.column,
                    field: violation.field,
                    value: violation.value,
                    expected: violation.expected,
                });
            }
        }
    }
    faults.sort();
    if faults.is_empty() { Ok(job) } else { Err(Faults(faults)) }
}

/// Where a field stands, or else the nearest part around it that the file has.
fn place(places: &std::collections::BTreeMap<String, At>, field: &str) -> Option<At> {
    let mut path = field;
    loop {
        if let Some(at) = places.get(path) {
            return Some(*at);
        }
        path = &path[..path.rfind(['.', '['])?];
    }
}

fn job(reader: &mut Reader, root: &Node) -> JobSpec {
    let fields = reader.map(root, "", JOB_FIELDS);
    let name = fields.required("name", reader, "a name, as in `name: hello`");
    let tasks = fields.required("tasks", reader, "how many tasks, as in `tasks: 3`");
    JobSpec {
        name: name.and_then(|(node, field)| reader.text(node, &field)).unwrap_or_default(),
        kind: kind(reader, &fields),
        pool: optional(reader, &fields, "pool", |text| Ok::<_, ()>(text.to_owned()), "a path")
            .unwrap_or_else(|| "/".into()),
        tasks: tasks.and_then(|(node, field)| reader.parse(node, &field, str::parse, COUNT)).unwrap_or(0),
        template: template(reader, &fields),
        overrides: overrides(reader, &fields),
        max_attempts: optional(reader, &fields, "max_attempts", str::parse, COUNT).unwrap_or(1),
        max_running: optional(reader, &fields, "max_running", str::parse, COUNT),
        max_failed_tasks: optional(reader, &fields, "max_failed_tasks", str::parse, COUNT),
        replace_after_ms: replace_after(reader, &fields),
        at_most_one: optional(reader, &fields, "at_most_one", str::parse, "true or false").unwrap_or(false),
        constraints: constraints(reader, &fields),
        tolerations: tolerations(reader, &fields),
        labels: fields.optional("labels").map(|(node, field)| reader.pairs(node, &field)).unwrap_or_default(),
        simulate: fields.optional("simulate").map(|(node, field)| simulate::block(reader, node, &field)),
    }
}

pub(crate) fn optional<T, E>(
    reader: &mut Reader,
    fields: &Fields<'_>,
    key: &str,
    read: impl Fn(&str) -> Result<T, E>,
    expected: &str,
) -> Option<T> {
    let (node, field) = fields.optional(key)?;
    reader.parse(node, &field, read, expected)
}

/// Silence after which tasks run elsewhere; nothing is never.
fn replace_after(reader: &mut Reader, fields: &Fields<'_>) -> Option<u64> {
    let read = |text: &str| match text {
        "never" => Ok(None),
        text => parse_duration_ms(text).map(Some),
    };
    optional(reader, fields, "replace_after", read, REPLACE_AFTER).unwrap_or(Some(REPLACE_AFTER_MS_DEFAULT))
}

fn kind(reader: &mut Reader, fields: &Fields<'_>) -> JobKind {
    let read = |text: &str| if text == "batch" { Ok(JobKind::Batch) } else { Err(()) };
    optional(reader, fields, "kind", read, "batch (other kinds are not supported yet)").unwrap_or_default()
}

fn template(reader: &mut Reader, fields: &Fields<'_>) -> TaskSpec {
    let run = fields.required("run", reader, "a program and its arguments, as in [\"/bin/true\"]");
    let resources = fields.required("resources", reader, "what a task needs, as in {cpu: 10m, memory: 8Mi}");
    TaskSpec {
        run: run.map(|(node, field)| reader.texts(node, &field)).unwrap_or_default(),
        env: fields.optional("env").map(|(node, field)| reader.pairs(node, &field)).unwrap_or_default(),
        user: optional(reader, fields, "user", |text| Ok::<_, ()>(text.to_owned()), "a user name"),
        resources: resources.map(|(node, field)| resource_vector(reader, node, &field)).unwrap_or_default(),
        cpu_limit_milli: optional(reader, fields, "cpu_limit", parse_cpu_milli, CPU),
        time_limit_ms: optional(reader, fields, "time_limit", parse_duration_ms, DURATION),
        grace_ms: optional(reader, fields, "grace", parse_duration_ms, DURATION).unwrap_or(GRACE_MS_DEFAULT),
    }
}

fn resource_vector(reader: &mut Reader, node: &Node, path: &str) -> Resources {
    let fields = reader.map(node, path, &["cpu", "memory"]);
    let cpu = fields.required("cpu", reader, CPU);
    let memory = fields.required("memory", reader, MEMORY);
    Resources::new(
        cpu.and_then(|(node, field)| reader.parse(node, &field, parse_cpu_milli, CPU)).unwrap_or(0),
        memory.and_then(|(node, field)| reader.parse(node, &field, parse_memory_bytes, MEMORY)).unwrap_or(0),
    )
}

fn items<'n>(reader: &mut Reader, fields: &Fields<'n>, key: &str) -> Vec<(&'n Node, String)> {
    let Some((node, field)) = fields.optional(key) else { return Vec::new() };
    let list = reader.list(node, &field);
    list.iter().enumerate().map(|(at, item)| (item, format!("{field}[{at}]"))).collect()
}

fn overrides(reader: &mut Reader, fields: &Fields<'_>) -> Vec<Override> {
    const FIELDS: &[&str] = &["tasks", "run", "env", "resources", "time_limit"];
    const TASKS: &str = "task indices, as in 0-9,12";
    let items = items(reader, fields, "overrides");
    let read = |(node, path): (&Node, String)| {
        let fields = reader.map(node, &path, FIELDS);
        let tasks = fields.required("tasks", reader, TASKS);
        Override {
            tasks: tasks
                .and_then(|(node, field)| reader.parse(node, &field, str::parse::<IndexSet>, TASKS))
                .unwrap_or_default(),
            run: fields.optional("run").map(|(node, field)| reader.texts(node, &field)),
            env: fields.optional("env").map(|(node, field)| reader.pairs(node, &field)).unwrap_or_default(),
            resources: fields
                .optional("resources")
                .map(|(node, field)| resource_vector(reader, node, &field)),
            time_limit_ms: optional(reader, &fields, "time_limit", parse_duration_ms, DURATION),
        }
    };
    items.into_iter().map(read).collect()
}

fn constraints(reader: &mut Reader, fields: &Fields<'_>) -> Vec<Constraint> {
    const FIELDS: &[&str] = &["label", "in", "not_in", "exists"];
    let items = items(reader, fields, "constraints");
    let read = |(node, path): (&Node, String)| {
        let fields = reader.map(node, &path, FIELDS);
        let label = fields.required("label", reader, "the name of a node label");
        let label = label.and_then(|(node, field)| reader.text(node, &field))?;
        let term = |operator, values| Constraint { label: label.clone(), operator, values };
        let mut terms = Vec::new();
        for (key, operator) in [("in", Operator::In), ("not_in", Operator::NotIn)] {
            if let Some((node, field)) = fields.optional(key) {
                terms.push(term(operator, reader.texts(node, &field)));
            }
        }
        if let Some(there) = optional(reader, &fields, "exists", str::parse::<bool>, "true or false") {
            terms.push(term(if there { Operator::Exists } else { Operator::Absent }, Vec::new()));
        }
        if terms.len() != 1 {
            reader.fault(
                fields.at,
                &path,
                format!("{} comparisons", terms.len()),
                "one of in, not_in or exists",
            );
        }
        terms.pop()
    };
    items.into_iter().filter_map(read).collect()
}

fn tolerations(reader: &mut Reader, fields: &Fields<'_>) -> Vec<Toleration> {
    let items = items(reader, fields, "tolerations");
    let read = |(node, path): (&Node, String)| {
        let fields = reader.map(node, &path, &["key", "value"]);
        let key = fields.required("key", reader, "the name of a taint");
        Toleration {
            key: key.and_then(|(node, field)| reader.text(node, &field)).unwrap_or_default(),
            value: optional(reader, &fields, "value", |text| Ok::<_, ()>(text.to_owned()), "a text"),
        }
    };
    items.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        let found = read_job(text, &Limits::default()).expect_err("the file has faults");
        found.0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_smallest_useful_file_is_read() {
        let text = "name: hello\nkind: batch\npool: /\ntasks: 20000\nrun: [\"/bin/true\"]\n\
                    resources: {cpu: 10m, memory: 8Mi}\nmax_attempts: 3\n";
        let mut expected = JobSpec::batch("hello", 20_000, &["/bin/true"], Resources::new(10, 8 << 20));
        expected.max_attempts = 3;
        assert_eq!(read_job(text, &Limits::default()), Ok(expected));
    }

    #[test]
    fn every_field_is_read() {
        let job = read_job(crate::EXAMPLE, &Limits::default()).expect("the example is sound");
        assert_eq!(job.template.time_limit_ms, Some(600_000));
        assert_eq!(job.replace_after_ms, Some(120_000));
        assert_eq!(job.constraints.len(), 2);
        assert_eq!(job.overrides[0].resources, Some(Resources::new(500, 256 << 20)));
        assert_eq!(job.tolerations[0].key, "dedicated");
    }

    #[test]
    fn every_fault_is_said_at_once_with_its_place() {
        let text = "name: Hello\ntasks: many\nrun: /bin/true\nresources: {cpu: fast, memory: 8Mi, gpu: 1}\n\
                    priority: 7\nreplace_after: soon\nmax_attempts: 0\noverrides:\n  - {tasks: 7, env: {1A: x}}\ntask: 3\n";
        assert_eq!(
            faults(text),
            [
                "1:7: name: `Hello`: expected 1 to 63 characters of a-z 0-9 - . _, first and last a letter or digit",
                "2:8: tasks: `many`: expected a whole number, 0 or more",
                "3:6: run: `/bin/true`: expected a list, as in [a, b]",
                "4:18: resources.cpu: `fast`: expected thousandths of a CPU as in 250m, or CPUs as in 2 or 1.5",
                "4:37: resources.gpu: expected one of cpu, memory",
                "5:1: priority: expected no such field: it is not supported yet",
                "6:16: replace_after: `soon`: expected a duration, as in 30s or 5m, or never",
                "7:15: max_attempts: `0`: expected 1 to 1000",
                "9:13: overrides[0].tasks: `7`: expected indices of the job's tasks, 0 to 0",
                "9:26: overrides[0].env.1A: `1A`: expected a name of letters, digits and _ that does not begin with a digit",
                "10:1: task: expected one of name, kind, pool, tasks, run, env, user, resources, cpu_limit, time_limit, \
                 grace, max_attempts, max_running, max_failed_tasks, replace_after, at_most_one, constraints, tolerations, labels, \
                 simulate, overrides",
            ]
        );
    }

    #[test]
    fn tasks_on_a_silent_node_are_replaced_after_a_minute_a_named_time_or_never() {
        let read = |line: &str| {
            let text = format!("name: a\ntasks: 1\nrun: [x]\nresources: {{cpu: 1m, memory: 1}}\n{line}");
            read_job(&text, &Limits::default()).map(|job| job.replace_after_ms)
        };
        assert_eq!(read(""), Ok(Some(60_000)));
        assert_eq!(read("replace_after: 2s\n"), Ok(Some(2_000)));
        assert_eq!(read("replace_after: never\n"), Ok(None));
        let zero = read("replace_after: 0s\n").expect_err("not a time").to_string();
        assert!(zero.contains("replace_after: `0`: expected more than 0, or never"), "{zero}");
    }

    #[test]
    fn a_job_says_whether_two_of_its_attempts_may_run_at_once() {
        let read = |lines: &str| {
            let text = format!("name: a\ntasks: 1\nrun: [x]\nresources: {{cpu: 1m, memory: 1}}\n{lines}");
            read_job(&text, &Limits::default()).map(|job| job.at_most_one)
        };
        assert_eq!((read(""), read("at_most_one: false\n")), (Ok(false), Ok(false)));
        assert_eq!(read("at_most_one: true\n"), Ok(true));
        let word = read("at_most_one: yes please\n").expect_err("no word for it").to_string();
        assert!(word.contains("at_most_one: `yes please`: expected true or false"), "{word}");
        let grace =
            read("at_most_one: true\ngrace: 11s\n").expect_err("longer than the lease allows").to_string();
        assert!(grace.contains("grace: `11000 ms`: expected at most 10000 ms with at_most_one"), "{grace}");
    }

    #[test]
    fn a_missing_field_is_named() {
        let found = faults("name: a\ntasks: 1\nrun: [x]\n");
        assert_eq!(
            found,
            [
                "1:1: resources: expected what a task needs, as in {cpu: 10m, memory: 8Mi}; the field is missing"
            ]
        );
    }

    #[test]
    fn the_schema_in_the_repository_names_the_same_fields() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../ops/schema/job.schema.json");
        let text = std::fs::read_to_string(path).expect("the schema is in the repository");
        let schema: serde_json::Value = serde_json::from_str(&text).expect("the schema is JSON");
        let properties = schema["properties"].as_object().expect("the schema has properties");
        let mut named: Vec<_> = properties.keys().map(String::as_str).collect();
        let mut read = JOB_FIELDS.to_vec();
        named.sort_unstable();
        read.sort_unstable();
        assert_eq!(named, read);
    }
}
