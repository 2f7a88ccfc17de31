//! Answers as JSON that scripts rely on, and as rows for people.

use std::collections::BTreeMap;

use paceline_client::v1;
use paceline_telemetry::certificate_ends_soon;
use serde_json::{Map, Value, json};

use super::{simulated, waiting};

/// A job's uid as it is printed and read.
pub fn uid(uid: Option<&v1::JobUid>) -> String {
    uid.map(|uid| format!("{}-{}", uid.revision, uid.ordinal)).unwrap_or_default()
}

/// The word of a code: `JOB_STATE_FAILED` is `failed`.
fn word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_ascii_lowercase()
}

pub fn job_state(state: v1::JobState) -> String {
    word(state.as_str_name(), "JOB_STATE_")
}

pub fn task_state(state: v1::TaskState) -> String {
    word(state.as_str_name(), "TASK_STATE_")
}

pub fn reason(reason: v1::Reason) -> String {
    word(reason.as_str_name(), "REASON_")
}

/// Tasks by state, in the order of a task's life.
pub fn counts(tasks: &v1::TaskCounts) -> [(&'static str, u32); 8] {
    [
        ("pending", tasks.pending),
        ("assigned", tasks.assigned),
        ("running", tasks.running),
        ("stopping", tasks.stopping),
        ("succeeded", tasks.succeeded),
        ("failed", tasks.failed),
        ("killed", tasks.killed),
        ("lost", tasks.lost),
    ]
}

/// How many tasks have ended.
pub fn ended(tasks: &v1::TaskCounts) -> u64 {
    [tasks.succeeded, tasks.failed, tasks.killed, tasks.lost].into_iter().map(u64::from).sum()
}

/// How many tasks there are.
pub fn total(tasks: &v1::TaskCounts) -> u64 {
    counts(tasks).iter().map(|(_, count)| u64::from(*count)).sum()
}

/// `{"pending": 3, …}`: every state, zeros included.
fn counts_json(tasks: &v1::TaskCounts) -> Value {
    let map: Map<String, Value> =
        counts(tasks).iter().map(|(state, count)| ((*state).to_owned(), json!(count))).collect();
    Value::Object(map)
}

/// A job; what it pretends to do only where one job was asked for.
pub fn job_json(job: &v1::JobStatus) -> Value {
    let mut json = json!({
        "name": job.name,
        "uid": uid(job.uid.as_ref()),
        "state": job_state(job.state()),
        "reason": reason(job.reason()),
        "revision": job.revision,
        "tasks": counts_json(&job.tasks.unwrap_or_default()),
        "exit_codes": job.exit_codes,
        "reasons": job.reasons,
        "submitted_unix_ms": job.submitted_unix_ms,
        "ended_unix_ms": job.ended_unix_ms,
        "submitted_revision": job.submitted_revision,
        "ended_revision": job.ended_revision,
        "retired": job.retired,
        "waiting": waiting::json(job.waiting.as_ref()),
        "silent": waiting::silent_json(job.silent.as_ref()),
    });
    // Lists come without what the jobs run, and then nothing is said of it.
    if let Some(spec) = &job.spec {
        json["simulate"] = simulated::json(spec.simulate.as_ref());
    }
    json
}

/// States with tasks in them, as in `2 running, 1 succeeded`.
pub fn counts_text(tasks: &v1::TaskCounts) -> String {
    let some: Vec<String> = counts(tasks)
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(state, count)| format!("{count} {state}"))
        .collect();
    some.join(", ")
}

/// `0 ×2, signal 9 ×1`.
pub fn ends_text(ends: &BTreeMap<String, u64>) -> String {
    let ends: Vec<String> = ends.iter().map(|(end, count)| format!("{end} ×{count}")).collect();
    if ends.is_empty() { "none yet".to_owned() } else { ends.join(", ") }
}

/// A job in full, for people.
pub fn job_rows(job: &v1::JobStatus) -> Vec<Vec<String>> {
    let tasks = job.tasks.unwrap_or_default();
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let mut rows = vec![
        row("job", job.name.clone()),
        row("uid", uid(job.uid.as_ref())),
        row("state", job_state(job.state())),
        row("tasks", format!("{} ({})", total(&tasks), counts_text(&tasks))),
        row("exit codes", ends_text(&job.exit_codes)),
    ];
    if !job.reasons.is_empty() {
        rows.push(row("reasons", ends_text(&job.reasons)));
    }
    if let Some(block) = job.spec.as_ref().and_then(|spec| spec.simulate) {
        rows.push(row("simulated", simulated::text(&block)));
    }
    if job.reason() != v1::Reason::None {
        rows.push(row("stopped", reason(job.reason())));
    }
    rows.extend(waiting::rows(job.waiting.as_ref()));
    rows.extend(waiting::silent_row(job.silent.as_ref()));
    rows
}

