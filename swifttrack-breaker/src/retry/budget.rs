use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::Clock;
use crate::stripe;

/// How many retries all calls together may make, so that a partner in trouble does not get several times the load.
///
/// Of `N` first calls in `t` seconds, with all their retries, never more than
///
/// ```text
/// calls ≤ N · (1 + ratio) + reserve · t
/// ```
///
/// reach the partner, exactly, at any number of threads. What is saved up is
/// capped, so that a quiet night does not buy a storm. An exhausted budget
/// only ends further retries; it never delays or fails a first call.
///
/// Clones are one budget: give the same to all that call one partner. A first
/// call pays in by one addition on a word of its thread's own; only a retry
/// takes the lock.
///
/// # Defaults
///
/// - `ratio`: 0.2, one retry for five calls
/// - `reserve`: 10 retries a second
/// - `saved_max`: 100 retries
#[derive(Clone, Debug)]
pub struct Budget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    ratio: u64,
    reserve: u64,
    saved_max: u64,
    clock: Clock,
    calls: Box<[Calls]>,
    /// A std mutex, since nothing is awaited while it is held.
    account: Mutex<Account>,
}

#[derive(Debug)]
#[repr(align(128))]
struct Calls(AtomicU64);

/// In ten-thousandths of a retry.
#[derive(Debug)]
struct Account {
    calls: u64,
    at: u64,
    saved: u64,
}

const ONE: u64 = 10_000;

/// A reserve of one retry a second gains this much in a millisecond.
const PER_MS: u64 = ONE / 1000;

impl Budget {
    /// The [defaults](Self#defaults).
    #[must_use]
    pub fn new() -> Self {
        Self::of(0.2, 10)
    }

    /// A budget of `ratio` retries for each call and `reserve` a second beside them.
    ///
    /// # Panics
    ///
    /// Panics unless `ratio` is between 0 and 10.
    #[must_use]
    #[track_caller]
    pub fn of(ratio: f64, reserve: u32) -> Self {
        Self::on(ratio, reserve, 100, Clock::tokio())
    }

    /// The same with what may be saved up, and the clock.
    ///
    /// # Panics
    ///
    /// As [`of`](Self::of).
    #[must_use]
    #[track_caller]
    pub fn on(ratio: f64, reserve: u32, saved_max: u32, clock: Clock) -> Self {
        assert!(
            (0.0..=10.0).contains(&ratio),
            "a budget's ratio is between 0 and 10"
        );
        Self(Arc::new(Inner {
            // Rounded down, so that the formula holds for the ratio that was asked for.
            ratio: (ratio * 10_000.0) as u64,
            reserve: u64::from(reserve),
            saved_max: u64::from(saved_max) * ONE,
            clock,
            calls: (0..stripe::count())
                .map(|_| Calls(AtomicU64::new(0)))
                .collect(),
            account: Mutex::new(Account {
                calls: 0,
                at: clock.now(),
                saved: 0,
            }),
        }))
    }

    /// Pays in for one first call.
    #[inline]
    pub fn deposit(&self) {
        let calls = &self.0.calls[stripe::mine() % self.0.calls.len()];
        calls.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Puts one retry back that was taken and reached nobody.
    pub fn refund(&self) {
        let mut account = self
            .0
            .account
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        account.saved = (account.saved + ONE).min(self.0.saved_max);
    }

    /// Takes out one retry, if there is one.
    #[must_use]
    pub fn withdraw(&self) -> bool {
        let inner = &*self.0;
        let mut account = inner.account.lock().unwrap_or_else(PoisonError::into_inner);
        let calls: u64 = inner
            .calls
            .iter()
            .map(|calls| calls.0.load(Ordering::Relaxed))
            .sum();
        let now = inner.clock.now().max(account.at);
        let paid = (calls - account.calls).saturating_mul(inner.ratio);
        let gained = (now - account.at).saturating_mul(inner.reserve * PER_MS);
        *account = Account {
            calls,
            at: now,
            saved: account
                .saved
                .saturating_add(paid)
                .saturating_add(gained)
                .min(inner.saved_max),
        };
        let covered = ONE <= account.saved;
        if covered {
            account.saved -= ONE;
        }
        covered
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn grants_exactly_its_ratio() {
        for (ratio, calls, granted) in [
            (0.6, 1000, 600),
            (0.3, 1000, 300),
            (0.2, 7, 1),
            (0.0, 1000, 0),
        ] {
            let budget = Budget::on(ratio, 0, 1000, ManualClock::new().clock());
            for _ in 0..calls {
                budget.deposit();
            }
            assert_eq!(
                (0..2 * calls).filter(|_| budget.withdraw()).count(),
                granted,
                "{ratio}"
            );
        }
    }

    #[test]
    fn the_reserve_refills_by_time_and_is_capped() {
        let clock = ManualClock::new();
        let budget = Budget::on(0.0, 10, 25, clock.clock());
        assert!(!budget.withdraw());
        clock.advance(Duration::from_millis(100));
        assert!(budget.withdraw());
        assert!(!budget.withdraw());
        clock.advance(Duration::from_secs(30 * 24 * 3600));
        assert_eq!((0..1000).filter(|_| budget.withdraw()).count(), 25);
    }

    #[test]
    fn threads_never_get_more_than_the_formula() {
        let budget = Budget::on(0.25, 0, u32::MAX, ManualClock::new().clock());
        let granted: usize = std::thread::scope(|scope| {
            let work = || {
                scope.spawn(|| {
                    let try_one = |_| {
                        budget.deposit();
                        usize::from(budget.withdraw())
                    };
                    (0..10_000).map(try_one).sum::<usize>()
                })
            };
            [work(), work(), work()]
                .map(|thread| thread.join().unwrap())
                .into_iter()
                .sum()
        });
        assert!(granted <= 7500 && 7490 < granted, "{granted}");
    }
}
