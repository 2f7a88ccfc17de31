//! The calls on names, under their C names.

use std::ffi::{CStr, c_char, c_int, c_uint};

use crate::files;
use crate::real::real;
use crate::record::Kind;
use crate::session;

type OnPath = unsafe extern "C" fn(*const c_char) -> c_int;
type OnTwo = unsafe extern "C" fn(*const c_char, *const c_char) -> c_int;
type Make = unsafe extern "C" fn(*const c_char, c_uint) -> c_int;

/// Makes a call on names and, if it succeeded on one of ours, records it.
fn named(kind: Kind, path: &CStr, target: Option<&CStr>, call: impl FnOnce() -> c_int) -> c_int {
    let ours = |session: &session::Session, path: &CStr| session.class_of(path.to_bytes()).is_some();
    let session = session::session()
        .filter(|session| ours(session, path) || target.is_some_and(|target| ours(session, target)));
    let Some(session) = session else { return call() };
    let _order = session::in_order();
    let outcome = call();
    if outcome == 0 {
        session.record(kind, 0, 0, 0, path.to_bytes(), target.map_or(&[][..], CStr::to_bytes));
    }
    outcome
}

macro_rules! on_path {
    ($($name:ident $c:literal $kind:ident;)*) => {$(
        /// SAFETY: as the C function of this name.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(path: *const c_char) -> c_int {
            let real = real!($c as OnPath);
            // SAFETY: the caller gives a C string, and it goes on unchanged.
            unsafe { named(Kind::$kind, CStr::from_ptr(path), None, || real(path)) }
        }
    )*};
}

on_path! {
    unlink c"unlink" Remove;
    rmdir c"rmdir" RemoveFolder;
    remove c"remove" Remove;
}

macro_rules! on_two {
    ($($name:ident $c:literal $kind:ident;)*) => {$(
        /// SAFETY: as the C function of this name.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(from: *const c_char, to: *const c_char) -> c_int {
            let real = real!($c as OnTwo);
            // SAFETY: the caller gives C strings, and they go on unchanged.
            unsafe { named(Kind::$kind, CStr::from_ptr(from), Some(CStr::from_ptr(to)), || real(from, to)) }
        }
    )*};
}

on_two! {
    rename c"rename" Rename;
    link c"link" Link;
    symlink c"symlink" Unsupported;
}

/// SAFETY: as the C function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mkdir(path: *const c_char, mode: c_uint) -> c_int {
    let real = real!(c"mkdir" as Make);
    // SAFETY: the caller gives a C string, and the parameters go on unchanged.
    unsafe { named(Kind::MakeFolder, CStr::from_ptr(path), None, || real(path, mode)) }
}

/// SAFETY: as the C function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn truncate(path: *const c_char, length: i64) -> c_int {
    let real = real!(c"truncate" as unsafe extern "C" fn(*const c_char, i64) -> c_int);
    // SAFETY: the caller gives a C string, and the parameters go on unchanged.
    unsafe { named(Kind::Unsupported, CStr::from_ptr(path), None, || real(path, length)) }
}

/// SAFETY: as the C function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlinkat(folder: c_int, path: *const c_char, flags: c_int) -> c_int {
    files::unsupported(folder, "unlinkat");
    let real = real!(c"unlinkat" as unsafe extern "C" fn(c_int, *const c_char, c_int) -> c_int);
    // SAFETY: the caller gives a C string, and the parameters go on unchanged.
    unsafe { named(Kind::Unsupported, CStr::from_ptr(path), None, || real(folder, path, flags)) }
}

macro_rules! files_by_name {
    ($($name:ident $c:literal;)*) => {$(
        /// A stream of the C library: its writes would not be seen, so a file of ours must not be opened by it to write.
        ///
        /// SAFETY: as the C function of this name.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(path: *const c_char, mode: *const c_char) -> *mut std::ffi::c_void {
            let real = real!($c as unsafe extern "C" fn(*const c_char, *const c_char) -> *mut std::ffi::c_void);
            // SAFETY: the caller gives C strings, and they go on unchanged.
            unsafe {
                let reads = CStr::from_ptr(mode).to_bytes().iter().all(|of| !b"wa+".contains(of));
                if !reads {
                    named(Kind::Unsupported, CStr::from_ptr(path), Some(c"fopen"), || 0);
                }
                real(path, mode)
            }
        }
    )*};
}

files_by_name! {
    fopen c"fopen";
    fopen64 c"fopen64";
}
