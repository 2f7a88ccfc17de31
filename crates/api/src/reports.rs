//! What agents say: who they are, and what they know of attempts.

use bytes::Bytes;
use paceline_link::message::{Hello, Observed, Report, ReportRun};
use paceline_types::{AgentInstance, Attempt, BootId, IndexSet, LinkSession, NodeEpoch};

use crate::fault::{DecodeError, each, known, present, required};
use crate::ids::{bytes16, id16, name};
use crate::states::reason;
use crate::v1;

impl From<Hello> for v1::Hello {
    fn from(hello: Hello) -> Self {
        Self {
            node: hello.node.to_string(),
            instance: bytes16(hello.instance.0),
            boot: bytes16(hello.boot.0),
            epoch: hello.epoch.0,
            session: hello.session.0,
            fence: Some(hello.fence.into()),
            capacity: Some(hello.capacity.into()),
            labels: hello.labels,
            capabilities: hello.capabilities,
            certificate_der: Bytes::from(hello.certificate_der),
            signature: Bytes::from(hello.signature),
        }
    }
}

impl TryFrom<v1::Hello> for Hello {
    type Error = DecodeError;
    fn try_from(hello: v1::Hello) -> Result<Self, DecodeError> {
        Ok(Self {
            node: name("node", &hello.node)?,
            instance: AgentInstance(id16("instance", &hello.instance)?),
            boot: BootId(id16("boot", &hello.boot)?),
            epoch: NodeEpoch(hello.epoch),
            session: LinkSession(hello.session),
            fence: present("fence", hello.fence)?.into(),
            capacity: present("capacity", hello.capacity)?.into(),
            labels: hello.labels,
            capabilities: hello.capabilities,
            certificate_der: hello.certificate_der.into(),
            signature: hello.signature.into(),
        })
    }
}

impl From<Report> for v1::Report {
    fn from(report: Report) -> Self {
        Self {
            sequence: report.sequence,
            runs: report.runs.into_iter().map(Into::into).collect(),
            table_complete: report.table_complete,
        }
    }
}

impl TryFrom<v1::Report> for Report {
    type Error = DecodeError;
    fn try_from(report: v1::Report) -> Result<Self, DecodeError> {
        let runs = each("runs", report.runs)?;
        Ok(Self { sequence: report.sequence, runs, table_complete: report.table_complete })
    }
}

impl From<ReportRun> for v1::ReportRun {
    fn from(run: ReportRun) -> Self {
        Self {
            job: Some(run.job.into()),
            attempt: run.attempt.0,
            tasks: Some(run.tasks.into()),
            observed: Some(run.observed.into()),
            pids: run.pids,
        }
    }
}

impl TryFrom<v1::ReportRun> for ReportRun {
    type Error = DecodeError;
    fn try_from(run: v1::ReportRun) -> Result<Self, DecodeError> {
        let tasks: IndexSet = required("tasks", run.tasks)?;
        // A pid is a task's by its position alone: a list that does not match would name wrong processes.
        if !run.pids.is_empty() && run.pids.len() as u64 != tasks.count() {
            let expected = format!("none, or one for each of {} tasks", tasks.count());
            return Err(DecodeError::new("pids", format!("{} pids", run.pids.len()), expected));
        }
        Ok(Self {
            job: present("job", run.job)?.into(),
            attempt: Attempt(run.attempt),
            tasks,
            observed: known("observed", run.observed)?.try_into()?,
            pids: run.pids,
        })
    }
}

impl From<Observed> for v1::report_run::Observed {
    fn from(observed: Observed) -> Self {
        match observed {
            Observed::Running => Self::Running(v1::Running {}),
            Observed::Ended { status, reason } => Self::Ended(v1::Ended {
                status: status.map(Into::into),
                reason: v1::Reason::from(reason).into(),
            }),
        }
    }
}

impl TryFrom<v1::report_run::Observed> for Observed {
    type Error = DecodeError;
    fn try_from(observed: v1::report_run::Observed) -> Result<Self, DecodeError> {
        let ended = match observed {
            v1::report_run::Observed::Running(v1::Running {}) => return Ok(Self::Running),
            v1::report_run::Observed::Ended(ended) => ended,
        };
        let status = ended.status.map(TryInto::try_into).transpose();
        let status = status.map_err(|fault: DecodeError| fault.within("ended.status"))?;
        Ok(Self::Ended { status, reason: reason("ended.reason", ended.reason)? })
    }
}
