//! Output of tasks: one reader's stream, piece by piece from the node to the caller.
//!
//! ```text
//! caller ◄── stream ── Reading ── relay ──► shard ──► agent
//!                        │ one question under way, one piece waiting: whoever does not read is not read for
//! ```
//!
//! Any master serves it. Where an attempt is, the view says, or the record of a retired job ([`place`]); through which shard its node speaks, the
//! shards say: those that the node would choose first are asked first. A shard, a node or a master that goes away
//! is waited for a while, and then said.

mod place;
mod readers;
mod reading;
mod relay;

use paceline_api::v1::{self, LogsReply};
use paceline_types::{Attempt, TaskIndex};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use self::place::{Found, Wanted, find, find_retired};
pub(crate) use self::readers::Readers;
use self::reading::{PIECES_MAX, Reading, Wants};
pub(crate) use self::relay::LogRelay;
pub(super) use self::relay::{QUESTIONS_MAX, Question};
use super::{Caller, Services};
use crate::{refuse, show};

pub(super) type LogsStream = ReceiverStream<Result<LogsReply, Status>>;

/// Answers one call.
pub(super) async fn logs(
    services: &Services,
    request: Request<v1::LogsRequest>,
) -> Result<Response<LogsStream>, Status> {
    let caller = Caller::of(&request)?;
    let request = request.into_inner();
    let stderr = match v1::LogStream::try_from(request.stream) {
        Ok(v1::LogStream::Stdout | v1::LogStream::Unspecified) => false,
        Ok(v1::LogStream::Stderr) => true,
        Err(_) => {
            return Err(refuse::invalid_field(
                "stream",
                request.stream.to_string(),
                "stdout (1) or stderr (2)",
            ));
        }
    };
    let selector = show::selector(request.job)?;
    let view = services.reads.view(request.read.as_ref()).await?;
    let (job, retired) = match place::job(&view, &selector) {
        Ok(job) => (job.uid, None),
        Err(missing) => {
            let retired = services.history.find(&selector, view.revision()).await?.ok_or(missing)?;
            (retired.job().uid, Some(retired))
        }
    };
    let wanted = Wanted { job, task: TaskIndex(request.task), attempt: Attempt(request.attempt) };
    let mut seat = services.log_readers.admit(&caller.identity.principal())?;
    let settled =
        retired.map(|retired| find_retired(&view, &services.published, &retired, wanted)).transpose()?;
    let found = match &settled {
        Some(place) => Found::At(place.clone()),
        None => find(&view, &services.published, wanted)?,
    };
    match found {
        Found::At(place) => seat.at(&place.node)?,
        Found::NotYet(why) if !request.follow => return Err(why),
        Found::NotYet(_) => {}
    }
    let (out, pieces) = mpsc::channel(PIECES_MAX);
    let wants = Wants {
        wanted,
        settled,
        stderr,
        offset: request.offset,
        max_bytes: (request.max_bytes > 0).then_some(request.max_bytes),
        follow: request.follow,
    };
    let reading = Reading::new(services.logs.clone(), services.published.clone(), seat, wants, out);
    tokio::spawn(reading.run());
    Ok(Response::new(ReceiverStream::new(pieces)))
}
