//! What time it is, for a circuit.

use std::hash::{Hash, Hasher};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant as StdInstant};

use tokio::time::Instant;

/// Where a circuit reads its time.
///
/// All of them are monotonic and count milliseconds. A circuit reads its clock
/// only where time decides: when it is not closed, when a call failed, and
/// where its policy has a time window or looks at slow calls.
///
/// | clock | costs about | pausable | resolution |
/// |---|---|---|---|
/// | [`Clock::tokio`], the default | 25 ns | with tokio's | 1 ms |
/// | [`Clock::coarse`] | 5 ns on Linux | no | one kernel tick, 1 to 10 ms |
/// | [`ManualClock`] | 1 ns | it only moves by hand | 1 ms |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Clock(
    /// One word, since every refusal carries its clock.
    &'static Kind,
);

#[derive(Debug, PartialEq, Eq, Hash)]
enum Kind {
    Tokio,
    Coarse,
    Manual(Hands),
}

/// The largest time that a circuit can name: 37 bits of milliseconds, 4.3 years after the first use of any clock.
pub(crate) const MS_MAX: u64 = (1 << 37) - 1;

/// Zero lies a day before the first reading, since tokio's paused clock may
/// stand a little before an instant that was read from the running one.
static ZERO: LazyLock<StdInstant> = LazyLock::new(|| {
    let now = StdInstant::now();
    now.checked_sub(Duration::from_secs(24 * 3600))
        .unwrap_or(now)
});

impl Clock {
    /// Tokio's clock, which stands still under `tokio::time::pause`.
    #[must_use]
    pub const fn tokio() -> Self {
        Self(&Kind::Tokio)
    }

    /// The kernel's cached clock: a fifth of the price, and late by up to one kernel tick.
    ///
    /// Elsewhere than on Linux and Android it is the precise monotonic clock.
    #[must_use]
    pub const fn coarse() -> Self {
        Self(&Kind::Coarse)
    }

    #[inline]
    pub(crate) fn now(self) -> u64 {
        let ms = match self.0 {
            Kind::Tokio => whole_ms(Instant::now().into_std().saturating_duration_since(*ZERO)),
            Kind::Coarse => coarse_ms(),
            Kind::Manual(hands) => hands.0.load(Ordering::Acquire),
        };
        ms.min(MS_MAX)
    }

    /// The point on tokio's clock at which this clock reaches `ms`.
    pub(crate) fn instant(self, ms: u64) -> Instant {
        let far = || Instant::now() + Duration::from_millis(MS_MAX);
        match self.0 {
            Kind::Tokio => ZERO
                .checked_add(Duration::from_millis(ms))
                .map_or_else(far, Instant::from_std),
            Kind::Coarse | Kind::Manual(_) => {
                let now = self.now();
                let there = Duration::from_millis(ms.abs_diff(now));
                if now <= ms {
                    Instant::now().checked_add(there).unwrap_or_else(far)
                } else {
                    Instant::now()
                        .checked_sub(there)
                        .unwrap_or_else(Instant::now)
                }
            }
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::tokio()
    }
}

fn whole_ms(since: Duration) -> u64 {
    since.as_secs() * 1000 + u64::from(since.subsec_millis())
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn coarse_ms() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse);
    now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn coarse_ms() -> u64 {
    whole_ms(StdInstant::now().saturating_duration_since(*ZERO))
}

/// A clock that moves only when it is told to, for tests.
///
/// Copies are the same clock. Its few bytes live as long as the process, so
/// that a circuit can hold it without counting references.
///
/// Waiting for a circuit sleeps on tokio's timer whatever the clock; a test of
/// waiting should therefore pause tokio's clock instead.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use swifttrack_breaker::{BreakerConfig, BreakerHandle, ManualClock, State};
///
/// let clock = ManualClock::new();
/// let cms = BreakerHandle::new("cms", BreakerConfig::new().trip_after(1).clock(clock.clock()));
/// cms.try_acquire()?.failure();
/// assert_eq!(cms.state(), State::Open);
///
/// clock.advance(Duration::from_secs(30));
/// cms.try_acquire()?.success();
/// assert_eq!(cms.state(), State::Closed);
/// # Ok::<(), swifttrack_breaker::Refused>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ManualClock {
    hands: Hands,
    kind: &'static Kind,
}

/// What a manual clock shows. Two are one if they are the same memory.
#[derive(Clone, Copy, Debug)]
struct Hands(&'static AtomicU64);

impl ManualClock {
    /// A clock that stands at zero.
    #[must_use]
    pub fn new() -> Self {
        let hands = Hands(Box::leak(Box::new(AtomicU64::new(0))));
        Self {
            hands,
            kind: Box::leak(Box::new(Kind::Manual(hands))),
        }
    }

    /// Moves it forward, by whole milliseconds.
    pub fn advance(&self, by: Duration) {
        self.hands.0.fetch_add(whole_ms(by), Ordering::AcqRel);
    }

    pub(crate) fn set(&self, now: Duration) {
        self.hands.0.store(whole_ms(now), Ordering::Release);
    }

    /// What a [`BreakerConfig`](crate::BreakerConfig) takes.
    #[must_use]
    pub const fn clock(self) -> Clock {
        Clock(self.kind)
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl PartialEq for Hands {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

impl Eq for Hands {}

impl Hash for Hands {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::ptr::from_ref(self.0).hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn tokio_clock_stands_still_and_moves_exactly() {
        let clock = Clock::tokio();
        let before = clock.now();
        assert_eq!(clock.now(), before);
        tokio::time::advance(Duration::from_millis(30_000)).await;
        assert_eq!(clock.now(), before + 30_000);
        assert_eq!(
            clock.instant(clock.now() + 5).into_std() - clock.instant(clock.now()).into_std(),
            Duration::from_millis(5)
        );
    }

    #[test]
    fn coarse_clock_never_goes_back() {
        let clock = Clock::coarse();
        let mut last = clock.now();
        for _ in 0..10_000 {
            let now = clock.now();
            assert!(last <= now);
            last = now;
        }
    }
}
