//! The calls of about the last while, in ten buckets.

use crate::circuit::machine::mix;
use crate::policy::BUCKETS;
use crate::state::Tally;
use crate::sync::{AtomicU64, Ordering, fence};

/// Each bucket is one word, `tag:24 | bad:20 | total:20`, and a call is one
/// compare-and-swap on it. Threads write to stripes of their own; only a bad
/// call reads them all.
#[derive(Debug)]
pub(crate) struct TimeWindow {
    width: u64,
    stripes: Box<[Stripe]>,
}

/// On its own pair of cache lines, so that threads do not slow each other down.
#[derive(Debug)]
#[repr(align(128))]
struct Stripe([AtomicU64; BUCKETS as usize]);

const COUNT_BITS: u32 = 20;
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;
const TAG_SHIFT: u32 = 2 * COUNT_BITS;

/// Spread over its bits rather than cut from generation and bucket, so that no
/// regular pause between calls can make an old bucket look like a new one.
#[inline]
const fn tag(generation: u32, epoch: u64) -> u64 {
    mix(epoch << 20 ^ generation as u64) >> TAG_SHIFT
}

impl TimeWindow {
    pub(crate) fn new(width: u64, stripes: usize) -> Self {
        let stripe = |_| Stripe(std::array::from_fn(|_| AtomicU64::new(0)));
        Self {
            width,
            stripes: (0..stripes.max(1)).map(stripe).collect(),
        }
    }

    /// Counts one call; gives the time that it was counted at, or nothing if it is stale.
    #[inline]
    pub(crate) fn record(
        &self,
        generation: u32,
        mut now: u64,
        stripe: usize,
        bad: bool,
        current: impl Fn() -> Option<u64>,
    ) -> Option<u64> {
        let buckets = &self.stripes[stripe % self.stripes.len()].0;
        loop {
            let epoch = now / self.width;
            let tag = tag(generation, epoch);
            let bucket = &buckets[(epoch % BUCKETS) as usize];
            let seen = bucket.load(Ordering::Acquire);
            let (failed, total) = if seen >> TAG_SHIFT == tag {
                (seen >> COUNT_BITS & COUNT_MAX, seen & COUNT_MAX)
            } else {
                let later = current()?;
                if later / self.width != epoch {
                    now = later;
                    continue;
                }
                (0, 0)
            };
            // A full bucket keeps its rate.
            let (failed, total) = if total == COUNT_MAX {
                (failed / 2, total / 2)
            } else {
                (failed, total)
            };
            let next = tag << TAG_SHIFT | (failed + u64::from(bad)) << COUNT_BITS | (total + 1);
            if bucket
                .compare_exchange(seen, next, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
            {
                return Some(now);
            }
        }
    }

    pub(crate) fn tally(&self, generation: u32, now: u64) -> Tally {
        // Of two threads that count a failure at once, one must see both.
        fence(Ordering::SeqCst);
        let epoch = now / self.width;
        let (mut bad, mut total) = (0u64, 0u64);
        for stripe in &self.stripes {
            for epoch in epoch.saturating_sub(BUCKETS - 1)..=epoch {
                let word = stripe.0[(epoch % BUCKETS) as usize].load(Ordering::Acquire);
                if word >> TAG_SHIFT == tag(generation, epoch) {
                    bad += word >> COUNT_BITS & COUNT_MAX;
                    total += word & COUNT_MAX;
                }
            }
        }
        let count = |calls: u64| u32::try_from(calls).unwrap_or(u32::MAX);
        Tally {
            bad: count(bad),
            total: count(total),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn forgets_what_is_a_window_old_and_nothing_younger() {
        let window = TimeWindow::new(100, 2);
        for now in 0..3000 {
            window
                .record(1, now, usize::from(now % 2 == 0), now % 4 == 0, || {
                    Some(now)
                })
                .unwrap();
            let oldest = (now / 100).saturating_sub(9) * 100;
            let bad = (oldest..=now).filter(|ms| ms % 4 == 0).count();
            let tally = window.tally(1, now);
            assert_eq!(
                (tally.bad as usize, u64::from(tally.total)),
                (bad, now - oldest + 1)
            );
        }
    }

    #[test]
    fn a_writer_that_was_delayed_counts_in_the_present() {
        let window = TimeWindow::new(100, 1);
        window.record(1, 1000, 0, true, || Some(1000)).unwrap();
        // Read its clock at 0, when the bucket at 1000 (the same one) was far off.
        assert_eq!(window.record(1, 0, 0, true, || Some(1010)), Some(1010));
        assert_eq!(window.tally(1, 1010), Tally { bad: 2, total: 2 });
        assert_eq!(window.record(0, 0, 0, true, || None), None);
    }

    #[test]
    fn a_full_bucket_keeps_its_rate() {
        let window = TimeWindow::new(1_000_000, 1);
        for call in 0..=COUNT_MAX {
            window.record(1, 0, 0, call % 2 == 0, || Some(0)).unwrap();
        }
        let tally = window.tally(1, 0);
        assert!(
            tally.total <= 1 << 19 && tally.bad.abs_diff(tally.total / 2) <= 1,
            "{tally:?}"
        );
    }
}
