//! The rates that may open a circuit, each with its window.

use crate::circuit::window::Calls;
use crate::policy::{Policy, Rule, Span, Window};
use crate::state::{Reason, Tally};

#[derive(Debug)]
pub(crate) struct Rules {
    meters: Box<[Meter]>,
    /// The shortest time that any rule calls slow.
    slower_than: Option<u64>,
    /// Whether a call that succeeds must read the clock.
    timed: bool,
}

/// One rate rule with its window.
#[derive(Debug)]
struct Meter {
    rate: u32,
    min_calls: u32,
    slower_than: Option<u64>,
    calls: Calls,
}

/// What a call did to the windows.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counted {
    /// The first rate that it brought over its limit, and what that window holds.
    pub(crate) tripped: Option<(Reason, Tally)>,
    /// It is the first bad call after good ones that [`are_spotless`](Rules::are_spotless) was said of.
    pub(crate) spoiled: bool,
}

impl Rules {
    pub(crate) fn new(policy: &Policy, stripes: usize) -> Self {
        let rates = || {
            policy
                .rules
                .iter()
                .flatten()
                .filter_map(|rule| match *rule {
                    Rule::Consecutive(_) => None,
                    Rule::Rate {
                        rate,
                        slower_than,
                        window,
                    } => Some((rate, slower_than, window)),
                })
        };
        let meter = |(rate, slower_than, window): (_, _, Window)| Meter {
            rate,
            min_calls: window.min_calls,
            slower_than,
            calls: Calls::new(window, stripes),
        };
        Self {
            slower_than: rates().filter_map(|(_, slower_than, _)| slower_than).min(),
            timed: rates()
                .any(|(_, slow, window)| slow.is_some() || matches!(window.span, Span::Time(_))),
            meters: rates().map(meter).collect(),
        }
    }

    /// For another circuit that begins here.
    pub(crate) fn clear(&self) {
        self.meters.iter().for_each(|meter| meter.calls.clear());
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.meters.is_empty()
    }

    /// Whether some rule asks how long calls take.
    pub(crate) const fn look_at_slow(&self) -> bool {
        self.slower_than.is_some()
    }

    pub(crate) const fn are_timed(&self) -> bool {
        self.timed
    }

    /// Whether any rule calls this slow.
    pub(crate) fn is_slow(&self, took: Option<u64>) -> bool {
        is_slow(self.slower_than, took)
    }

    /// Whether no window holds a bad call.
    pub(crate) fn are_clear(&self, generation: u32, now: u64) -> bool {
        let clear = |meter: &Meter| meter.calls.tally(generation, now).bad == 0;
        self.meters.iter().all(clear)
    }

    /// Whether the windows are full of good calls, so that one more is the same.
    #[inline]
    pub(crate) fn are_spotless(&self, generation: u32) -> bool {
        let spotless = |meter: &Meter| meter.calls.is_spotless(generation);
        !self.timed && self.meters.iter().all(spotless)
    }

    /// Counts a call that no rule holds against the partner. `current` is as for [`Calls::record`].
    #[inline]
    pub(crate) fn record_good(
        &self,
        generation: u32,
        now: u64,
        stripe: usize,
        current: impl Fn() -> Option<u64>,
    ) {
        for meter in &self.meters {
            meter.calls.record(generation, now, stripe, false, &current);
        }
    }

    /// Counts a call under each rule that it is bad or good under.
    pub(crate) fn record(
        &self,
        generation: u32,
        now: u64,
        stripe: usize,
        failed: bool,
        took: Option<u64>,
        current: impl Fn() -> Option<u64>,
    ) -> Counted {
        let (mut tripped, mut spoiled) = (None, 0);
        for meter in &self.meters {
            let bad = match meter.slower_than {
                Some(_) => is_slow(meter.slower_than, took),
                None => failed,
            };
            let counted = meter.calls.record(generation, now, stripe, bad, &current);
            if let Some(bad) = counted {
                spoiled += usize::from(bad.spoiled);
                if tripped.is_none() && meter.is_over(bad.tally) {
                    tripped = Some((meter.reason(), bad.tally));
                }
            }
        }
        Counted {
            tripped,
            spoiled: spoiled != 0 && spoiled == self.meters.len(),
        }
    }

    /// What the first window holds.
    #[cfg(all(test, loom))]
    pub(crate) fn tally(&self, generation: u32, now: u64) -> Tally {
        self.meters[0].calls.tally(generation, now)
    }
}

fn is_slow(limit: Option<u64>, took: Option<u64>) -> bool {
    limit.zip(took).is_some_and(|(limit, took)| limit <= took)
}

impl Meter {
    const fn reason(&self) -> Reason {
        match self.slower_than {
            Some(_) => Reason::SlowRate,
            None => Reason::FailureRate,
        }
    }

    const fn is_over(&self, tally: Tally) -> bool {
        self.min_calls <= tally.total
            && self.rate as u64 * tally.total as u64 <= tally.bad as u64 * 10_000
    }
}
