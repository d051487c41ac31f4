//! An allocator that counts. It serves test binaries with a single test, since it counts what the whole
//! process allocates.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

pub struct Counting;

/// Bytes that are allocated now, the most since [`peak_of`] began, and all since the process began.
static ALLOCATED: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static TOTAL: AtomicUsize = AtomicUsize::new(0);

fn count(layout: Layout) {
    let allocated = ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
    PEAK.fetch_max(allocated, Ordering::Relaxed);
    TOTAL.fetch_add(layout.size(), Ordering::Relaxed);
}

#[allow(unsafe_code, reason = "an allocator is unsafe by its nature")]
// SAFETY: every call is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout);
        // SAFETY: the caller's promises are the system allocator's conditions.
        unsafe { System.alloc(layout) }
    }

    // Zeroed memory of the system costs nothing before it is used; it counts all the same.
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// What some work returns, and the most bytes that were allocated at once for it.
pub fn peak_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = ALLOCATED.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let result = work();
    (result, PEAK.load(Ordering::Relaxed) - before)
}

/// All bytes that some work allocates, those included that it frees again.
pub fn total_of(work: impl FnOnce()) -> usize {
    let before = TOTAL.load(Ordering::Relaxed);
    work();
    TOTAL.load(Ordering::Relaxed) - before
}
