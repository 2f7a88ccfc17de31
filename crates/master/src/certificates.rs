//! When the certificates of all masters end, as far as this master has seen them: its own, and those that the others
//! showed when it dialled them. A leader dials every other master, so it knows all that are up.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use paceline_identity::{BoxFuture, Connector, Credentials, Expect, PeerIdentity, PeerStream};
use parking_lot::Mutex;

/// What is known of the masters' certificates.
pub(crate) struct Certificates {
    /// For clients and shards, and for the other masters where one is shown.
    own: Vec<PeerIdentity>,
    /// The last certificate that each master showed, by its name. Only members are dialled, so it is as long as the
    /// list of all members that there were in this process's time.
    seen: Mutex<BTreeMap<String, PeerIdentity>>,
}

impl Certificates {
    pub(crate) fn new(credentials: &Credentials, peers: &dyn Connector) -> Arc<Self> {
        let own = [Some(credentials.identity().clone()), peers.presents()];
        Arc::new(Self { own: own.into_iter().flatten().collect(), seen: Mutex::default() })
    }

    /// This master's own.
    pub(crate) fn own(&self) -> &[PeerIdentity] {
        &self.own
    }

    /// Days left of a master's certificate, of the first to end where it has several; nothing if it was not seen.
    pub(crate) fn days_left(&self, master: &str, now_unix: i64) -> Option<i64> {
        let own = self.own.iter().filter(|own| own.name == master).map(|own| own.days_left(now_unix)).min();
        own.or_else(|| self.seen.lock().get(master).map(|seen| seen.days_left(now_unix)))
    }

    /// The connector with eyes: whoever is reached through it is remembered.
    pub(crate) fn watching(self: &Arc<Self>, inner: Arc<dyn Connector>) -> Arc<dyn Connector> {
        Arc::new(Watching { inner, certificates: Arc::clone(self) })
    }
}

struct Watching {
    inner: Arc<dyn Connector>,
    certificates: Arc<Certificates>,
}

impl Connector for Watching {
    fn connect(&self, address: &str, expect: &Expect) -> BoxFuture<'static, io::Result<PeerStream>> {
        let connecting = self.inner.connect(address, expect);
        let certificates = Arc::clone(&self.certificates);
        Box::pin(async move {
            let stream = connecting.await?;
            let peer = stream.peer().clone();
            certificates.seen.lock().insert(peer.name.clone(), peer);
            Ok(stream)
        })
    }

    fn presents(&self) -> Option<PeerIdentity> {
        self.inner.presents()
    }
}
