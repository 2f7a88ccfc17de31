//! Every due task has ended, and as it should: those that exit with 0 succeeded, the others failed.

use paceline_client::v1::TaskState;

use super::Sight;
use crate::ledger::{Answer, Ledger};

/// Each task of each job that nobody stopped came to the end that its exit code leads to.
pub fn due_tasks(sight: &Sight, ledger: &Ledger) -> Vec<String> {
    let mut wrong = Vec::new();
    let records = ledger.jobs();
    for (job, tasks) in &sight.jobs {
        let Some(record) = records.get(&job.name) else { continue };
        if tasks.len() != record.tasks as usize {
            wrong.push(format!("{} has {} tasks, {} were asked for", job.name, tasks.len(), record.tasks));
        }
        let due = if record.exit == 0 { TaskState::Succeeded } else { TaskState::Failed };
        // A stop that was refused for certain excuses nothing.
        let stopped = record.stops.iter().any(|stop| matches!(stop, Answer::Done(_) | Answer::Open));
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

#[cfg(test)]
mod tests {
    use paceline_client::v1;

    use super::*;
    use crate::workload::Wanted;

    fn wrong(states: &[TaskState], exit: u8, stopped: bool) -> usize {
        let ledger = Ledger::default();
        let wanted = Wanted {
            name: "a".into(),
            tasks: 2,
            cpu_milli: 1,
            task_ms: 1,
            more_ms: 0,
            exit,
            stop_ms: None,
            replace_after_ms: 1,
        };
        ledger.submitting(&wanted);
        if stopped {
            ledger.note("a", |job| job.stops.push(Answer::Open));
        }
        let task = |state: &TaskState| v1::Task { state: (*state).into(), ..v1::Task::default() };
        let job = v1::JobStatus { name: "a".into(), ..v1::JobStatus::default() };
        let sight = Sight { jobs: vec![(job, states.iter().map(task).collect())], ..Sight::default() };
        due_tasks(&sight, &ledger).len()
    }

    #[test]
    fn tasks_end_as_their_exit_codes_say() {
        use TaskState::{Failed, Killed, Running, Succeeded};
        assert_eq!(wrong(&[Succeeded, Succeeded], 0, false), 0);
        assert_eq!(wrong(&[Failed, Failed], 3, false), 0);
        assert_eq!(wrong(&[Succeeded, Failed], 0, false), 1);
        assert_eq!(wrong(&[Succeeded, Running], 0, false), 1, "not ended");
        assert_eq!(wrong(&[Succeeded], 0, false), 1, "one is missing");
        assert_eq!(wrong(&[Succeeded, Killed], 0, false), 1, "nobody asked");
        assert_eq!(wrong(&[Succeeded, Killed], 0, true), 0);
    }
}
