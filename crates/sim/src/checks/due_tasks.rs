//! Every due task has ended, and as it should: those that exit with 0 succeeded, the others failed.

use paceline_client::v1::TaskState;

use super::Sight;
use crate::launched::Launched;
use crate::ledger::Ledger;

/// Each task of each job that nobody stopped came to the end that its exit code leads to.
pub fn due_tasks(sight: &Sight, ledger: &Ledger, _launched: &Launched) -> Vec<String> {
    let mut wrong = Vec::new();
    let records = ledger.jobs();
    for (job, tasks) in &sight.jobs {
        let Some(record) = records.get(&job.name) else { continue };
        if tasks.len() != record.tasks as usize {
            wrong.push(format!("{} has {} tasks, {} were asked for", job.name, tasks.len(), record.tasks));
        }
        let due = if record.exit == 0 { TaskState::Succeeded } else { TaskState::Failed };
        let stopped = !record.stops.is_empty();
        for task in tasks {
            let state = task.state();
            let fine = state == due || (stopped && state == TaskState::Killed);
            if !fine {
                let (name, index, node) = (&job.name, task.index, &task.node);
                let text = format!("{name}.{index} attempt {} on {node}", task.attempt);
                wrong.push(format!(
                    "{text} is {} ({:?}), {} is due",
                    state.as_str_name(),
                    task.reason(),
                    due.as_str_name()
                ));
            }
        }
    }
    wrong
}
