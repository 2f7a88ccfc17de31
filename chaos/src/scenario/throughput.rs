//! `throughput`: a large job on a cell that nobody disturbs, and what it cost: time, processor time for each task, and
//! bytes of the leader's log for each transition of one. No small jobs run beside it: their entries would count.

use std::time::{Duration, Instant};

use anyhow::Result;
use paceline_client::v1;

use super::big::Big;
use super::{Options, checks, masters};
use crate::cell::DevCell;
use crate::cpu::Cpu;
use crate::report::{Report, Throughput};

/// The leader counts from its start on, and answers at once.
const COUNTS_WITHIN: Duration = Duration::from_secs(30);

/// Runs it, again and again up to the number asked for, until one leader led all the time: its counts are its own.
pub async fn run(cell: &DevCell, options: &Options, report: &mut Report) -> Result<()> {
    for number in 1..=options.runs {
        report.throughput = undisturbed(cell, number, options, report).await?;
        if report.throughput.is_some() {
            break;
        }
        eprintln!("job {number}: the leader changed; its counts say nothing");
    }
    if report.throughput.is_none() {
        report
            .void
            .push(format!("in each of {} jobs the leader changed, and counts are its own", options.runs));
    }
    report.digests_equal_at = checks::compare_digests(cell, &mut report.violations).await?;
    Ok(())
}

/// One job; nothing where the leader changed meanwhile.
async fn undisturbed(
    cell: &DevCell,
    number: usize,
    options: &Options,
    report: &mut Report,
) -> Result<Option<Throughput>> {
    let client = cell.client()?;
    let leader = masters::leader(cell, &client).await?;
    let at_leader = client.within(COUNTS_WITHIN).stale().at(&leader.name).await?;
    let before = at_leader.cell().status().await?;
    let cpu_before = Cpu::used(cell)?;
    let big = Big::submit(&client, &format!("big-{number}"), options.tasks).await?;
    let began = Instant::now();
    big.ends().await?;
    let seconds = began.elapsed().as_secs_f64();
    let cpu_ms_per_task = Cpu::used(cell)?.per_task(cpu_before, options.tasks);
    let after = at_leader.cell().status().await?;
    big.hold(report).await?;
    let tasks = options.tasks;
    report.tasks_per_second = Some(f64::from(tasks) / seconds);
    if !leads_still(&before, &after) || !leader.process.runs() {
        return Ok(None);
    }
    let log_bytes = after.log_bytes.saturating_sub(before.log_bytes);
    let task_transitions = after.task_transitions.saturating_sub(before.task_transitions);
    // Assigned and ended at least; running too, unless the end was the first that was heard of a task.
    let (least, most) = (2 * u64::from(tasks), 3 * u64::from(tasks));
    if !(least..=most).contains(&task_transitions) {
        report.violations.push(format!(
            "{task_transitions} transitions of {tasks} tasks that each ran once: expected {least} to {most}"
        ));
    }
    #[expect(clippy::cast_precision_loss, reason = "a ratio for people, exact up to 2^53 bytes")]
    let log_bytes_per_transition = log_bytes as f64 / task_transitions.max(1) as f64;
    Ok(Some(Throughput {
        tasks,
        seconds,
        log_bytes,
        task_transitions,
        log_bytes_per_transition,
        cpu_ms_per_task,
    }))
}

fn leads_still(before: &v1::CellStatusReply, after: &v1::CellStatusReply) -> bool {
    before.leader == after.answered_by && after.leader == after.answered_by && before.term == after.term
}