/// A task; fields that it does not have are left out.
pub fn task_json(task: &v1::Task) -> Value {
    let mut json = json!({
        "index": task.index,
        "state": task_state(task.state()),
        "node": (!task.node.is_empty()).then_some(&task.node),
        "attempt": task.attempt,
        "failures": task.failures,
        "reason": reason(task.reason()),
    });
    let optional = [
        ("pid", task.pid.map(Value::from)),
        ("exit_code", task.exit_code.map(Value::from)),
        ("signal", task.signal.map(Value::from)),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            json[name] = value;
        }
    }
    json
}

/// A task, for people.
pub fn task_row(task: &v1::Task) -> Vec<String> {
    let number = |value: Option<i64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
    let end = match (task.exit_code, task.signal) {
        (Some(code), _) => code.to_string(),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "-".to_owned(),
    };
    let why = match task.reason() {
        v1::Reason::None => "-".to_owned(),
        other => reason(other),
    };
    let node = if task.node.is_empty() { "-".to_owned() } else { task.node.clone() };
    let state = task_state(task.state());
    vec![
        task.index.to_string(),
        state,
        node,
        task.attempt.to_string(),
        number(task.pid.map(i64::from)),
        end,
        why,
    ]
}

/// Bytes as they are compared by eye.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn resources_json(resources: Option<&v1::Resources>) -> Value {
    let resources = resources.copied().unwrap_or_default();
    json!({"cpu_milli": resources.cpu_milli, "memory_bytes": resources.memory_bytes})
}

pub fn liveness(liveness: v1::NodeLiveness) -> String {
    match liveness {
        v1::NodeLiveness::Unspecified => "unknown".to_owned(),
        known => word(known.as_str_name(), "NODE_LIVENESS_"),
    }
}

/// A node.
pub fn node_json(node: &v1::Node) -> Value {
    let taints: Vec<Value> =
        node.taints.iter().map(|taint| json!({"key": taint.key, "value": taint.value})).collect();
    json!({
        "name": node.name,
        "id": node.id,
        "epoch": node.epoch,
        "liveness": liveness(node.liveness()),
        "silent_ms": node.silent_ms,
        "draining": node.draining,
        "shard": (!node.shard.is_empty()).then_some(&node.shard),
        "tasks": node.tasks,
        "capacity": resources_json(node.capacity.as_ref()),
        "used": resources_json(node.used.as_ref()),
        "labels": node.labels,
        "taints": taints,
        "capabilities": node.capabilities,
        "instance": hex(&node.instance),
        "boot": hex(&node.boot),
    })
}

/// Bytes in the largest unit that they fill.
fn bytes_text(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut rest, mut unit) = (bytes, 0);
    while rest >= 1024 && unit + 1 < UNITS.len() {
        rest /= 1024;
        unit += 1;
    }
    format!("{rest} {}", UNITS[unit])
}

fn milli_text(milli: u64) -> String {
    format!("{}.{:03}", milli / 1_000, milli % 1_000).trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A node, for people.
pub fn node_row(node: &v1::Node) -> Vec<String> {
    let (capacity, used) = (node.capacity.unwrap_or_default(), node.used.unwrap_or_default());
    let state = if node.draining { "draining".to_owned() } else { liveness(node.liveness()) };
    vec![
        node.name.clone(),
        state,
        if node.shard.is_empty() { "-".to_owned() } else { node.shard.clone() },
        node.tasks.to_string(),
        format!("{} / {}", milli_text(used.cpu_milli), milli_text(capacity.cpu_milli)),
        format!("{} / {}", bytes_text(used.memory_bytes), bytes_text(capacity.memory_bytes)),
    ]
}

/// What the leader alone counts; a dash where another master answered.
pub fn count_text(count: Option<u32>) -> String {
    count.map_or_else(|| "-".to_owned(), |count| count.to_string())
}

/// A shard's link to the leader; a dash where another master answered.
pub fn link(shard: &v1::Shard) -> &'static str {
    match shard.connected {
        Some(true) => "connected",
        Some(false) => "not connected",
        None => "-",
    }
}

/// A shard; null where the master that answered does not know.
pub fn shard_json(shard: &v1::Shard) -> Value {
    json!({
        "id": shard.id,
        "name": shard.name,
        "address": shard.address,
        "nodes": shard.nodes,
        "connected": shard.connected,
    })
}

