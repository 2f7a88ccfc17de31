//! Counts what a thread allocates.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// Bytes that this thread has ever allocated.
    static ALLOCATED: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator with a count per thread: `#[global_allocator] static METER: Meter = Meter;`.
#[derive(Clone, Copy, Debug)]
pub struct Meter;

/// What `call` gives, and the bytes that it allocated in sum, whether it gave them back or not.
pub(crate) fn measured<T>(call: impl FnOnce() -> T) -> (T, u64) {
    let before = ALLOCATED.get();
    let given = call();
    (given, ALLOCATED.get() - before)
}

fn count(bytes: usize) {
    // A thread that is ending has no count any more, and nobody asks for it.
    _ = ALLOCATED.try_with(|allocated| allocated.set(allocated.get().wrapping_add(bytes as u64)));
}

#[expect(unsafe_code, reason = "an allocator can be given in no other way; every call goes on as it came")]
// SAFETY: every request is passed to the system's allocator unchanged, and its answer given unchanged; counting neither
// allocates nor panics, for the counter is a constant-initialised integer without a destructor.
unsafe impl GlobalAlloc for Meter {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`, which is the same here.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps the contract of `alloc_zeroed`, which is the same here.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count(bytes.saturating_sub(layout.size()));
        // SAFETY: the block came from the system's allocator by this one, with this layout.
        unsafe { System.realloc(block, layout, bytes) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the block came from the system's allocator by this one, with this layout.
        unsafe { System.dealloc(block, layout) }
    }
}
