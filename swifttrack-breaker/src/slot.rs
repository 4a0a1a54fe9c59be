//! Where a circuit lives: a place in memory that is never freed.
//!
//! A ticket must find its circuit without counting references, since a count
//! that two threads share costs more than all the rest of a call. So circuits
//! live in slots that are leaked. When the last handle of a circuit goes, its
//! slot starts a new generation and waits for the next circuit of the same
//! configuration; tickets that are still out find a generation that is not
//! theirs, and do nothing. As many slots are made as circuits of that
//! configuration were ever alive at once.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::circuit::core::{Core, Settled, Tag};
use crate::circuit::machine::Order;
use crate::classify::Outcome;
use crate::config::BreakerConfig;
use crate::error::Refused;
use crate::flight::{self, Flight, Recorder};
use crate::state::Counts;
use crate::stripe;
use crate::tenant::Tenant;
use crate::ticket::Ticket;

#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) core: Core,
    /// One for each stripe of threads, so that refusals do not slow each other down.
    counts: Box<[Counters]>,
    /// One for each stripe where healthy calls write to it, or else one.
    flights: Box<[Recorder]>,
    seed: AtomicU64,
    /// Wall clock, ms + 1; zero is never.
    last_failure: AtomicU64,
    /// Whether shadows watch.
    watched: AtomicBool,
    /// Whether a success that changes nothing is of interest to a count.
    counts_good: bool,
    tenant: Mutex<Weak<Tenant>>,
}

#[derive(Debug, Default)]
#[repr(align(128))]
struct Counters([AtomicU64; Counter::ALL.len()]);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counter {
    Success,
    Failure,
    Throttled,
    Ignored,
    Slow,
    Refused,
    Stale,
}

impl Counter {
    pub(crate) const ALL: [Self; 7] = [
        Self::Success,
        Self::Failure,
        Self::Throttled,
        Self::Ignored,
        Self::Slow,
        Self::Refused,
        Self::Stale,
    ];
}

/// Frequent outcomes are handed to the metrics recorder in lots of this many.
const LOT: u64 = 256;

type Pool = HashMap<BreakerConfig, Vec<&'static Slot>>;

static POOL: LazyLock<Mutex<Pool>> = LazyLock::new(Mutex::default);

