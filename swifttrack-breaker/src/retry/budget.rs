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
/// - `clock`: tokio's
///
/// # Examples
///
/// ```
/// use swifttrack_breaker::Budget;
///
/// let budget = Budget::new().ratio(0.5).reserve(0);
/// budget.deposit();
/// assert!(!budget.withdraw(), "half a retry");
/// budget.deposit();
/// assert!(budget.withdraw());
/// ```
#[derive(Clone, Debug)]
pub struct Budget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    terms: Terms,
    calls: Box<[Calls]>,
    /// A std mutex, since nothing is awaited while it is held.
    account: Mutex<Account>,
}

/// In ten-thousandths of a retry.
#[derive(Clone, Copy, Debug)]
struct Terms {
    ratio: u64,
    reserve: u64,
    saved_max: u64,
    clock: Clock,
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

impl Budget {
    /// The [defaults](Self#defaults).
    #[must_use]
    pub fn new() -> Self {
        Self::of(Terms {
            ratio: ONE / 5,
            reserve: 10 * ONE,
            saved_max: 100 * ONE,
            clock: Clock::tokio(),
        })
    }

    /// How many retries each first call pays for. As every setter, it makes another budget, into which nothing was paid yet.
    ///
    /// # Panics
    ///
    /// Panics unless `ratio` is between 0 and 10.
    #[must_use]
    #[track_caller]
    pub fn ratio(self, ratio: f64) -> Self {
        assert!(
            (0.0..=10.0).contains(&ratio),
            "a budget's ratio is between 0 and 10"
        );
        // Rounded down, so that the formula holds for the ratio that was asked for.
        let ratio = (ratio * ONE as f64) as u64;
        Self::of(Terms {
            ratio,
            ..self.0.terms
        })
    }

    /// How many retries a second there are beside those that calls pay for.
    #[must_use]
    pub fn reserve(self, per_second: u32) -> Self {
        let reserve = u64::from(per_second) * ONE;
        Self::of(Terms {
            reserve,
            ..self.0.terms
        })
    }

    /// How many unused retries are kept for later.
    #[must_use]
    pub fn saved_max(self, retries: u32) -> Self {
        let saved_max = u64::from(retries) * ONE;
        Self::of(Terms {
            saved_max,
            ..self.0.terms
        })
    }

    /// Which clock the reserve follows.
    #[must_use]
    pub fn clock(self, clock: Clock) -> Self {
        Self::of(Terms {
            clock,
            ..self.0.terms
        })
    }

    fn of(terms: Terms) -> Self {
        Self(Arc::new(Inner {
            calls: (0..stripe::count())
                .map(|_| Calls(AtomicU64::new(0)))
                .collect(),
            account: Mutex::new(Account {
                calls: 0,
                at: terms.clock.now(),
                saved: 0,
            }),
            terms,
        }))
    }

    /// Pays in for one first call.
    #[inline]
    pub fn deposit(&self) {
        let calls = stripe::of(&self.0.calls, stripe::mine());
        calls.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Puts one retry back that was taken and reached nobody.
    pub fn refund(&self) {
        let mut account = self
            .0
            .account
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        account.saved = (account.saved + ONE).min(self.0.terms.saved_max);
    }

    /// Takes out one retry, if there is one.
    #[must_use]
    pub fn withdraw(&self) -> bool {
        let inner = &*self.0;
        let terms = &inner.terms;
        let mut account = inner.account.lock().unwrap_or_else(PoisonError::into_inner);
        let calls: u64 = inner
            .calls
            .iter()
            .map(|calls| calls.0.load(Ordering::Relaxed))
            .sum();
        let now = terms.clock.now().max(account.at);
        let paid = (calls - account.calls).saturating_mul(terms.ratio);
        let gained = (now - account.at).saturating_mul(terms.reserve) / 1000;
        *account = Account {
            calls,
            at: now,
            saved: account
                .saved
                .saturating_add(paid)
                .saturating_add(gained)
                .min(terms.saved_max),
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

    fn budget(ratio: f64, reserve: u32, saved_max: u32, clock: ManualClock) -> Budget {
        Budget::new()
            .ratio(ratio)
            .reserve(reserve)
            .saved_max(saved_max)
            .clock(clock.clock())
    }

    #[test]
    fn grants_exactly_its_ratio() {
        for (ratio, calls, granted) in [
            (0.6, 1000, 600),
            (0.3, 1000, 300),
            (0.2, 7, 1),
            (0.0, 1000, 0),
        ] {
            let budget = budget(ratio, 0, 1000, ManualClock::new());
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
        let budget = budget(0.0, 10, 25, clock);
        assert!(!budget.withdraw());
        clock.advance(Duration::from_millis(100));
        assert!(budget.withdraw());
        assert!(!budget.withdraw());
        clock.advance(Duration::from_secs(30 * 24 * 3600));
        assert_eq!((0..1000).filter(|_| budget.withdraw()).count(), 25);
    }

    #[test]
    fn threads_never_get_more_than_the_formula() {
        let budget = budget(0.25, 0, u32::MAX, ManualClock::new());
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
