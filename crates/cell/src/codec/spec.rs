//! Specifications of jobs.

use paceline_rules::{
    Constraint, Failures, JobKind, JobSpec, Kills, LaunchFaults, Operator, Override,
    REPLACE_AFTER_MS_DEFAULT, RunsMs, Simulate, TaskSpec, Toleration,
};
use paceline_types::OnStop;

use super::values::{index_set, pairs, read_index_set, read_pairs, read_resources, resources};
use super::{Decoded, present, proto, wrong};

/// Code of the one kind of today.
const BATCH: u32 = 0;

pub(super) fn spec(spec: &JobSpec) -> proto::JobSpec {
    let kind = match spec.kind {
        JobKind::Batch => BATCH,
    };
    proto::JobSpec {
        name: spec.name.clone(),
        kind,
        pool: spec.pool.clone(),
        tasks: spec.tasks,
        template: Some(template(&spec.template)),
        overrides: spec.overrides.iter().map(over).collect(),
        max_attempts: spec.max_attempts,
        max_running: spec.max_running,
        max_failed_tasks: spec.max_failed_tasks,
        constraints: spec.constraints.iter().map(constraint).collect(),
        tolerations: spec.tolerations.iter().map(toleration).collect(),
        labels: pairs(&spec.labels),
        replace_after: replace_after(spec.replace_after_ms),
        simulate: spec.simulate.as_ref().map(|block| Box::new(simulate(block))),
        at_most_one: spec.at_most_one,
    }
}

pub(super) fn read_spec(spec: proto::JobSpec) -> Decoded<JobSpec> {
    if spec.kind != BATCH {
        return Err(wrong("kind", "a kind of job that this build knows"));
    }
    Ok(JobSpec {
        name: spec.name,
        kind: JobKind::Batch,
        pool: spec.pool,
        tasks: spec.tasks,
        template: read_template(present("template", spec.template)?),
        overrides: spec.overrides.into_iter().map(read_over).collect::<Decoded<_>>()?,
        max_attempts: spec.max_attempts,
        max_running: spec.max_running,
        max_failed_tasks: spec.max_failed_tasks,
        constraints: spec.constraints.into_iter().map(read_constraint).collect::<Decoded<_>>()?,
        tolerations: spec
            .tolerations
            .into_iter()
            .map(|toleration| Toleration { key: toleration.key, value: toleration.value })
            .collect(),
        labels: read_pairs(spec.labels),
        replace_after_ms: spec.replace_after.map_or(Some(REPLACE_AFTER_MS_DEFAULT), |after| after.ms),
        simulate: spec.simulate.as_deref().map(read_simulate),
        at_most_one: spec.at_most_one,
    })
}

/// The default takes no bytes.
fn replace_after(ms: Option<u64>) -> Option<proto::ReplaceAfter> {
    if ms == Some(REPLACE_AFTER_MS_DEFAULT) { None } else { Some(proto::ReplaceAfter { ms }) }
}

fn template(task: &TaskSpec) -> proto::TaskSpec {
    proto::TaskSpec {
        run: task.run.clone(),
        env: pairs(&task.env),
        user: task.user.clone(),
        resources: Some(resources(&task.resources)),
        cpu_limit_milli: task.cpu_limit_milli,
        time_limit_ms: task.time_limit_ms,
        grace_ms: task.grace_ms,
    }
}

fn read_template(task: proto::TaskSpec) -> TaskSpec {
    TaskSpec {
        run: task.run,
        env: read_pairs(task.env),
        user: task.user,
        resources: read_resources(&task.resources.unwrap_or_default()),
        cpu_limit_milli: task.cpu_limit_milli,
        time_limit_ms: task.time_limit_ms,
        grace_ms: task.grace_ms,
    }
}

fn simulate(block: &Simulate) -> proto::Simulate {
    let share = |permille, value| proto::SimulatedShare { permille, value };
    proto::Simulate {
        runs_from_ms: block.runs.from,
        runs_to_ms: block.runs.to,
        failures: block.failures.map(|of| share(of.permille, of.exit_code)),
        kills: block.kills.map(|of| share(of.permille, of.signal)),
        out_of_memory_permille: block.out_of_memory_permille,
        stop_ms: match block.on_stop {
            OnStop::EndsAfter(ms) => Some(ms),
            OnStop::Ignores => None,
        },
        launch_faults: block.launch_faults.map(|of| share(of.permille, of.times)),
        output_bytes_per_second: block.output_bytes_per_second,
    }
}

fn read_simulate(block: &proto::Simulate) -> Simulate {
    Simulate {
        runs: RunsMs { from: block.runs_from_ms, to: block.runs_to_ms },
        failures: block.failures.map(|of| Failures { permille: of.permille, exit_code: of.value }),
        kills: block.kills.map(|of| Kills { permille: of.permille, signal: of.value }),
        out_of_memory_permille: block.out_of_memory_permille,
        on_stop: block.stop_ms.map_or(OnStop::Ignores, OnStop::EndsAfter),
        launch_faults: block.launch_faults.map(|of| LaunchFaults { permille: of.permille, times: of.value }),
        output_bytes_per_second: block.output_bytes_per_second,
    }
}

fn over(over: &Override) -> proto::Override {
    proto::Override {
        tasks: Some(index_set(&over.tasks)),
        run: over.run.as_ref().map(|words| proto::Words { words: words.clone() }),
        env: pairs(&over.env),
        resources: over.resources.as_ref().map(resources),
        time_limit_ms: over.time_limit_ms,
    }
}

fn read_over(over: proto::Override) -> Decoded<Override> {
    Ok(Override {
        tasks: read_index_set(&over.tasks.unwrap_or_default())?,
        run: over.run.map(|run| run.words),
        env: read_pairs(over.env),
        resources: over.resources.as_ref().map(read_resources),
        time_limit_ms: over.time_limit_ms,
    })
}

fn constraint(term: &Constraint) -> proto::Constraint {
    let operator = match term.operator {
        Operator::In => 1,
        Operator::NotIn => 2,
        Operator::Exists => 3,
        Operator::Absent => 4,
    };
    proto::Constraint { label: term.label.clone(), operator, values: term.values.clone() }
}

fn read_constraint(term: proto::Constraint) -> Decoded<Constraint> {
    let operator = match term.operator {
        1 => Operator::In,
        2 => Operator::NotIn,
        3 => Operator::Exists,
        4 => Operator::Absent,
        _ => return Err(wrong("operator", "an operator that this build knows")),
    };
    Ok(Constraint { label: term.label, operator, values: term.values })
}

fn toleration(toleration: &Toleration) -> proto::Toleration {
    proto::Toleration { key: toleration.key.clone(), value: toleration.value.clone() }
}
