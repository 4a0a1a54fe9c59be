//! The calls of about the last while, in ten buckets.

use crate::policy::{BUCKETS, WIDTH_MAX};
use crate::state::Tally;
use crate::stripe;
use crate::sync::{AtomicU64, Ordering, fence};

/// Each bucket is one word, `tag:24 | bad:20 | total:20`, and a call is one
/// compare-and-swap on it. Threads write to stripes of their own; only a bad
/// call reads them all.
#[derive(Debug)]
pub(crate) struct TimeWindow {
    width: Width,
    /// As many as a power of two.
    stripes: Box<[Stripe]>,
}

/// How long a bucket is, in ms.
#[derive(Clone, Copy, Debug)]
struct Width {
    /// `2^63 / ms`, rounded up: a multiplication costs a tenth of a division.
    inverse: u64,
}

impl Width {
    const fn new(ms: u64) -> Self {
        assert!(0 < ms && ms <= WIDTH_MAX, "checked where windows are made");
        Self {
            inverse: (1 << 63) / ms + 1,
        }
    }

    /// The number of the bucket that this time is in.
    ///
    /// Exact, since a time is below `2^37`, a width below `2^26`, and so the
    /// error of the inverse below what is between two quotients.
    #[inline]
    const fn epoch(self, now: u64) -> u64 {
        ((now as u128 * self.inverse as u128) >> 63) as u64
    }
}

/// On its own pair of cache lines, so that threads do not slow each other down.
#[derive(Debug)]
#[repr(align(128))]
struct Stripe([AtomicU64; BUCKETS as usize]);

const COUNT_BITS: u32 = 20;
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;
const TAG_SHIFT: u32 = 2 * COUNT_BITS;
const HALF_BITS: u32 = (64 - TAG_SHIFT) / 2;
const HALF: u64 = (1 << HALF_BITS) - 1;

/// `turn:12 | generation:12`, where a turn is one window's length.
///
/// What the ten buckets hold is told from anything of the last 4096 windows and
/// of the last 4096 generations. The turns beyond are folded into the
/// generation's bits, so that only a pause of a multiple of 4096 windows, to the
/// bucket, in which the circuit also changed as many times as the fold says,
/// could make an old bucket look like a new one.
#[inline]
const fn tag(generation: u32, epoch: u64) -> u64 {
    let turn = epoch / BUCKETS;
    (turn & HALF) << HALF_BITS | (generation as u64 ^ turn >> HALF_BITS) & HALF
}

/// Where a call is counted.
struct Place {
    bucket: usize,
    tag: u64,
}

impl Place {
    #[inline]
    const fn of(epoch: u64, generation: u32) -> Self {
        Self {
            bucket: (epoch % BUCKETS) as usize,
            tag: tag(generation, epoch),
        }
    }
}

/// What a call adds to its bucket.
#[inline]
const fn call(bad: bool) -> u64 {
    (bad as u64) << COUNT_BITS | 1
}

/// A full bucket keeps its rate.
const fn halved(bucket: u64) -> u64 {
    let (bad, total) = (bucket >> COUNT_BITS & COUNT_MAX, bucket & COUNT_MAX);
    bucket >> TAG_SHIFT << TAG_SHIFT | (bad / 2) << COUNT_BITS | (total / 2)
}

impl TimeWindow {
    pub(crate) fn new(width: u64, stripes: usize) -> Self {
        let stripe = |_| Stripe(std::array::from_fn(|_| AtomicU64::new(0)));
        Self {
            width: Width::new(width),
            stripes: (0..stripes.next_power_of_two()).map(stripe).collect(),
        }
    }

    /// Counts one call; gives the time that it was counted at, or nothing if it is stale.
    #[inline]
    pub(crate) fn record(
        &self,
        generation: u32,
        now: u64,
        stripe: usize,
        bad: bool,
        current: impl Fn() -> Option<u64>,
    ) -> Option<u64> {
        let buckets = stripe::of(&self.stripes, stripe);
        // By far the most calls find their bucket begun, with room, and nobody else at it.
        let place = Place::of(self.width.epoch(now), generation);
        let bucket = &buckets.0[place.bucket];
        let seen = bucket.load(Ordering::Acquire);
        if seen >> TAG_SHIFT == place.tag && seen & COUNT_MAX != COUNT_MAX {
            let next = seen + call(bad);
            if bucket
                .compare_exchange(seen, next, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
            {
                return Some(now);
            }
        }
        self.record_slowly(generation, now, buckets, bad, current)
    }

    #[cold]
    fn record_slowly(
        &self,
        generation: u32,
        mut now: u64,
        buckets: &Stripe,
        bad: bool,
        current: impl Fn() -> Option<u64>,
    ) -> Option<u64> {
        loop {
            let epoch = self.width.epoch(now);
            let place = Place::of(epoch, generation);
            let bucket = &buckets.0[place.bucket];
            let seen = bucket.load(Ordering::Acquire);
            let begun = if seen >> TAG_SHIFT == place.tag {
                seen
            } else {
                let later = current()?;
                if self.width.epoch(later) != epoch {
                    now = later;
                    continue;
                }
                place.tag << TAG_SHIFT
            };
            let begun = if begun & COUNT_MAX == COUNT_MAX {
                halved(begun)
            } else {
                begun
            };
            if bucket
                .compare_exchange(seen, begun + call(bad), Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
            {
                return Some(now);
            }
        }
    }

    /// Forgets what an earlier circuit counted: of tags that are old enough, one in millions passes for
    /// a new one. A late writer of that circuit finds another word than it saw.
    pub(crate) fn clear(&self) {
        for bucket in self.stripes.iter().flat_map(|stripe| &stripe.0) {
            bucket.store(0, Ordering::Relaxed);
        }
    }

    pub(crate) fn tally(&self, generation: u32, now: u64) -> Tally {
        // Of two threads that count a failure at once, one must see both.
        fence(Ordering::SeqCst);
        let epoch = self.width.epoch(now);
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
    use crate::clock::MS_MAX;

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
    fn a_bucket_is_what_a_division_says() {
        for ms in [
            1,
            2,
            3,
            7,
            10,
            999,
            1000,
            3000,
            86_400,
            WIDTH_MAX - 1,
            WIDTH_MAX,
        ] {
            let width = Width::new(ms);
            for quotient in [0, 1, 2, 12_345, MS_MAX / ms - 1, MS_MAX / ms] {
                for now in [quotient * ms, quotient * ms + 1, quotient * ms + ms - 1] {
                    let now = now.min(MS_MAX);
                    assert_eq!(width.epoch(now), now / ms, "{now} / {ms}");
                }
            }
        }
    }

    #[test]
    fn an_old_bucket_never_passes_for_a_new_one() {
        // Every pause of up to 4096 windows, from the first call in a bucket to the next in the same.
        for start in [0, 7, 12_345] {
            let old = tag(1, start);
            for windows in 1..=HALF {
                assert_ne!(tag(1, start + windows * BUCKETS), old);
                assert_ne!(tag(2, start + windows * BUCKETS), old);
            }
            assert_ne!(tag(2, start), old, "another life of the circuit, at once");
            let longer = [1, 2, 3, 4095].map(|times| (HALF + 1) * times * BUCKETS);
            assert!(longer.iter().all(|pause| tag(1, start + pause) != old));
        }
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