impl Slot {
    /// A slot that nobody else uses.
    pub(crate) fn take(config: BreakerConfig) -> &'static Self {
        let free = POOL
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_mut(&config)
            .and_then(Vec::pop);
        let slot = free.unwrap_or_else(|| Box::leak(Box::new(Self::new(config))));
        slot.seed
            .store(RandomState::new().hash_one(0), Ordering::Relaxed);
        slot.last_failure.store(0, Ordering::Relaxed);
        slot.watched.store(false, Ordering::Relaxed);
        for count in slot.counts.iter().flat_map(|stripe| &stripe.0) {
            count.store(0, Ordering::Relaxed);
        }
        slot.flights.iter().for_each(Recorder::clear);
        slot.core.clear();
        slot
    }

    fn new(config: BreakerConfig) -> Self {
        let stripes = stripe::count();
        let windows = if config.policy.has_window() {
            stripes
        } else {
            1
        };
        Self {
            core: Core::new(config, 1, windows),
            counts: (0..stripes).map(|_| Counters::default()).collect(),
            flights: (0..windows).map(|_| Recorder::new()).collect(),
            seed: AtomicU64::new(0),
            last_failure: AtomicU64::new(0),
            watched: AtomicBool::new(false),
            counts_good: config.count_successes,
            tenant: Mutex::new(Weak::new()),
        }
    }

    pub(crate) fn settle_in(&self, tenant: &Arc<Tenant>) {
        *self.tenant.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(tenant);
    }

    /// Ends the life of this circuit, and gives the slot to the next.
    pub(crate) fn retire(&'static self) {
        self.core.obey(Order::Reset);
        POOL.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(*self.core.config())
            .or_default()
            .push(self);
    }

    pub(crate) fn seed(&self, seed: u64) {
        self.seed.store(seed, Ordering::Relaxed);
    }

    /// Lets a call through, or says why not. Counts no refusal.
    #[inline]
    pub(crate) fn admit(&'static self) -> Result<Ticket, Refused> {
        match self.core.admit_closed() {
            Some(tag) => Ok(Ticket::new(self, tag)),
            None => self.admit_slowly(),
        }
    }

    fn admit_slowly(&'static self) -> Result<Ticket, Refused> {
        // Most that do not pass at once do not pass at all.
        if let Some(refused) = self.refusal() {
            return Err(refused);
        }
        let (admitted, moved) = self.core.admit();
        if let Some((moved, tenant)) = moved.zip(self.tenant()) {
            tenant.publish(moved);
        }
        match admitted {
            Ok(tag) => Ok(Ticket::new(self, tag)),
            Err((cause, until)) => Err(Refused::new(cause, self.core.config().clock, until)),
        }
    }

    /// Whether a call would be refused now.
    #[inline]
    pub(crate) fn refusal(&self) -> Option<Refused> {
        let (cause, until) = self.core.refusal()?;
        Some(Refused::new(cause, self.core.config().clock, until))
    }

    /// Reports what came of a call. The end of a healthy one is a few loads, and no write, where
    /// nothing counts it.
    #[inline]
    pub(crate) fn settle(&self, tag: Tag, outcome: Outcome) {
        let good = outcome == Outcome::Success && !self.watched.load(Ordering::Relaxed);
        if good && !self.counts_good && self.core.changes_nothing(tag) {
            return;
        }
        self.settle_counted(tag, outcome, good);
    }

    fn settle_counted(&self, tag: Tag, outcome: Outcome, good: bool) {
        if !(good && self.settle_good(tag)) {
            self.settle_slowly(tag, outcome);
        }
    }

    /// The end of a healthy call that is counted.
    #[inline]
    fn settle_good(&self, tag: Tag) -> bool {
        let stripe = stripe::mine();
        let Some(good) = self.core.settle_good(tag, stripe) else {
            return false;
        };
        let due = self.counts_good && self.add(Counter::Success, stripe, LOT);
        if self.core.has_window() {
            self.flight_of(stripe)
                .push(good.now, Outcome::Success, good.took);
        }
        if due {
            self.flush();
        }
        true
    }

    #[cold]
    fn flush(&self) {
        if let Some(tenant) = self.tenant() {
            tenant.flush();
        }
    }

    #[inline(never)]
    fn settle_slowly(&self, tag: Tag, outcome: Outcome) {
        let stripe = stripe::mine();
        let settled = self
            .core
            .settle(tag, outcome, stripe, self.seed.load(Ordering::Relaxed));
        let due = self.count(&settled, outcome, stripe);
        let failed = matches!(outcome, Outcome::Failure | Outcome::Throttled { .. });
        if failed && !settled.stale {
            self.last_failure.store(wall_ms() + 1, Ordering::Relaxed);
        }
        if settled.spoiled {
            self.flight_of(stripe).fill(settled.now);
        }
        if !settled.stale
            && (outcome != Outcome::Success || settled.ended_run || self.core.has_window())
        {
            self.flight_of(stripe)
                .push(settled.now, outcome, settled.took);
        }
        let watched = self.watched.load(Ordering::Relaxed) && !settled.stale;
        if settled.moved.is_none() && !settled.freed && !due && !watched {
            return;
        }
        let Some(tenant) = self.tenant() else { return };
        if watched {
            tenant.show(outcome, settled.now, settled.took);
        }
        match settled.moved {
            Some(moved) => tenant.publish(moved),
            None if settled.freed => tenant.waiting().nudge(),
            None => {}
        }
        if due {
            tenant.flush();
        }
    }

    /// Counts what came of a call; gives whether the metrics should hear of it.
    fn count(&self, settled: &Settled, outcome: Outcome, stripe: usize) -> bool {
        if settled.stale {
            return self.add(Counter::Stale, stripe, 1);
        }
        let mut due = false;
        if settled.slow {
            due |= self.add(Counter::Slow, stripe, 1);
        }
        due | match outcome {
            Outcome::Success if self.core.config().count_successes => {
                self.add(Counter::Success, stripe, LOT)
            }
            Outcome::Success => false,
            Outcome::Ignore => self.add(Counter::Ignored, stripe, 1),
            Outcome::Failure => self.add(Counter::Failure, stripe, 1),
            Outcome::Throttled { .. } => {
                self.add(Counter::Throttled, stripe, 1);
                self.add(Counter::Failure, stripe, 1)
            }
        }
    }

    /// Counts a refusal; gives whether the metrics should hear of it.
    #[inline]
    pub(crate) fn refused(&self) -> bool {
        self.add(Counter::Refused, stripe::mine(), LOT)
    }

    #[inline]
    fn add(&self, counter: Counter, stripe: usize, lot: u64) -> bool {
        let count = &stripe::of(&self.counts, stripe).0[counter as usize];
        count.fetch_add(1, Ordering::Relaxed).is_multiple_of(lot)
    }

    #[inline]
    fn flight_of(&self, stripe: usize) -> &Recorder {
        stripe::of(&self.flights, stripe)
    }

    pub(crate) fn count_of(&self, counter: Counter) -> u64 {
        let of = |stripe: &Counters| stripe.0[counter as usize].load(Ordering::Relaxed);
        self.counts.iter().map(of).sum()
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts {
            successes: self.count_of(Counter::Success),
            failures: self.count_of(Counter::Failure),
            throttled: self.count_of(Counter::Throttled),
            ignored: self.count_of(Counter::Ignored),
            slow: self.count_of(Counter::Slow),
            refused: self.count_of(Counter::Refused),
            stale: self.count_of(Counter::Stale),
        }
    }

    pub(crate) fn set_watched(&self, watched: bool) {
        self.watched.store(watched, Ordering::Relaxed);
    }

    pub(crate) fn last_failure(&self) -> Option<SystemTime> {
        let ms = self.last_failure.load(Ordering::Relaxed).checked_sub(1)?;
        Some(UNIX_EPOCH + Duration::from_millis(ms))
    }

    pub(crate) fn flight(&self, now: u64) -> Vec<Flight> {
        flight::merge(self.flights.iter(), now)
    }

    fn tenant(&self) -> Option<Arc<Tenant>> {
        self.tenant
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .upgrade()
    }
}

