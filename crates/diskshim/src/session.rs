//! What is recorded and where to; and the lock that keeps the order.

use std::ffi::{CString, OsString, c_char, c_int, c_uint, c_void};
use std::os::unix::ffi::OsStringExt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::real::real;
use crate::record::{self, Kind};

/// Descriptors above this are not looked at; a store has a few hundred files open.
const DESCRIPTORS: usize = 65_536;

/// `O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC` of Linux.
const APPEND: c_int = 0o1 | 0o100 | 0o2000 | 0o2_000_000;

/// What a descriptor is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Below the folder.
    Tracked,
    /// The file of marks.
    Marks,
}

/// A recording.
pub struct Session {
    root: Vec<u8>,
    marks: Vec<u8>,
    trace: c_int,
}

static SESSION: OnceLock<Option<Session>> = OnceLock::new();
static ORDER: Mutex<()> = Mutex::new(());
static CLASSES: [AtomicU8; DESCRIPTORS] = [const { AtomicU8::new(0) }; DESCRIPTORS];

/// The recording of this process, if its environment asks for one.
pub fn session() -> Option<&'static Session> {
    SESSION.get_or_init(Session::begin).as_ref()
}

/// Held around a call and its record, so that the trace has the order of the calls.
pub fn in_order() -> MutexGuard<'static, ()> {
    ORDER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a descriptor is; `None`: nothing to us.
pub fn class(fd: c_int) -> Option<Class> {
    let at = CLASSES.get(usize::try_from(fd).ok()?)?;
    // ORDERING: Acquire, pairs with the Release in `set_class`: a descriptor that arrived from another thread is known.
    match at.load(Ordering::Acquire) {
        1 => Some(Class::Tracked),
        2 => Some(Class::Marks),
        _ => None,
    }
}

/// Remembers what a descriptor is.
pub fn set_class(fd: c_int, class: Option<Class>) {
    if let Some(at) = usize::try_from(fd).ok().and_then(|fd| CLASSES.get(fd)) {
        let code = match class {
            None => 0,
            Some(Class::Tracked) => 1,
            Some(Class::Marks) => 2,
        };
        // ORDERING: Release, pairs with the Acquire in `class`.
        at.store(code, Ordering::Release);
    }
}

impl Session {
    fn begin() -> Option<Self> {
        let variable = |name| std::env::var_os(name).map(OsString::into_vec);
        let root = variable("DISKSHIM_ROOT")?;
        let marks = variable("DISKSHIM_MARKS")?;
        let trace = CString::new(variable("DISKSHIM_TRACE")?).ok()?;
        let open = real!(c"open64" as unsafe extern "C" fn(*const c_char, c_int, c_uint) -> c_int);
        // SAFETY: the path is a C string.
        let trace = unsafe { open(trace.as_ptr(), APPEND, 0o644) };
        if trace < 0 {
            // A process that should be recorded and is not would prove nothing.
            std::process::abort();
        }
        let session = Self { root, marks, trace };
        session.record(Kind::Start, 0, 0, 0, &[], &[]);
        Some(session)
    }

    /// What a path is to us.
    pub fn class_of(&self, path: &[u8]) -> Option<Class> {
        let below = path.strip_prefix(&self.root[..]).is_some_and(|rest| rest.is_empty() || rest[0] == b'/');
        if path == self.marks { Some(Class::Marks) } else { below.then_some(Class::Tracked) }
    }

    /// Appends a record; the process ends if it cannot.
    pub fn record(&self, kind: Kind, fd: c_int, a: u64, b: u64, path: &[u8], data: &[u8]) {
        let write = real!(c"write" as unsafe extern "C" fn(c_int, *const c_void, usize) -> isize);
        let bytes = record::encode(kind, fd, a, b, path, data);
        let mut left = &bytes[..];
        while !left.is_empty() {
            // SAFETY: the pointer and the length are of one slice.
            let written = unsafe { write(self.trace, left.as_ptr().cast(), left.len()) };
            match usize::try_from(written) {
                Ok(written) if written > 0 => left = &left[written..],
                _ => std::process::abort(),
            }
        }
    }
}
