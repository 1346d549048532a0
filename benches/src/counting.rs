//! An allocator that counts what a thread asks of it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// What a thread asked of the heap since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heap {
    /// Calls that gave memory: allocations and reallocations.
    pub calls: u64,
    /// Bytes asked for by them.
    pub bytes: u64,
}

impl Heap {
    /// What the calling thread asked for so far.
    #[must_use]
    pub fn now() -> Self {
        HEAP.with(Cell::get)
    }

    /// What was asked for since `earlier`.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self {
            calls: self.calls - earlier.calls,
            bytes: self.bytes - earlier.bytes,
        }
    }
}

thread_local! {
    // Constant and without a destructor: reading it neither allocates nor fails while a thread ends.
    static HEAP: Cell<Heap> = const { Cell::new(Heap { calls: 0, bytes: 0 }) };
}

/// The system's allocator, counted by thread.
#[derive(Debug)]
pub struct Counting;

fn count(bytes: usize) {
    HEAP.with(|heap| {
        let Heap { calls, bytes: sum } = heap.get();
        heap.set(Heap {
            calls: calls + 1,
            bytes: sum + bytes as u64,
        });
    });
}

// SAFETY: every call goes to `System` unchanged, which keeps the contract; counting touches a
// thread-local integer and nothing of the heap.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps the contract of `alloc_zeroed`, which is the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: `memory` came from `System` by this allocator, with this layout.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: `memory` came from `System` by this allocator, with this layout.
        unsafe { System.dealloc(memory, layout) }
    }
}
