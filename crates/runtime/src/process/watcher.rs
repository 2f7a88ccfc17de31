//! Hears the nudges of supervisors, and looks by itself each second for what a nudge did not say.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use paceline_types::AttemptId;

use crate::errors::OpenError;
use crate::process::shared::Shared;
use crate::runtime::ChangeListener;

/// How often it looks by itself: a nudge can be lost, and a supervisor that is killed sends none.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// An attempt's name is shorter than this.
const NUDGE_BYTES: usize = 128;

/// What the socket and its folder are open for.
const SOCKET_MODE: u32 = 0o600;

#[derive(Default)]
struct Ears {
    listener: Mutex<Option<ChangeListener>>,
    stop: AtomicBool,
}

impl Ears {
    fn tell(&self, attempt: AttemptId) {
        if let Some(listener) = &*self.listener.lock().unwrap_or_else(PoisonError::into_inner) {
            listener(attempt);
        }
    }
}

/// The thread that watches.
pub struct Watcher {
    ears: Arc<Ears>,
    socket: Arc<UnixDatagram>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Binds the socket in place of an earlier agent's and starts.
    pub fn start(shared: Arc<Shared>) -> Result<Self, OpenError> {
        let path = shared.layout.nudge_socket();
        let failed = |source| OpenError::Folder { path: path.clone(), source };
        let socket = Arc::new(bind(shared.layout.root(), &path).map_err(failed)?);
        let ears = Arc::new(Ears::default());
        let work = {
            let (shared, ears, socket) = (Arc::clone(&shared), Arc::clone(&ears), Arc::clone(&socket));
            move || work(&shared, &ears, &socket)
        };
        let thread = thread::Builder::new().name("runtime-watcher".into()).spawn(work);
        let thread = Some(thread.map_err(OpenError::Thread)?);
        Ok(Self { ears, socket, shared, thread })
    }

    /// Tells of a change that no supervisor tells of.
    pub fn tell(&self, attempt: AttemptId) {
        self.ears.tell(attempt);
    }

    /// Puts a listener in place.
    pub fn subscribe(&self, listener: ChangeListener) {
        *self.ears.listener.lock().unwrap_or_else(PoisonError::into_inner) = Some(listener);
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // ORDERING: pairs with the load in `work`; the flag alone is passed, nothing is published with it.
        self.ears.stop.store(true, Ordering::Relaxed);
        _ = self.socket.shutdown(std::net::Shutdown::Both);
        let Some(thread) = self.thread.take() else { return };
        // The listener may own the runtime, and be dropped by the thread itself.
        if thread.thread().id() != thread::current().id() {
            _ = thread.join();
        }
        self.shared.close();
    }
}

/// Bound through `/proc`, because an address of a socket has room for 108 bytes only.
fn bind(root: &Path, path: &Path) -> io::Result<UnixDatagram> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let folder = fs::File::open(root)?;
    let name = path.file_name().unwrap_or_default();
    let short = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name);
    let socket = UnixDatagram::bind(short)?;
    fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE))?;
    socket.set_read_timeout(Some(LOOK_EVERY))?;
    Ok(socket)
}

fn work(shared: &Shared, ears: &Ears, socket: &UnixDatagram) {
    let mut looked = Instant::now();
    let mut nudge = [0; NUDGE_BYTES];
    loop {
        let received = socket.recv(&mut nudge);
        // ORDERING: pairs with the store in `drop`; the shutdown of the socket wakes us after it.
        if ears.stop.load(Ordering::Relaxed) {
            return;
        }
        if let Some(attempt) = received.ok().and_then(|length| parse(nudge.get(..length)?)) {
            ears.tell(attempt);
        }
        if looked.elapsed() >= LOOK_EVERY {
            shared.changed().into_iter().for_each(|attempt| ears.tell(attempt));
            looked = Instant::now();
        }
    }
}

fn parse(nudge: &[u8]) -> Option<AttemptId> {
    std::str::from_utf8(nudge).ok()?.parse().ok()
}
