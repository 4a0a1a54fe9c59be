//! When a circuit opens.

use std::time::Duration;

/// How many rules one policy can have.
pub(crate) const RULES_MAX: usize = 4;

/// When a circuit opens: one rule, or any of several.
///
/// Only a bad outcome opens a circuit. A success changes the counts and is
/// never the one to trip it, even where it brings the volume to the minimum.
///
/// # Defaults
///
/// [`Policy::consecutive`]`(3)`
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use swifttrack_breaker::{Policy, Window};
///
/// const PARTNER: Policy = Policy::consecutive(5)
///     .or(Policy::failure_rate(0.5, Window::time(Duration::from_secs(10)).min_calls(20)))
///     .or(Policy::slow_rate(0.8, Duration::from_secs(2), Window::calls(40)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Policy {
    pub(crate) rules: [Option<Rule>; RULES_MAX],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Rule {
    Consecutive(u32),
    Rate {
        /// In ten-thousandths.
        rate: u32,
        /// Counts calls at least this slow (ms) instead of failures.
        slower_than: Option<u64>,
        window: Window,
    },
}

impl Policy {
    /// Opens after this many failures with no success between them.
    ///
    /// # Panics
    ///
    /// Panics if `failures` is zero or above [`CONSECUTIVE_MAX`](Self::CONSECUTIVE_MAX).
    #[must_use]
    #[track_caller]
    pub const fn consecutive(failures: u32) -> Self {
        assert!(0 < failures, "a circuit must allow at least one failure");
        assert!(
            failures <= Self::CONSECUTIVE_MAX,
            "more failures in a row than a circuit can count"
        );
        Self::of(Rule::Consecutive(failures))
    }

    /// The most failures in a row that can be asked for.
    pub const CONSECUTIVE_MAX: u32 = (1 << 20) - 1;

    /// Opens when at least this part of the calls in the window failed: 0.5 is half of them.
    ///
    /// # Panics
    ///
    /// Panics unless `rate` is above 0 and at most 1.
    #[must_use]
    #[track_caller]
    pub const fn failure_rate(rate: f64, window: Window) -> Self {
        Self::of(Rule::Rate {
            rate: ten_thousandths(rate),
            slower_than: None,
            window,
        })
    }

    /// Opens when at least this part of the calls in the window took `slower_than` or longer, whether they failed or not.
    ///
    /// Such a rule reads the clock twice a call. A probe of a half-open circuit
    /// that is this slow counts as failed.
    ///
    /// # Panics
    ///
    /// Panics unless `rate` is above 0 and at most 1 and `slower_than` at least a millisecond.
    #[must_use]
    #[track_caller]
    pub const fn slow_rate(rate: f64, slower_than: Duration, window: Window) -> Self {
        let ms = whole_ms(slower_than);
        assert!(0 < ms, "a slow call takes at least a millisecond");
        Self::of(Rule::Rate {
            rate: ten_thousandths(rate),
            slower_than: Some(ms),
            window,
        })
    }

    /// Opens when either would. If several do at once, a run of failures names the reason first, then the earlier rate.
    ///
    /// # Panics
    ///
    /// Panics if there are more than four rules in all.
    #[must_use]
    #[track_caller]
    pub const fn or(mut self, other: Self) -> Self {
        let mut from = 0;
        while from < RULES_MAX {
            if other.rules[from].is_some() {
                let mut to = 0;
                while to < RULES_MAX && self.rules[to].is_some() {
                    to += 1;
                }
                assert!(to < RULES_MAX, "a policy has at most four rules");
                self.rules[to] = other.rules[from];
            }
            from += 1;
        }
        self
    }

    /// The shortest run of failures that opens it.
    pub(crate) fn trips_after(&self) -> Option<u32> {
        let run = |rule: &Rule| match rule {
            Rule::Consecutive(failures) => Some(*failures),
            Rule::Rate { .. } => None,
        };
        self.rules.iter().flatten().filter_map(run).min()
    }

    pub(crate) fn has_window(&self) -> bool {
        self.rules
            .iter()
            .flatten()
            .any(|rule| matches!(rule, Rule::Rate { .. }))
    }

    const fn of(rule: Rule) -> Self {
        Self {
            rules: [Some(rule), None, None, None],
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self::consecutive(3)
    }
}

/// Which calls a rate looks at.
///
/// # Defaults
///
/// - `min_calls`: 10, or the size of a smaller window
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    pub(crate) span: Span,
    pub(crate) min_calls: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Span {
    Calls(u32),
    /// The width of one of the buckets, in ms.
    Time(u64),
}

/// A time window is this many buckets; it forgets in steps of a tenth.
pub(crate) const BUCKETS: u64 = 10;

/// The longest bucket, in ms: that of a week.
pub(crate) const WIDTH_MAX: u64 = 7 * 24 * 3_600_000 / BUCKETS;

impl Window {
    /// The most calls that a window can hold.
    pub const CALLS_MAX: u32 = 4096;

    /// The last `calls` calls, one bit each. A call is one compare-and-swap, whatever the size, and
    /// one load while all of them are good.
    ///
    /// # Panics
    ///
    /// Panics if `calls` is zero or above [`CALLS_MAX`](Self::CALLS_MAX).
    #[must_use]
    #[track_caller]
    pub const fn calls(calls: u32) -> Self {
        assert!(0 < calls, "a window holds at least one call");
        assert!(
            calls <= Self::CALLS_MAX,
            "a window holds at most 4096 calls"
        );
        Self {
            span: Span::Calls(calls),
            min_calls: if calls < 10 { calls } else { 10 },
        }
    }

    /// The calls of about the last `time`: the current tenth and the nine before it.
    ///
    /// # Panics
    ///
    /// Panics if `time` is shorter than 10 milliseconds or longer than a week.
    #[must_use]
    #[track_caller]
    pub const fn time(time: Duration) -> Self {
        let bucket = whole_ms(time) / BUCKETS;
        assert!(0 < bucket, "a time window is at least 10 ms long");
        assert!(bucket <= WIDTH_MAX, "a time window is at most a week long");
        Self {
            span: Span::Time(bucket),
            min_calls: 10,
        }
    }

    /// The most that can be asked for as [`min_calls`](Self::min_calls) in a window of time.
    pub const MIN_CALLS_MAX: u32 = 1 << 19;

    /// Looks at the rate only when the window holds this many calls.
    ///
    /// # Panics
    ///
    /// Panics if it is zero, or more than the window is sure to hold: its size,
    /// or [`MIN_CALLS_MAX`](Self::MIN_CALLS_MAX) in a window of time.
    #[must_use]
    #[track_caller]
    pub const fn min_calls(mut self, calls: u32) -> Self {
        assert!(0 < calls, "a rate needs at least one call");
        let max = match self.span {
            Span::Calls(size) => size,
            Span::Time(_) => Self::MIN_CALLS_MAX,
        };
        assert!(calls <= max, "the window never holds that many calls");
        self.min_calls = calls;
        self
    }
}

#[track_caller]
const fn ten_thousandths(rate: f64) -> u32 {
    // Written so that NaN fails it.
    assert!(rate > 0.0 && rate <= 1.0, "a rate is above 0 and at most 1");
    let whole = (rate * 10_000.0 + 0.5) as u32;
    if whole == 0 { 1 } else { whole }
}

pub(crate) const fn whole_ms(time: Duration) -> u64 {
    let ms = time.as_millis();
    if ms > crate::clock::MS_MAX as u128 {
        crate::clock::MS_MAX
    } else {
        ms as u64
    }
}
