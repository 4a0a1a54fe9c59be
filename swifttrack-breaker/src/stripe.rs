//! Which of several copies of a word a thread writes to, so that threads do not fight for one.

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

/// A number for this thread, given out in turn.
#[inline]
pub(crate) fn mine() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static MINE: usize = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    MINE.try_with(|mine| *mine).unwrap_or(0)
}