fn wall_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::handle::BreakerHandle;
    use crate::policy::{Policy, Window};
    use crate::state::State;

    /// recloser never frees the states that it replaced: 3.6 MB over 10,000
    /// trips. Here a circuit changes in place, and one that ends gives its
    /// place to the next.
    #[test]
    fn ten_thousand_trips_and_ten_thousand_circuits_take_one_slot() {
        let clock = ManualClock::new();
        let config = BreakerConfig::new()
            .trip_after(1)
            .metrics(false)
            .clock(clock.clock());
        let slots = || POOL.lock().unwrap().get(&config).map_or(0, Vec::len);
        let first = BreakerHandle::new("first", config);
        for _ in 0..10_000 {
            first.try_acquire().unwrap().failure();
            clock.advance(Duration::from_secs(30));
            first.try_acquire().unwrap().success();
        }
        drop(first);
        for _ in 0..10_000 {
            assert_eq!(slots(), 1);
            drop(BreakerHandle::new("next", config));
        }
    }

    /// After such a pause the tags of the first circuit's buckets pass for those of the second.
    #[test]
    fn a_circuit_knows_nothing_of_the_one_that_lived_here_before() {
        let clock = ManualClock::new();
        let window = Window::time(Duration::from_secs(1)).min_calls(2);
        let config = BreakerConfig::new()
            .policy(Policy::failure_rate(0.5, window))
            .metrics(false)
            .clock(clock.clock());
        let first = BreakerHandle::new("first", config);
        first.try_acquire().unwrap().failure();
        drop(first);
        clock.advance(Duration::from_secs(3 * 4096));
        let second = BreakerHandle::new("second", config);
        second.try_acquire().unwrap().failure();
        assert_eq!(second.state(), State::Closed);
        second.try_acquire().unwrap().failure();
        assert_eq!(second.state(), State::Open);
    }
}
