//! Peers in one process, for tests: the same handlers without sockets, with links that can be cut.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use parking_lot::Mutex;

use super::check::Caller;
use super::client::{Answer, Answers, PeerClient, PeerError, PeerTransport};
use super::handler::{HandleError, PeerHandler};
use crate::member::Member;
use crate::wire::proto;

#[derive(Default)]
struct Net {
    handlers: BTreeMap<String, PeerHandler>,
    cut: BTreeSet<String>,
    deaf: BTreeSet<String>,
}

/// The network of one process. Clones are the same network.
#[derive(Clone, Default)]
pub struct LocalTransport {
    net: Arc<Mutex<Net>>,
    from: String,
}

impl LocalTransport {
    /// An empty network.
    pub fn new() -> Self {
        Self::default()
    }

    /// The view of this network from one master.
    pub fn from(&self, name: &str) -> Self {
        Self { net: self.net.clone(), from: name.to_owned() }
    }

    /// Makes a master reachable by its name.
    pub fn serve(&self, name: &str, handler: PeerHandler) {
        self.net.lock().handlers.insert(name.to_owned(), handler);
    }

    /// Makes a master unreachable, as if its process had died.
    pub fn remove(&self, name: &str) {
        self.net.lock().handlers.remove(name);
    }

    /// Cuts a master off, in both directions, or connects it again.
    pub fn cut(&self, name: &str, is_cut: bool) {
        let mut net = self.net.lock();
        if is_cut {
            net.cut.insert(name.to_owned());
        } else {
            net.cut.remove(name);
        }
    }
}

impl LocalTransport {
    /// Lets a master say who it is and nothing more: it receives no log.
    pub fn deafen(&self, name: &str, is_deaf: bool) {
        let mut net = self.net.lock();
        if is_deaf {
            net.deaf.insert(name.to_owned());
        } else {
            net.deaf.remove(name);
        }
    }
}

impl PeerTransport for LocalTransport {
    fn client(&self, member: &Member) -> Arc<dyn PeerClient> {
        Arc::new(LocalClient { transport: self.clone(), to: member.name.clone() })
    }
}

struct LocalClient {
    transport: LocalTransport,
    to: String,
}

impl LocalClient {
    fn peer(&self) -> Result<(PeerHandler, Caller), PeerError> {
        let net = self.transport.net.lock();
        let from = &self.transport.from;
        let cut = net.cut.contains(from) || net.cut.contains(&self.to);
        let handler = net.handlers.get(&self.to).filter(|_| !cut).cloned();
        let unreachable = || PeerError::Unreachable { peer: self.to.clone(), cause: "no such master".into() };
        Ok((handler.ok_or_else(unreachable)?, Caller { name: from.clone() }))
    }

    fn call<T, F>(&self, deadline: Duration, call: impl FnOnce(PeerHandler, Caller) -> F) -> Answer<T>
    where
        F: Future<Output = Result<T, HandleError>> + Send + 'static,
        T: Send + 'static,
    {
        let peer = self.to.clone();
        match self.peer() {
            Err(error) => futures::future::ready(Err(error)).boxed(),
            Ok((handler, caller)) => {
                let answer = tokio::time::timeout(deadline, call(handler, caller));
                async move {
                    let answer = answer.await;
                    let deadline_ms = deadline.as_millis();
                    let answer =
                        answer.map_err(|_| PeerError::Timeout { peer: peer.clone(), deadline_ms })?;
                    answer.map_err(|e| PeerError::Refused { peer, cause: e.to_string() })
                }
                .boxed()
            }
        }
    }
}

macro_rules! forward {
    ($($method:ident: $request:ident -> $response:ident),* $(,)?) => {$(
        fn $method(&self, request: proto::$request, deadline: Duration) -> Answer<proto::$response> {
            self.call(deadline, move |handler, caller| async move { handler.$method(request, &caller).await })
        }
    )*};
}

impl PeerClient for LocalClient {
    forward! {
        vote: VoteRequest -> VoteResponse,
        transfer_leader: TransferLeaderRequest -> TransferLeaderResponse,
        snapshot: SnapshotRequest -> SnapshotResponse,
    }

    fn handshake(
        &self,
        request: proto::HandshakeRequest,
        deadline: Duration,
    ) -> Answer<proto::HandshakeResponse> {
        self.call(deadline, move |handler, _| async move { handler.handshake(&request).await })
    }

    fn adopt(&self, _request: proto::AdoptRequest, _deadline: Duration) -> Answer<proto::AdoptResponse> {
        // Masters of these tests are opened with an id; waiting for one is tested over real ports.
        let (peer, cause) = (self.to.clone(), "it does not wait for a Raft id".into());
        futures::future::ready(Err(PeerError::Refused { peer, cause })).boxed()
    }

    fn append(
        &self,
        requests: BoxStream<'static, proto::AppendRequest>,
        _deadline: Duration,
    ) -> Answer<Answers> {
        let peer = self.to.clone();
        if self.transport.net.lock().deaf.contains(&self.to) {
            let cause = "it is deaf".into();
            return futures::future::ready(Err(PeerError::Unreachable { peer, cause })).boxed();
        }
        let (handler, caller) = match self.peer() {
            Ok(found) => found,
            Err(error) => return futures::future::ready(Err(error)).boxed(),
        };
        let link = LocalClient { transport: self.transport.clone(), to: self.to.clone() };
        // A cut link swallows what is sent on it.
        let requests = requests.take_while(move |_| futures::future::ready(link.peer().is_ok())).boxed();
        async move {
            let refused =
                move |e: HandleError| PeerError::Refused { peer: peer.clone(), cause: e.to_string() };
            let answers = handler.append(requests, &caller).await.map_err(&refused)?;
            Ok(answers.map(move |answer| answer.map_err(&refused)).boxed())
        }
        .boxed()
    }
}
