//! The enumerated cause of any refusal, wait, kill or end. Codes are stored: append, never renumber.

use std::fmt;

use crate::state::coded;

coded!(
    /// Why something is as it is. The word goes to scripts, [`Reason::explanation`] to people.
    Reason {
        /// Nothing to explain.
        None = 0 "none",
        /// The process exited with code 0.
        ExitedZero = 1 "exited_zero",
        /// The process exited with another code.
        ExitedNonZero = 2 "exited_non_zero",
        /// A signal ended the process that nobody of the cell sent.
        Signaled = 3 "signaled",
        /// The time limit of the specification passed.
        TimeLimit = 4 "time_limit",
        /// The kernel ended it for using more memory than it asked for.
        OutOfMemory = 5 "out_of_memory",
        /// The command could not be executed: no such program, no such user.
        LaunchFailed = 6 "launch_failed",
        /// Its supervisor died, so the task was ended too.
        SupervisorDied = 7 "supervisor_died",
        /// The machine was booted anew under it.
        NodeRebooted = 8 "node_rebooted",
        /// Someone asked to stop the job.
        JobStopped = 9 "job_stopped",
        /// More tasks of the job failed than it allows.
        TooManyFailedTasks = 10 "too_many_failed_tasks",
        /// Its node was removed.
        NodeRemoved = 11 "node_removed",
        /// Its node was replaced.
        NodeReplaced = 12 "node_replaced",
        /// Its node was written off after silence.
        NodeLost = 13 "node_lost",
        /// The agent does not know the attempt that it was assigned, and can prove that it never will.
        NotOnNode = 14 "not_on_node",
        /// No node of the cell could ever hold it.
        NoNodeFits = 15 "no_node_fits",
        /// Nodes could hold it, but they are full.
        NoFreeCapacity = 16 "no_free_capacity",
        /// No node meets the constraints.
        NoNodeMatches = 17 "no_node_matches",
        /// The job runs as many tasks as `max_running` admits.
        MaxRunning = 18 "max_running",
        /// The node takes no new work.
        NodeDraining = 19 "node_draining",
        /// Not enough CPU left on the node.
        CpuShort = 20 "cpu_short",
        /// Not enough memory left on the node.
        MemoryShort = 21 "memory_short",
        /// A label constraint is not met.
        ConstraintUnmet = 22 "constraint_unmet",
        /// The node has a taint that the task does not tolerate.
        TaintNotTolerated = 23 "taint_not_tolerated",
        /// The attempt named is not the current one.
        StaleAttempt = 24 "stale_attempt",
        /// No such job, task, node or shard.
        Unknown = 25 "unknown",
        /// The job ended or is stopping.
        JobNotActive = 26 "job_not_active",
        /// The node could not start it: no disk space, no process, no cgroup to be had.
        NodeFault = 27 "node_fault",
        /// The job only pretends to run, and the node runs what it gets.
        NodeIsReal = 28 "node_is_real",
        /// The node only pretends to run what it gets, and the job is to run.
        NodeSimulates = 29 "node_simulates",
        /// It may run only under a lease, and the lease was over.
        LeaseEnded = 30 "lease_ended",
    }
);

impl Reason {
    /// One sentence for people.
    #[must_use]
    pub const fn explanation(self) -> &'static str {
        match self {
            Self::None => "nothing to explain",
            Self::ExitedZero => "the process exited with code 0",
            Self::ExitedNonZero => "the process exited with a code other than 0",
            Self::Signaled => "a signal from outside the cell ended the process",
            Self::TimeLimit => "the time limit of the job passed",
            Self::OutOfMemory => "the task used more memory than it asked for",
            Self::LaunchFailed => "the command could not be started",
            Self::SupervisorDied => "the task's supervisor died, so the task was ended too",
            Self::NodeRebooted => "the machine was booted anew while the task ran",
            Self::JobStopped => "the job was stopped on request",
            Self::TooManyFailedTasks => "more tasks of the job failed than max_failed_tasks allows",
            Self::NodeRemoved => "the node was removed from the cell",
            Self::NodeReplaced => "the node was replaced by another machine",
            Self::NodeLost => "the node was silent for too long and was written off",
            Self::NotOnNode => "the agent does not have the attempt and never will",
            Self::NoNodeFits => "no node of the cell is large enough",
            Self::NoFreeCapacity => "every node that could hold the task is full at present",
            Self::NoNodeMatches => "no node meets the constraints of the job",
            Self::MaxRunning => "the job already runs as many tasks as max_running admits",
            Self::NodeDraining => "the node is draining and takes no new work",
            Self::CpuShort => "the node has not enough CPU left",
            Self::MemoryShort => "the node has not enough memory left",
            Self::ConstraintUnmet => "the node does not meet a label constraint",
            Self::TaintNotTolerated => "the node has a taint that the task does not tolerate",
            Self::StaleAttempt => "the attempt named is not the task's current one",
            Self::Unknown => "there is no such job, task, node or shard",
            Self::JobNotActive => "the job has ended or is stopping",
            Self::NodeFault => "the node was not able to start the task, which is not held against it",
            Self::NodeIsReal => "the job is simulated and the node runs real tasks",
            Self::NodeSimulates => "the job is a real one and the node only simulates",
            Self::LeaseEnded => "the lease without which the task must not run was over",
        }
    }

    /// Whether an attempt that ended so may have a process somewhere that nobody saw end, and a lease that is still out. Not
    /// so after a write-off: there the silence was as long as any lease.
    #[must_use]
    pub const fn leaves_lease_out(self) -> bool {
        matches!(self, Self::NodeRemoved | Self::NodeReplaced | Self::NodeRebooted | Self::SupervisorDied)
    }

    /// Whether an attempt that ended so counts against `max_attempts`: failures of the task itself do,
    /// what the cell or the machine did to it does not.
    #[must_use]
    pub const fn counts_as_failure(self) -> bool {
        matches!(
            self,
            Self::ExitedNonZero | Self::Signaled | Self::TimeLimit | Self::OutOfMemory | Self::LaunchFailed
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_cannot_be_executed_is_a_failure_and_a_node_that_cannot_start_it_is_none() {
        assert!(Reason::LaunchFailed.counts_as_failure());
        for of_the_node in
            [Reason::NodeFault, Reason::SupervisorDied, Reason::NodeRebooted, Reason::LeaseEnded]
        {
            assert!(!of_the_node.counts_as_failure(), "{of_the_node}");
        }
    }

    #[test]
    fn every_reason_is_explained_in_other_words_than_its_neighbours() {
        let mut texts: Vec<_> = Reason::ALL.iter().map(|reason| reason.explanation()).collect();
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), Reason::ALL.len());
    }
}