/// The cell as a whole.
pub fn cell_json(status: &v1::CellStatusReply) -> Value {
    let master = |master: &v1::Master| {
        json!({
            "id": master.id,
            "name": master.name,
            "api": master.api_address,
            "role": word(master.role().as_str_name(), "MASTER_ROLE_"),
            "up": master.up,
            "certificate_days_left": master.certificate_days_left,
            "matched_revision": master.matched_revision,
            "snapshot_revision": master.snapshot_revision,
            "purged_revision": master.purged_revision,
        })
    };
    let digest = status.state_digest.clone().unwrap_or_default();
    let (nodes, jobs, tasks) =
        (status.nodes.unwrap_or_default(), status.jobs.unwrap_or_default(), status.tasks.unwrap_or_default());
    json!({
        "cell": status.cell,
        "leader": (!status.leader.is_empty()).then_some(&status.leader),
        "term": status.term,
        "revision": status.revision,
        "generation": status.generation,
        "feature_level": status.feature_level,
        "state_digest": {"revision": digest.revision, "digest": hex(&digest.digest)},
        "masters": status.masters.iter().map(master).collect::<Vec<_>>(),
        "shards": status.shards.iter().map(shard_json).collect::<Vec<_>>(),
        "nodes": {
            "up": nodes.up, "suspect": nodes.suspect, "unheard": nodes.unheard, "draining": nodes.draining,
            "lost": nodes.lost, "returning": nodes.returning, "total": nodes.total,
        },
        "node_loss": status.node_loss.as_ref().map(node_loss_json),
        "jobs": {
            "active": jobs.active, "stopping": jobs.stopping, "succeeded": jobs.succeeded, "failed": jobs.failed,
            "killed": jobs.killed, "retired": jobs.retired,
        },
        "tasks": {
            "pending": tasks.pending, "assigned": tasks.assigned, "running": tasks.running,
            "stopping": tasks.stopping, "succeeded": tasks.succeeded, "failed": tasks.failed,
            "killed": tasks.killed, "lost": tasks.lost,
        },
        "log_bytes": status.log_bytes,
        "task_transitions": status.task_transitions,
        "log_bytes_per_transition_milli": status.log_bytes_per_transition_milli,
        "answered_by": status.answered_by,
        "cell_clock_ms": status.cell_clock_ms,
    })
}

/// What holds the write-off of silent nodes back.
fn node_loss_json(loss: &v1::NodeLoss) -> Value {
    let brake = loss.brake.as_ref().map(|brake| {
        json!({
            "on_ms": brake.on_ms, "cause": brake.cause, "silent": brake.silent,
            "written_off": brake.written_off, "per_minute": brake.per_minute,
        })
    });
    json!({"report_round_left_ms": loss.report_round_left_ms, "no_shard": loss.no_shard, "brake": brake})
}

/// The same in lines, none where nothing does.
fn node_loss_texts(loss: &v1::NodeLoss) -> Vec<String> {
    let round = loss.report_round_left_ms.map(|left_ms| {
        format!("no node is written off before all were heard, or {} s have passed", left_ms.div_ceil(1_000))
    });
    let no_shard = loss.no_shard.then(|| "no shard is connected: no node is heard or written off".to_owned());
    let brake = loss.brake.as_ref().map(|brake| {
        format!(
            "THE BRAKE IS ON for {} s: {} fell silent together, {} nodes since; {} written off, at most {} a minute; \
             if they are gone for good: paceline cell brake release",
            brake.on_ms / 1_000,
            brake.cause,
            brake.silent,
            brake.written_off,
            brake.per_minute,
        )
    });
    [brake, no_shard, round].into_iter().flatten().collect()
}

/// The cell as a whole, for people.
pub fn cell_rows(status: &v1::CellStatusReply) -> Vec<Vec<String>> {
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let leader = if status.leader.is_empty() { "none known".to_owned() } else { status.leader.clone() };
    let (nodes, tasks) = (status.nodes.unwrap_or_default(), status.tasks.unwrap_or_default());
    let digest = status.state_digest.as_ref().map(|digest| hex(&digest.digest)).unwrap_or_default();
    let digest_of = status.state_digest.as_ref().map_or(0, |digest| digest.revision);
    let mut rows = vec![
        row("cell", format!("{} (answered by {})", status.cell, status.answered_by)),
        row("leader", format!("{leader}, term {}", status.term)),
        row("revision", status.revision.to_string()),
        row("digest", format!("{} at revision {digest_of}", digest.get(..16).unwrap_or(&digest))),
    ];
    for master in &status.masters {
        let certificate = master.certificate_days_left.map(certificate_text).unwrap_or_default();
        let role = match master.up {
            Some(false) => "down".to_owned(),
            _ => word(master.role().as_str_name(), "MASTER_ROLE_"),
        };
        rows.push(row("master", format!("{} {role} at {}{certificate}", master.name, master.api_address)));
    }
    for shard in &status.shards {
        let (link, on) = (link(shard), count_text(shard.nodes));
        rows.push(row("shard", format!("{} at {}, {link}, {on} nodes", shard.name, shard.address)));
    }
    rows.push(row(
        "nodes",
        format!(
            "{} up, {} suspect, {} lost, {} returning, {} not heard yet, {} draining, {} in all",
            count_text(nodes.up),
            count_text(nodes.suspect),
            count_text(nodes.lost),
            count_text(nodes.returning),
            count_text(nodes.unheard),
            nodes.draining,
            nodes.total
        ),
    ));
    rows.extend(status.node_loss.iter().flat_map(node_loss_texts).map(|text| row("node loss", text)));
    let jobs = status.jobs.unwrap_or_default();
    rows.push(row(
        "jobs",
        format!(
            "{} active, {} stopping, {} ended, {} retired",
            jobs.active,
            jobs.stopping,
            jobs.succeeded + jobs.failed + jobs.killed,
            jobs.retired
        ),
    ));
    rows.push(row(
        "tasks",
        format!(
            "{} pending, {} assigned, {} running, {} stopping",
            tasks.pending, tasks.assigned, tasks.running, tasks.stopping
        ),
    ));
    let per = milli_text(status.log_bytes_per_transition_milli);
    rows.push(row(
        "log",
        format!("{} bytes, {} task transitions, {per} bytes each", status.log_bytes, status.task_transitions),
    ));
    rows
}

