//! The calls on open files, under their C names.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};

use crate::files;
use crate::real::{self, real};
use crate::record::Kind;
use crate::session::{self, Class};

/// `FALLOC_FL_KEEP_SIZE`.
const KEEP_SIZE: c_int = 1;
/// `FALLOC_FL_PUNCH_HOLE`.
const PUNCH_HOLE: c_int = 2;
/// `PROT_WRITE`.
const WRITABLE: c_int = 2;
/// `MAP_SHARED`.
const SHARED: c_int = 1;

/// A piece of a vectored write.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Piece {
    base: *const u8,
    length: usize,
}

/// SAFETY of the callers: `bytes` points to `length` readable bytes.
unsafe fn slice<'a>(bytes: *const c_void, length: usize) -> &'a [u8] {
    if length == 0 {
        return &[];
    }
    // SAFETY: the caller of a write promises it for the whole buffer, of which this is what was taken.
    unsafe { std::slice::from_raw_parts(bytes.cast(), length) }
}

/// SAFETY of the callers: `pieces` points to `count` pieces, each readable.
unsafe fn gathered(pieces: *const Piece, count: c_int, length: usize) -> Vec<u8> {
    let mut all = Vec::with_capacity(length);
    for at in 0..usize::try_from(count).unwrap_or(0) {
        // SAFETY: the caller of a vectored write promises `count` pieces, each readable.
        let piece = unsafe { *pieces.add(at) };
        // SAFETY: as above.
        all.extend_from_slice(unsafe { slice(piece.base.cast(), piece.length) });
    }
    all.truncate(length);
    all
}

type Open = unsafe extern "C" fn(*const c_char, c_int, c_uint) -> c_int;
type OpenAt = unsafe extern "C" fn(c_int, *const c_char, c_int, c_uint) -> c_int;
type Write = unsafe extern "C" fn(c_int, *const c_void, usize) -> isize;
type WriteAt = unsafe extern "C" fn(c_int, *const c_void, usize, i64) -> isize;
type WriteAll = unsafe extern "C" fn(c_int, *const Piece, c_int) -> isize;
type WriteAllAt = unsafe extern "C" fn(c_int, *const Piece, c_int, i64) -> isize;
type OnFile = unsafe extern "C" fn(c_int) -> c_int;
type Truncate = unsafe extern "C" fn(c_int, i64) -> c_int;
type Allocate = unsafe extern "C" fn(c_int, c_int, i64, i64) -> c_int;
type Map = unsafe extern "C" fn(*mut c_void, usize, c_int, c_int, c_int, i64) -> *mut c_void;

macro_rules! opens {
    ($($name:ident $c:literal, $at:ident $c_at:literal;)*) => {$(
        /// SAFETY: as the C function of this name.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
            let real = real!($c as Open);
            // SAFETY: the caller gives a C string, and the parameters go on unchanged.
            unsafe { files::opened(CStr::from_ptr(path), flags, || real(path, flags, mode)) }
        }

        /// SAFETY: as the C function of this name.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $at(folder: c_int, path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
            let real = real!($c_at as OpenAt);
            files::unsupported(folder, "openat");
            // SAFETY: the caller gives a C string, and the parameters go on unchanged.
            unsafe { files::opened(CStr::from_ptr(path), flags, || real(folder, path, flags, mode)) }
        }
    )*};
}

opens! {
    open c"open", openat c"openat";
    open64 c"open64", openat64 c"openat64";
}

/// SAFETY: as the C function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn close(fd: c_int) -> c_int {
    let real = real!(c"close" as OnFile);
    let Some((session, class)) = session::session().zip(session::class(fd)) else {
        // SAFETY: the parameter goes on unchanged.
        return unsafe { real(fd) };
    };
    let _order = session::in_order();
    session::set_class(fd, None);
    if class == Class::Tracked {
        session.record(Kind::Close, fd, 0, 0, &[], &[]);
    }
    // SAFETY: the parameter goes on unchanged.
    unsafe { real(fd) }
}

/// SAFETY: as the C function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn write(fd: c_int, bytes: *const c_void, length: usize) -> isize {
    let real = real!(c"write" as Write);
    // SAFETY: the parameters go on unchanged.
    let call = || unsafe { real(fd, bytes, length) };
    files::on(
        fd,
        call,
        |taken| taken > 0,
        |session, class, taken| {
            // SAFETY: the C library has just read these bytes.
            let content = unsafe { slice(bytes, taken as usize) };
            files::written(session, class, fd, real::position(fd).saturating_sub(taken as u64), content);
        },
    )
}

/// SAFETY: as the C function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn writev(fd: c_int, pieces: *const Piece, count: c_int) -> isize {
    let real = real!(c"writev" as WriteAll);
    // SAFETY: the parameters go on unchanged.
    let call = || unsafe { real(fd, pieces, count) };
    files::on(
        fd,
        call,
        |taken| taken > 0,
        |session, class, taken| {
            // SAFETY: the C library has just read these pieces.
            let content = unsafe { gathered(pieces, count, taken as usize) };
            files::written(session, class, fd, real::position(fd).saturating_sub(taken as u64), &content);
        },
    )
}

