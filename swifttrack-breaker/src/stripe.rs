//! Which of several copies of a word a thread writes to, so that threads do not fight for one.

use std::cell::Cell;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// More stripes would cost memory in every circuit, and threads beyond them merely share.
const STRIPES_MAX: usize = 8;

/// How many stripes are worth having on this machine.
pub(crate) fn count() -> usize {
    static STRIPES: LazyLock<usize> = LazyLock::new(|| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        threads.next_power_of_two().min(STRIPES_MAX)
    });
    *STRIPES
}

/// The stripe of this number; there is a power of two of them.
#[inline]
pub(crate) const fn of<T>(stripes: &[T], stripe: usize) -> &T {
    &stripes[stripe & (stripes.len() - 1)]
}

/// A number for this thread, given out in turn.
#[inline]
pub(crate) fn mine() -> usize {
    thread_local! {
        // Without a destructor and with a constant to begin with, it is one load.
        static MINE: Cell<usize> = const { Cell::new(NONE) };
    }
    const NONE: usize = usize::MAX;
    static NEXT: AtomicUsize = AtomicUsize::new(0);

    MINE.with(|mine| {
        if mine.get() == NONE {
            mine.set(NEXT.fetch_add(1, Ordering::Relaxed) % NONE);
        }
        mine.get()
    })
}
