//! What each call on an open file becomes in the trace. The calls themselves are in `calls`.

use std::ffi::{CStr, c_int};

use crate::real;
use crate::record::{CREATED, Kind, TRUNCATED};
use crate::session::{self, Class, Session};

/// `O_CREAT` of Linux.
const CREATE: c_int = 0o100;
/// `O_TRUNC` of Linux.
const TRUNCATE: c_int = 0o1000;
/// `O_TMPFILE` without `O_DIRECTORY`: a file without a name cannot be followed by name.
const NAMELESS: c_int = 0o20_000_000;

/// Opens through `open` and records it.
pub fn opened(path: &CStr, flags: c_int, open: impl FnOnce() -> c_int) -> c_int {
    let Some((session, class)) = session::session().and_then(|of| Some((of, of.class_of(path.to_bytes())?)))
    else {
        return open();
    };
    let _order = session::in_order();
    let existed = real::exists(path);
    let fd = open();
    if fd < 0 {
        return fd;
    }
    session::set_class(fd, Some(class));
    if class == Class::Tracked {
        let created = if flags & CREATE != 0 && !existed { CREATED } else { 0 };
        let truncated = if flags & TRUNCATE != 0 { TRUNCATED } else { 0 };
        session.record(Kind::Open, fd, created | truncated, 0, path.to_bytes(), &[]);
        if flags & NAMELESS != 0 {
            session.record(Kind::Unsupported, fd, 0, 0, b"O_TMPFILE", &[]);
        }
    }
    fd
}

/// Makes a call on a descriptor and, if it succeeded on a file of ours, records it. `done` says whether it succeeded.
pub fn on<T: Copy>(
    fd: c_int,
    call: impl FnOnce() -> T,
    done: impl FnOnce(T) -> bool,
    record: impl FnOnce(&Session, Class, T),
) -> T {
    let Some((session, class)) = session::session().zip(session::class(fd)) else { return call() };
    let _order = session::in_order();
    let outcome = call();
    if done(outcome) {
        record(session, class, outcome);
    }
    outcome
}

/// What was written at an offset.
pub fn written(session: &Session, class: Class, fd: c_int, at: u64, content: &[u8]) {
    match class {
        Class::Tracked => session.record(Kind::Write, fd, at, 0, &[], content),
        Class::Marks => session.record(Kind::Mark, fd, 0, 0, &[], content),
    }
}

/// A call on a descriptor that a trace cannot describe.
pub fn unsupported(fd: c_int, name: &'static str) {
    if let Some(session) = session::session().filter(|_| session::class(fd).is_some()) {
        let _order = session::in_order();
        session.record(Kind::Unsupported, fd, 0, 0, name.as_bytes(), &[]);
    }
}