/// When a master's certificate ends, with a warning from 60 days on.
fn certificate_text(days_left: i64) -> String {
    let text = match days_left {
        0.. => format!(", certificate ends in {days_left} days"),
        _ => format!(", certificate ended {} days ago", -days_left),
    };
    if certificate_ends_soon(days_left) { format!("{text} (warning: issue another)") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_reads_as_scripts_expect() {
        let job = v1::JobStatus {
            name: "j".into(),
            uid: Some(v1::JobUid { revision: 7, ordinal: 0 }),
            state: v1::JobState::Failed.into(),
            revision: 12,
            tasks: Some(v1::TaskCounts { succeeded: 1, failed: 2, ..Default::default() }),
            exit_codes: [("0".to_owned(), 1), ("signal 9".to_owned(), 2)].into(),
            ..Default::default()
        };
        let json = job_json(&job);
        assert_eq!(json["uid"], "7-0");
        assert_eq!(json["state"], "failed");
        assert_eq!(json["tasks"].as_object().map(Map::len), Some(8));
        assert_eq!(json["exit_codes"]["signal 9"], 2);
        assert_eq!(total(&job.tasks.unwrap_or_default()), 3);
        assert_eq!(counts_text(&job.tasks.unwrap_or_default()), "1 succeeded, 2 failed");
    }

    #[test]
    fn a_cell_reads_with_its_jobs_and_those_that_have_retired() {
        let jobs = v1::JobCounts { active: 1, stopping: 2, succeeded: 3, failed: 4, killed: 5, retired: 6 };
        let status = v1::CellStatusReply { jobs: Some(jobs), ..Default::default() };
        let rows: Vec<String> = cell_rows(&status).into_iter().map(|row| row.join(" ")).collect();
        assert!(rows.contains(&"jobs 1 active, 2 stopping, 12 ended, 6 retired".to_owned()), "{rows:?}");
    }

    #[test]
    fn a_certificate_that_ends_soon_has_a_warning() {
        assert_eq!(certificate_text(61), ", certificate ends in 61 days");
        assert_eq!(certificate_text(60), ", certificate ends in 60 days (warning: issue another)");
        assert_eq!(certificate_text(-1), ", certificate ended 1 days ago (warning: issue another)");
    }

    #[test]
    fn what_a_follower_cannot_know_is_not_shown_as_zero() {
        let shard = v1::Shard { name: "s1".into(), ..v1::Shard::default() };
        let counts = v1::NodeCounts { total: 3, ..v1::NodeCounts::default() };
        let status = v1::CellStatusReply {
            shards: vec![shard],
            nodes: Some(counts),
            ..v1::CellStatusReply::default()
        };
        let json = cell_json(&status);
        assert_eq!((&json["nodes"]["up"], &json["nodes"]["total"]), (&Value::Null, &json!(3)));
        assert_eq!(
            (&json["shards"][0]["connected"], &json["shards"][0]["nodes"]),
            (&Value::Null, &Value::Null)
        );
        let text: Vec<String> = cell_rows(&status).into_iter().map(|row| row.join(" ")).collect();
        assert!(text.iter().any(|row| row.contains("- up, - suspect")), "{text:?}");
        assert!(text.iter().any(|row| row.ends_with(", -, - nodes")), "{text:?}");
    }

    #[test]
    fn quantities_read_well() {
        assert_eq!(milli_text(1_500), "1.5");
        assert_eq!(milli_text(2_000), "2");
        assert_eq!(bytes_text(8 << 20), "8 MiB");
    }
}
