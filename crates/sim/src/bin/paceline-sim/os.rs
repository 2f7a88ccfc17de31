//! What the process would take from the operating system, given from the seed and from virtual time instead.
//!
//! These functions stand in for those of the C library in this one binary: `clock_gettime` under `Instant` and
//! `SystemTime`, `getrandom` under hash maps, key generation, signatures and openraft's election jitter, and
//! `pthread_create`, which is refused: a thread would run beside the simulation, outside of its order. `syscall` passes on
//! everything but `getrandom`, which some libraries ask for by number. Nothing else of the project may link this.

#![expect(
    unsafe_code,
    reason = "symbols of the C library are replaced, and one system call instruction is issued"
)]

use std::arch::asm;
use std::ffi::{c_int, c_long, c_uint, c_void};
use std::sync::atomic::{AtomicU64, Ordering};

use paceline_sim::clock;

/// ORDERING: relaxed, here and below; there is one thread.
static STATE: AtomicU64 = AtomicU64::new(0);

/// EAGAIN of Linux: what a system without room for a thread says.
const NO_THREADS: c_int = 11;
/// The clocks of Linux that show wall time: CLOCK_REALTIME, its coarse form and CLOCK_TAI.
const WALL_CLOCKS: [c_int; 3] = [0, 5, 11];
#[cfg(target_arch = "x86_64")]
const SYS_GETRANDOM: c_long = 318;
#[cfg(target_arch = "aarch64")]
const SYS_GETRANDOM: c_long = 278;

/// Begins the randomness of a seed.
pub fn seed(seed: u64) {
    STATE.store(seed ^ 0x6a09_e667_f3bc_c908, Ordering::Relaxed);
}

/// SplitMix64, as in `draw`.
fn word() -> u64 {
    let state = STATE.load(Ordering::Relaxed).wrapping_add(0x9e37_79b9_7f4a_7c15);
    STATE.store(state, Ordering::Relaxed);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// # Safety
/// `to` is good for `length` bytes.
unsafe fn fill(to: *mut u8, length: usize) {
    for at in 0..length {
        // SAFETY: the caller promises `length` bytes.
        unsafe { to.add(at).write(word().to_le_bytes()[0]) };
    }
}

/// # Safety
/// As of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(to: *mut c_void, length: usize, _flags: c_uint) -> isize {
    // SAFETY: the caller promises `length` bytes.
    unsafe { fill(to.cast(), length) };
    isize::try_from(length).unwrap_or(isize::MAX)
}

/// # Safety
/// As of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn getentropy(to: *mut c_void, length: usize) -> c_int {
    // SAFETY: the caller promises `length` bytes.
    unsafe { fill(to.cast(), length) };
    0
}

/// As the C library has it on 64-bit Linux.
#[repr(C)]
struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

/// # Safety
/// As of the C library's.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(which: c_int, to: *mut Timespec) -> c_int {
    let skew = clock::skew_here();
    let is_wall = WALL_CLOCKS.contains(&which);
    let base_s = if is_wall { clock::WALL_START_UNIX_S } else { 1 };
    let mut ms = base_s * 1_000 + clock::now_ms() + skew.ahead_ms;
    if is_wall {
        ms = ms.saturating_add_signed(skew.wall_ms);
    }
    let seconds = i64::try_from(ms / 1_000).unwrap_or(i64::MAX);
    let nanoseconds = i64::try_from((ms % 1_000) * 1_000_000).unwrap_or(0);
    // SAFETY: the caller promises room for one.
    unsafe { to.write(Timespec { seconds, nanoseconds }) };
    0
}

/// # Safety
/// As of the C library's; it does nothing.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_create(
    _thread: *mut c_void,
    _attributes: *const c_void,
    _start: extern "C" fn(*mut c_void) -> *mut c_void,
    _argument: *mut c_void,
) -> c_int {
    eprintln!("a thread was to be started under simulation: what it does needs a seam");
    NO_THREADS
}

unsafe extern "C" {
    fn __errno_location() -> *mut c_int;
}

/// # Safety
/// As of the C library's. Its variable arguments are words in registers, as they are here.
#[unsafe(no_mangle)]
unsafe extern "C" fn syscall(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    if number == SYS_GETRANDOM {
        let length = usize::try_from(b).unwrap_or(0);
        // SAFETY: the caller of this system call promises `b` bytes at `a`.
        unsafe { fill(a as *mut u8, length) };
        return b;
    }
    // SAFETY: passed on as it came.
    let returned = unsafe { issue(number, [a, b, c, d, e, f]) };
    if (-4_095..0).contains(&returned) {
        // SAFETY: the C library's own place for it, of this thread.
        unsafe { __errno_location().write(c_int::try_from(-returned).unwrap_or(0)) };
        return -1;
    }
    returned
}

/// # Safety
/// As of the system call.
#[cfg(target_arch = "x86_64")]
unsafe fn issue(number: c_long, [a, b, c, d, e, f]: [c_long; 6]) -> c_long {
    let returned;
    // SAFETY: the calling convention of Linux on this architecture.
    unsafe {
        asm!("syscall", inlateout("rax") number => returned, in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d,
             in("r8") e, in("r9") f, lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    returned
}

/// # Safety
/// As of the system call.
#[cfg(target_arch = "aarch64")]
unsafe fn issue(number: c_long, [a, b, c, d, e, f]: [c_long; 6]) -> c_long {
    let returned;
    // SAFETY: the calling convention of Linux on this architecture.
    unsafe {
        asm!("svc 0", in("x8") number, inlateout("x0") a => returned, in("x1") b, in("x2") c, in("x3") d,
             in("x4") e, in("x5") f, options(nostack));
    }
    returned
}
