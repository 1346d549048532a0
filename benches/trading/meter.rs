//! Times of single calls over several passes, and what they ask of the heap.

use std::time::Instant;

use tickerml_benches::counting::Heap;
use tickerml_benches::stats::{Summary, Times};

/// One kind of call: the times of each pass, and the heap use of the last.
#[derive(Default)]
pub(crate) struct Meter {
    current: Times,
    passes: Vec<Summary>,
    heap: Heap,
    counted: u64,
}

impl Meter {
    /// Begins a pass of at most so many calls; none is counted for the heap before [`Self::warm`].
    pub(crate) fn begin(&mut self, calls: usize) {
        self.current = Times::with_capacity(calls);
        (self.heap, self.counted) = (Heap::default(), 0);
    }

    /// Times one call; its heap use counts when `warm`.
    pub(crate) fn time<T>(&mut self, warm: bool, work: impl FnOnce() -> T) -> T {
        let heap = Heap::now();
        let start = Instant::now();
        let made = work();
        let took = start.elapsed();
        let used = Heap::now().since(heap);
        self.current.note(took.as_nanos());
        if warm {
            self.heap.calls += used.calls;
            self.heap.bytes += used.bytes;
            self.counted += 1;
        }
        made
    }

    pub(crate) fn end(&mut self) {
        self.passes
            .push(std::mem::take(&mut self.current).summary());
    }

    /// Each figure's least over the passes.
    pub(crate) fn summary(&self) -> Summary {
        Summary::least(&self.passes)
    }

    /// Heap calls of the last pass.
    pub(crate) const fn heap_calls(&self) -> u64 {
        self.heap.calls
    }

    /// Heap calls a call.
    pub(crate) fn allocations(&self) -> f64 {
        self.heap.calls as f64 / self.counted.max(1) as f64
    }

    /// Bytes a call.
    pub(crate) fn bytes(&self) -> f64 {
        self.heap.bytes as f64 / self.counted.max(1) as f64
    }
}
