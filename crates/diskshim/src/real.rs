//! The functions of the C library that stand behind ours, and the few that are called for ourselves.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};

/// `RTLD_NEXT` of glibc: the next library after this one.
const NEXT: *mut c_void = -1_isize as *mut c_void;

unsafe extern "C" {
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
    fn lseek(fd: c_int, offset: i64, whence: c_int) -> i64;
    fn access(path: *const c_char, mode: c_int) -> c_int;
    fn __errno_location() -> *mut c_int;
}

/// Where a function lives; looked up once.
pub struct Next {
    name: &'static CStr,
    address: AtomicUsize,
}

impl Next {
    pub const fn new(name: &'static CStr) -> Self {
        Self { name, address: AtomicUsize::new(0) }
    }

    /// The address; the process ends if the C library has no such function.
    pub fn address(&self) -> usize {
        // ORDERING: Relaxed, every thread that looks it up finds the same address; pairs with the store below.
        let known = self.address.load(Ordering::Relaxed);
        if known != 0 {
            return known;
        }
        // SAFETY: the name is a C string, and the handle is the one that glibc defines for this.
        let found = unsafe { dlsym(NEXT, self.name.as_ptr()) } as usize;
        if found == 0 {
            std::process::abort();
        }
        // ORDERING: Relaxed, as above.
        self.address.store(found, Ordering::Relaxed);
        found
    }
}

/// The real function of a name with the given type.
macro_rules! real {
    ($name:literal as $kind:ty) => {{
        static NEXT: $crate::real::Next = $crate::real::Next::new($name);
        // SAFETY: the C library's function of this name has this type on 64-bit Linux; a variadic `open` takes its mode
        // in the same register as a third parameter.
        unsafe { std::mem::transmute::<usize, $kind>(NEXT.address()) }
    }};
}
pub(crate) use real;

/// The offset of a descriptor.
pub fn position(fd: c_int) -> u64 {
    const CURRENT: c_int = 1;
    // SAFETY: asking for the offset changes nothing.
    u64::try_from(unsafe { lseek(fd, 0, CURRENT) }).unwrap_or(0)
}

/// Whether something has this name. `errno` is left as it was.
pub fn exists(path: &CStr) -> bool {
    // SAFETY: the path is a C string; errno belongs to this thread.
    unsafe {
        let before = *__errno_location();
        let found = access(path.as_ptr(), 0) == 0;
        *__errno_location() = before;
        found
    }
}