macro_rules! writes_at {
    ($($name:ident $c:literal, $vector:ident $c_vector:literal;)*) => {$(
        /// SAFETY: as the C function of this name.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(fd: c_int, bytes: *const c_void, length: usize, at: i64) -> isize {
            let real = real!($c as WriteAt);
            // SAFETY: the parameters go on unchanged.
            let call = || unsafe { real(fd, bytes, length, at) };
            files::on(fd, call, |taken| taken > 0, |session, class, taken| {
                // SAFETY: the C library has just read these bytes.
                let content = unsafe { slice(bytes, taken as usize) };
                files::written(session, class, fd, at as u64, content);
            })
        }

        /// SAFETY: as the C function of this name.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $vector(fd: c_int, pieces: *const Piece, count: c_int, at: i64) -> isize {
            let real = real!($c_vector as WriteAllAt);
            // SAFETY: the parameters go on unchanged.
            let call = || unsafe { real(fd, pieces, count, at) };
            files::on(fd, call, |taken| taken > 0, |session, class, taken| {
                // SAFETY: the C library has just read these pieces.
                let content = unsafe { gathered(pieces, count, taken as usize) };
                files::written(session, class, fd, at as u64, &content);
            })
        }
    )*};
}

writes_at! {
    pwrite c"pwrite", pwritev c"pwritev";
    pwrite64 c"pwrite64", pwritev64 c"pwritev64";
}

macro_rules! on_file {
    ($($name:ident $c:literal;)*) => {$(
        /// SAFETY: as the C function of this name.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(fd: c_int) -> c_int {
            let real = real!($c as OnFile);
            // SAFETY: the parameter goes on unchanged.
            let call = || unsafe { real(fd) };
            files::on(fd, call, |outcome| outcome == 0, |session, class, _| {
                if class == Class::Tracked {
                    session.record(Kind::Sync, fd, 0, 0, &[], &[]);
                }
            })
        }
    )*};
}

on_file! {
    fsync c"fsync";
    fdatasync c"fdatasync";
}

macro_rules! sizes {
    ($($truncate:ident $c_truncate:literal, $allocate:ident $c_allocate:literal, $map:ident $c_map:literal;)*) => {$(
        /// SAFETY: as the C function of this name.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $truncate(fd: c_int, length: i64) -> c_int {
            let real = real!($c_truncate as Truncate);
            // SAFETY: the parameters go on unchanged.
            let call = || unsafe { real(fd, length) };
            files::on(fd, call, |outcome| outcome == 0, |session, _, _| {
                session.record(Kind::Truncate, fd, length as u64, 0, &[], &[]);
            })
        }

        /// SAFETY: as the C function of this name.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $allocate(fd: c_int, mode: c_int, at: i64, length: i64) -> c_int {
            let real = real!($c_allocate as Allocate);
            // SAFETY: the parameters go on unchanged.
            let call = || unsafe { real(fd, mode, at, length) };
            files::on(fd, call, |outcome| outcome == 0, |session, _, _| {
                let (kind, name): (_, &[u8]) = match mode {
                    // Holes are punched behind the end, to give back what was set aside; the reader checks that.
                    KEEP_SIZE => (Kind::Allocate, b"keep"),
                    mode if mode == KEEP_SIZE | PUNCH_HOLE => (Kind::Allocate, b"punch"),
                    _ => (Kind::Unsupported, b"fallocate"),
                };
                session.record(kind, fd, at as u64, length as u64, name, &[]);
            })
        }

        /// SAFETY: as the C function of this name.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $map(
            address: *mut c_void,
            length: usize,
            protection: c_int,
            flags: c_int,
            fd: c_int,
            at: i64,
        ) -> *mut c_void {
            if protection & WRITABLE != 0 && flags & SHARED != 0 && fd >= 0 {
                files::unsupported(fd, "mmap");
            }
            let real = real!($c_map as Map);
            // SAFETY: the parameters go on unchanged.
            unsafe { real(address, length, protection, flags, fd, at) }
        }
    )*};
}

sizes! {
    ftruncate c"ftruncate", fallocate c"fallocate", mmap c"mmap";
    ftruncate64 c"ftruncate64", fallocate64 c"fallocate64", mmap64 c"mmap64";
}

/// SAFETY: as the C function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn posix_fallocate(fd: c_int, at: i64, length: i64) -> c_int {
    files::unsupported(fd, "posix_fallocate");
    let real = real!(c"posix_fallocate" as unsafe extern "C" fn(c_int, i64, i64) -> c_int);
    // SAFETY: the parameters go on unchanged.
    unsafe { real(fd, at, length) }
}

/// SAFETY: as the C function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn copy_file_range(
    from: c_int,
    from_at: *mut i64,
    to: c_int,
    to_at: *mut i64,
    length: usize,
    flags: c_uint,
) -> isize {
    files::unsupported(to, "copy_file_range");
    let real = real!(
        c"copy_file_range" as unsafe extern "C" fn(c_int, *mut i64, c_int, *mut i64, usize, c_uint) -> isize
    );
    // SAFETY: the parameters go on unchanged.
    unsafe { real(from, from_at, to, to_at, length, flags) }
}

/// SAFETY: as the C function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dup(fd: c_int) -> c_int {
    files::unsupported(fd, "dup");
    let real = real!(c"dup" as OnFile);
    // SAFETY: the parameter goes on unchanged.
    unsafe { real(fd) }
}
