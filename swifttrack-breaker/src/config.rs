//! How a circuit behaves.

use std::time::Duration;

use crate::clock::Clock;
use crate::policy::{Policy, whole_ms};

/// How a circuit behaves. Every setter is `const`, so that a configuration can
/// be named once and is checked when it is compiled.
///
/// # Defaults
///
/// - `policy`: 3 failures in a row
/// - `open_for`: 30 seconds, no growth, no jitter; `open_max`: 5 minutes
/// - `probes`: 1, `lease`: as long as `open_for`
/// - `ramp`: 100 waiters in the first second, `waiters_max`: 65,536
/// - `clock`: tokio's
/// - `count_successes`: off
/// - `metrics`: on
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use swifttrack_breaker::BreakerConfig;
///
/// const CARRIER: BreakerConfig = BreakerConfig::new()
///     .trip_after(5)
///     .open_for(Duration::from_secs(10))
///     .probes(2);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use = "a configuration does nothing by itself"]
pub struct BreakerConfig {
    pub(crate) policy: Policy,
    pub(crate) open_ms: u64,
    pub(crate) open_max_ms: u64,
    /// In hundredths; 100 is no growth.
    pub(crate) growth: u32,
    /// In hundredths of the open time.
    pub(crate) jitter: u32,
    pub(crate) probes: u8,
    pub(crate) lease_ms: Option<u64>,
    pub(crate) ramp: u32,
    pub(crate) waiters_max: u32,
    pub(crate) clock: Clock,
    pub(crate) count_successes: bool,
    pub(crate) metrics: bool,
}

impl BreakerConfig {
    /// The most probes that can be out at once.
    pub const PROBES_MAX: u8 = 63;

    /// The [defaults](Self#defaults).
    pub const fn new() -> Self {
        Self {
            policy: Policy::consecutive(3),
            open_ms: 30_000,
            open_max_ms: 300_000,
            growth: 100,
            jitter: 0,
            probes: 1,
            lease_ms: None,
            ramp: 100,
            waiters_max: 65_536,
            clock: Clock::tokio(),
            count_successes: false,
            metrics: true,
        }
    }

    /// Opens after this many failures in a row: short for [`Policy::consecutive`].
    ///
    /// # Panics
    ///
    /// As [`Policy::consecutive`].
    #[track_caller]
    pub const fn trip_after(self, failures: u32) -> Self {
        self.policy(Policy::consecutive(failures))
    }

    /// When to open.
    pub const fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// How long to refuse before a probe is let through.
    ///
    /// # Panics
    ///
    /// Panics if it is shorter than a millisecond.
    #[track_caller]
    pub const fn open_for(mut self, time: Duration) -> Self {
        self.open_ms = whole_ms(time);
        assert!(
            0 < self.open_ms,
            "a circuit stays open for at least a millisecond"
        );
        if self.open_max_ms < self.open_ms {
            self.open_max_ms = self.open_ms;
        }
        self
    }

    /// Stays open longer each time a probe fails: `factor` times as long, at most `max`. Closing starts again from `open_for`.
    ///
    /// # Panics
    ///
    /// Panics if `factor` is below 1, above 100 or not a number, or `max` is below the open time.
    #[track_caller]
    pub const fn growth(mut self, factor: f64, max: Duration) -> Self {
        assert!(
            factor >= 1.0 && factor <= 100.0,
            "open time grows by a factor of 1 to 100"
        );
        self.growth = (factor * 100.0 + 0.5) as u32;
        self.open_max(max)
    }

    /// The longest open time, also where a throttling partner asks for more.
    ///
    /// # Panics
    ///
    /// Panics if it is below the open time.
    #[track_caller]
    pub const fn open_max(mut self, max: Duration) -> Self {
        self.open_max_ms = whole_ms(max);
        assert!(
            self.open_ms <= self.open_max_ms,
            "the longest open time is below the first"
        );
        self
    }

    /// Stays open longer by a random part of up to `part` of the open time, so that many processes do not probe at one moment. Never shorter.
    ///
    /// # Panics
    ///
    /// Panics unless `part` is between 0 and 1.
    #[track_caller]
    pub const fn jitter(mut self, part: f64) -> Self {
        assert!(
            part >= 0.0 && part <= 1.0,
            "jitter is a part of the open time"
        );
        self.jitter = (part * 100.0 + 0.5) as u32;
        self
    }

    /// How many probes are out at once when half-open, and how many must succeed to close. The first that fails opens again.
    ///
    /// # Panics
    ///
    /// Panics if it is zero or above [`PROBES_MAX`](Self::PROBES_MAX).
    #[track_caller]
    pub const fn probes(mut self, probes: u8) -> Self {
        assert!(0 < probes, "a half-open circuit needs a probe");
        assert!(probes <= Self::PROBES_MAX, "at most 63 probes");
        self.probes = probes;
        self
    }

    /// How long a probe may take. After that its permit is given to another, and its own result counts no more.
    ///
    /// # Panics
    ///
    /// Panics if it is shorter than a millisecond.
    #[track_caller]
    pub const fn lease(mut self, time: Duration) -> Self {
        let ms = whole_ms(time);
        assert!(0 < ms, "a lease lasts at least a millisecond");
        self.lease_ms = Some(ms);
        self
    }

    /// How many waiters are let go in the first second after closing. The rate rises by as much every second.
    ///
    /// # Panics
    ///
    /// Panics if it is zero.
    #[track_caller]
    pub const fn ramp(mut self, per_second: u32) -> Self {
        assert!(0 < per_second, "a ramp that lets nobody go");
        self.ramp = per_second;
        self
    }

    /// How many may wait for the circuit at once; more are refused.
    pub const fn waiters_max(mut self, waiters: u32) -> Self {
        self.waiters_max = waiters;
        self
    }

    /// Which clock to read.
    pub const fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Counts successes too, for the snapshot and the metrics. It is off since it is the one thing that a healthy call of a circuit without a window would write.
    pub const fn count_successes(mut self, count: bool) -> Self {
        self.count_successes = count;
        self
    }

    /// Whether to hand counts and transitions to the `metrics` facade, under the circuit's name. Off is for circuits whose names are many.
    pub const fn metrics(mut self, metrics: bool) -> Self {
        self.metrics = metrics;
        self
    }

    pub(crate) const fn lease_ms(&self) -> u64 {
        match self.lease_ms {
            Some(ms) => ms,
            None => self.open_ms,
        }
    }
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self::new()
    }
}
