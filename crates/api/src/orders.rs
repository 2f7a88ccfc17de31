//! What agents are told.

use bytes::Bytes;
use paceline_link::message::{Desired, JobBody, OrderRun, OrderSet, Orders};
use paceline_types::{Attempt, Revision, SpecVersion};

use crate::fault::{DecodeError, each, known, present, required};
use crate::v1;

impl From<Orders> for v1::Orders {
    fn from(orders: Orders) -> Self {
        let full = match orders.set {
            OrderSet::Diff => None,
            OrderSet::Full { first, last } => Some(v1::FullSet { first, last }),
        };
        Self {
            token: Some(orders.token.into()),
            full,
            jobs: orders.jobs.into_iter().map(Into::into).collect(),
            runs: orders.runs.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::Orders> for Orders {
    type Error = DecodeError;
    fn try_from(orders: v1::Orders) -> Result<Self, DecodeError> {
        let full = |part: v1::FullSet| OrderSet::Full { first: part.first, last: part.last };
        Ok(Self {
            token: present("token", orders.token)?.into(),
            set: orders.full.map_or(OrderSet::Diff, full),
            jobs: each("jobs", orders.jobs)?,
            runs: each("runs", orders.runs)?,
        })
    }
}

impl From<JobBody> for v1::JobBody {
    fn from(body: JobBody) -> Self {
        Self { job: Some(body.job.into()), version: body.version.0, spec: Bytes::from(body.spec) }
    }
}

impl TryFrom<v1::JobBody> for JobBody {
    type Error = DecodeError;
    fn try_from(body: v1::JobBody) -> Result<Self, DecodeError> {
        let job = present("job", body.job)?.into();
        Ok(Self { job, version: SpecVersion(body.version), spec: body.spec.into() })
    }
}

impl From<OrderRun> for v1::OrderRun {
    fn from(run: OrderRun) -> Self {
        let desired = match run.desired {
            Desired::Run { assigned } => v1::order_run::Desired::Run(v1::Run { assigned: assigned.0 }),
            Desired::Stop { grace_ms } => v1::order_run::Desired::Stop(v1::Stop { grace_ms }),
        };
        Self {
            job: Some(run.job.into()),
            attempt: run.attempt.0,
            tasks: Some(run.tasks.into()),
            desired: Some(desired),
        }
    }
}

impl TryFrom<v1::OrderRun> for OrderRun {
    type Error = DecodeError;
    fn try_from(run: v1::OrderRun) -> Result<Self, DecodeError> {
        let desired = match known("desired", run.desired)? {
            v1::order_run::Desired::Run(run) => Desired::Run { assigned: Revision(run.assigned) },
            v1::order_run::Desired::Stop(stop) => Desired::Stop { grace_ms: stop.grace_ms },
        };
        let job = present("job", run.job)?.into();
        Ok(Self { job, attempt: Attempt(run.attempt), tasks: required("tasks", run.tasks)?, desired })
    }
}
