//! Whether every task of a job was done once and ended as it had to. Pure: the cell's answers in, violations out.

use paceline_client::v1;

/// Violations of one kind that are listed; a job that went wrong altogether would fill the report.
const LISTED_MAX: usize = 10;

/// What the comparison found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskVerdict {
    /// Tasks that needed more than one attempt.
    pub attempts_above_one: usize,
    /// What is wrong, in words.
    pub violations: Vec<String>,
}

/// Holds all tasks of a job against how each must have ended: in attempt 1, with this exit code.
pub fn hold(count: u32, tasks: &[v1::Task], exit_code: impl Fn(u32) -> i32) -> TaskVerdict {
    let mut wrong = Vec::new();
    if tasks.len() != count as usize {
        wrong.push(format!("{} tasks are listed, the job has {count}", tasks.len()));
    }
    for (position, task) in (0..).zip(tasks) {
        let code = exit_code(task.index);
        let state = if code == 0 { v1::TaskState::Succeeded } else { v1::TaskState::Failed };
        if task.index != position {
            wrong.push(format!("task {} stands where {position} was expected", task.index));
        }
        if task.state() != state || task.exit_code != Some(code) {
            let (is, ended) = (task.state().as_str_name(), task.exit_code);
            wrong.push(format!(
                "task {} is {is} with exit code {ended:?} (reason {}), expected {code}",
                task.index,
                task.reason().as_str_name()
            ));
        }
        if task.attempt != 1 {
            wrong.push(format!("task {} ended in attempt {}", task.index, task.attempt));
        }
    }
    let attempts_above_one = tasks.iter().filter(|task| task.attempt > 1).count();
    TaskVerdict { attempts_above_one, violations: cut(wrong) }
}

/// Holds a job's counts against how many tasks must have succeeded; the others must have failed.
pub fn hold_counts(count: u32, succeeded: u32, counts: &v1::TaskCounts) -> Vec<String> {
    let v1::TaskCounts { pending, assigned, running, stopping, succeeded: done, failed, killed, lost } =
        *counts;
    let sum: u64 =
        [pending, assigned, running, stopping, done, failed, killed, lost].map(u64::from).iter().sum();
    let mut wrong = Vec::new();
    if sum != u64::from(count) {
        wrong.push(format!("the counts of the job add up to {sum}, it has {count} tasks"));
    }
    if done != succeeded || failed != count.saturating_sub(succeeded) {
        let expected = count.saturating_sub(succeeded);
        wrong
            .push(format!("{done} tasks succeeded and {failed} failed, expected {succeeded} and {expected}"));
    }
    wrong
}

fn cut(mut wrong: Vec<String>) -> Vec<String> {
    let more = wrong.len().saturating_sub(LISTED_MAX);
    if more > 0 {
        wrong.truncate(LISTED_MAX);
        wrong.push(format!("and {more} more of this kind"));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(index: u32) -> v1::Task {
        let state = v1::TaskState::Succeeded.into();
        v1::Task { index, state, attempt: 1, exit_code: Some(0), ..v1::Task::default() }
    }

    #[test]
    fn tasks_that_ended_once_and_as_expected_are_fine() {
        assert_eq!(hold(2, &[task(0), task(1)], |_| 0), TaskVerdict::default());
        let failed = v1::Task { state: v1::TaskState::Failed.into(), exit_code: Some(2), ..task(1) };
        assert_eq!(
            hold(2, &[task(0), failed], |index| if index == 1 { 2 } else { 0 }),
            TaskVerdict::default()
        );
    }

    #[test]
    fn a_task_that_is_missing_repeated_run_twice_or_ended_otherwise_is_caught() {
        let cases = [
            ("1 tasks are listed", vec![task(0)]),
            ("task 0 stands where 1", vec![task(0), task(0)]),
            ("ended in attempt 2", vec![task(0), v1::Task { attempt: 2, ..task(1) }]),
            ("exit code Some(1)", vec![task(0), v1::Task { exit_code: Some(1), ..task(1) }]),
            ("TASK_STATE_LOST", vec![task(0), v1::Task { state: v1::TaskState::Lost.into(), ..task(1) }]),
        ];
        for (expected, tasks) in cases {
            let verdict = hold(2, &tasks, |_| 0);
            assert!(
                verdict.violations.iter().any(|fault| fault.contains(expected)),
                "{expected}: {verdict:?}"
            );
        }
        let twice = v1::Task { attempt: 2, ..task(1) };
        assert_eq!(hold(2, &[task(0), twice], |_| 0).attempts_above_one, 1);
    }

    #[test]
    fn counts_that_count_a_task_twice_are_caught() {
        let counts = |succeeded, failed| v1::TaskCounts { succeeded, failed, ..v1::TaskCounts::default() };
        assert!(hold_counts(3, 2, &counts(2, 1)).is_empty());
        for (succeeded, failed) in [(3, 1), (1, 1), (3, 0)] {
            assert!(!hold_counts(3, 2, &counts(succeeded, failed)).is_empty(), "{succeeded} {failed}");
        }
    }

    #[test]
    fn a_long_list_of_violations_is_cut_and_counted() {
        let verdict = hold(0, &(1..=30).map(task).collect::<Vec<_>>(), |_| 0);
        assert_eq!(verdict.violations.len(), LISTED_MAX + 1);
        assert_eq!(verdict.violations[LISTED_MAX], "and 21 more of this kind");
    }
}
