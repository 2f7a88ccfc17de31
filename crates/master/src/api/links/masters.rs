//! Tells a shard which masters there are, beside what the hub has to say: they may be others than those it was started
//! with, and it must find the next leader among them.

use futures::future::ready;
use futures::{Stream, StreamExt as _, stream};
use paceline_api::v1::{MasterAddress, MasterFrame, MasterList};
use paceline_replica::{Member, ReplicaStatus};
use tokio::sync::watch;
use tonic::Status;

use crate::leader::FrameStream;

/// Frames that name the masters: one now, and one whenever they change.
pub(super) fn frames(
    status: watch::Receiver<ReplicaStatus>,
) -> impl Stream<Item = MasterFrame> + Send + 'static {
    let lists = stream::unfold((status, Told::default()), |(mut status, mut told)| async move {
        loop {
            let news = told.news(&status.borrow_and_update().members);
            if let Some(list) = news {
                return Some((list, (status, told)));
            }
            status.changed().await.ok()?;
        }
    });
    lists.map(|masters| MasterFrame { messages: Vec::new(), masters: Some(masters) })
}

/// What a shard knows of the masters.
#[derive(Default)]
struct Told {
    seen: Vec<Member>,
    list: MasterList,
}

impl Told {
    /// The list, where it is another one now. Before anything is known there is nothing to say.
    fn news(&mut self, members: &[Member]) -> Option<MasterList> {
        // The status moves with every commit: mostly the members are compared, and nothing else is done.
        if self.seen == members {
            return None;
        }
        self.seen = members.to_vec();
        let list = list(members);
        if list == self.list {
            return None;
        }
        self.list.clone_from(&list);
        Some(list)
    }
}

/// Both, until the hub's end.
pub(super) fn beside(
    hub: FrameStream,
    masters: impl Stream<Item = MasterFrame> + Send + 'static,
) -> FrameStream {
    let hub = hub.map(Some).chain(stream::once(ready(None)));
    let masters = masters.map(|frame: MasterFrame| Some(Ok::<_, Status>(frame)));
    Box::pin(stream::select(hub, masters).scan((), |(), frame| ready(frame)))
}

/// By name, as the contract says.
fn list(members: &[Member]) -> MasterList {
    let address = |member: &Member| MasterAddress {
        name: member.name.clone(),
        api_address: member.api_address.clone(),
    };
    let mut masters: Vec<MasterAddress> = members.iter().map(address).collect();
    masters.sort_by(|one, other| one.name.cmp(&other.name));
    MasterList { masters }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(names: &[&str], term: u64) -> ReplicaStatus {
        let member = |name: &&str| Member {
            name: (*name).to_owned(),
            api_address: format!("{name}:1"),
            ..Member::default()
        };
        ReplicaStatus { members: names.iter().map(member).collect(), term, ..ReplicaStatus::default() }
    }

    fn names(frame: Option<Result<MasterFrame, Status>>) -> Vec<String> {
        let frame = frame.expect("a frame").expect("no end");
        frame.masters.expect("masters").masters.into_iter().map(|master| master.name).collect()
    }

    #[tokio::test]
    async fn a_shard_hears_of_the_masters_at_once_and_when_they_change_until_the_hub_ends() {
        let (say, hub) = tokio::sync::mpsc::channel(4);
        let hub: FrameStream = Box::pin(tokio_stream::wrappers::ReceiverStream::new(hub));
        let (change, seen) = watch::channel(status(&["m2", "m1"], 1));
        let mut stream = beside(hub, frames(seen));
        assert_eq!(names(stream.next().await), ["m1", "m2"]);
        change.send_replace(status(&["m1", "m2"], 2));
        say.send(Ok(MasterFrame::default())).await.expect("open");
        assert_eq!(stream.next().await.expect("a frame").expect("no end"), MasterFrame::default());
        change.send_replace(status(&["m1", "m3"], 3));
        assert_eq!(names(stream.next().await), ["m1", "m3"]);
        drop(say);
        assert!(stream.next().await.is_none(), "the masters alone keep no stream");
    }
}
