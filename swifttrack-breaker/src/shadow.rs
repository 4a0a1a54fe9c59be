//! Policies that decide nothing, and say what they would have decided.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::circuit::core::Core;
use crate::circuit::machine::Order;
use crate::circuit::word::Phase;
use crate::classify::Outcome;
use crate::clock::ManualClock;
use crate::config::BreakerConfig;
use crate::flight::Flight;
use crate::state::{Reason, Tally};

/// How many policies can watch one circuit.
pub const SHADOWS_MAX: usize = 8;

/// How many trips a shadow keeps.
pub const TRIPS_MAX: usize = 64;

/// One policy, fed with outcomes.
///
/// It is the circuit's own core in its observing state, so it answers exactly
/// as the circuit would have.
///
/// # Examples
///
/// Would a stricter policy have opened earlier?
///
/// ```
/// use std::time::Duration;
/// use swifttrack_breaker::{BreakerConfig, Outcome, Shadow};
///
/// let mut strict = Shadow::new(BreakerConfig::new().trip_after(2));
/// for second in 1..=5 {
///     strict.feed(Duration::from_secs(second), Outcome::Failure, None);
/// }
/// assert_eq!(strict.trips()[0].at, Duration::from_secs(2));
/// ```
#[derive(Debug)]
pub struct Shadow {
    core: Core,
    clock: Loan,
    trips: VecDeque<Trip>,
}

/// When a shadow would have opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Trip {
    /// On the clock that it was fed by.
    pub at: Duration,
    /// Why.
    pub reason: Reason,
    /// For a rate, how many were bad of how many.
    pub rate: Option<Tally>,
    /// How long it would have refused.
    pub open_for: Duration,
}

impl Shadow {
    /// A shadow that has seen nothing. The configuration's clock is not read.
    #[must_use]
    pub fn new(config: BreakerConfig) -> Self {
        let clock = Loan::new();
        let core = Core::new(config.clock(clock.0.clock()), 1, 1);
        core.obey(Order::Observe);
        Self {
            core,
            clock,
            trips: VecDeque::new(),
        }
    }

    /// Sees one outcome, that came at this time and took so long; gives the trip if it makes one.
    ///
    /// Time must not go back. While it would have been open it sees nothing, and afterwards starts anew.
    pub fn feed(&mut self, at: Duration, outcome: Outcome, took: Option<Duration>) -> Option<Trip> {
        let clock = self.clock.0;
        clock.set(at.saturating_sub(took.unwrap_or_default()));
        let (Ok(tag), _) = self.core.admit() else {
            return None;
        };
        clock.set(at);
        let moved = self.core.settle(tag, outcome, 0, 0).moved?;
        let Phase::ObserveOpen { until } = moved.to.phase() else {
            return None;
        };
        let trip = Trip {
            at,
            reason: moved.reason,
            rate: moved.rate,
            open_for: Duration::from_millis(until.saturating_sub(moved.now)),
        };
        if self.trips.len() == TRIPS_MAX {
            self.trips.pop_front();
        }
        self.trips.push_back(trip);
        Some(trip)
    }

    /// The last trips, oldest first.
    #[must_use]
    pub fn trips(&self) -> Vec<Trip> {
        self.trips.iter().copied().collect()
    }

    /// What this configuration would have made of a flight record. Times count from its first outcome.
    #[must_use]
    pub fn replay(config: BreakerConfig, flight: &[Flight]) -> Vec<Trip> {
        let mut shadow = Self::new(config);
        let start = flight
            .iter()
            .map(|flight| flight.ago)
            .max()
            .unwrap_or_default();
        // Later than any call of it began, so that its time has a place to begin.
        let zero = flight
            .iter()
            .filter_map(|flight| flight.took)
            .max()
            .unwrap_or_default();
        for entry in flight {
            shadow.feed(
                zero + start.saturating_sub(entry.ago),
                entry.outcome,
                entry.took,
            );
        }
        let from_start = |trip: Trip| Trip {
            at: trip.at - zero,
            ..trip
        };
        shadow.trips().into_iter().map(from_start).collect()
    }
}

/// A shadow on live calls, from [`BreakerHandle::shadow`](crate::BreakerHandle::shadow). Dropping it ends it.
#[derive(Clone, Debug)]
pub struct LiveShadow {
    pub(crate) name: Arc<str>,
    /// A std mutex, since nothing is awaited while it is held.
    pub(crate) shadow: Arc<Mutex<Shadow>>,
}

impl LiveShadow {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The last trips, oldest first. Times are those of the circuit's clock.
    #[must_use]
    pub fn trips(&self) -> Vec<Trip> {
        self.shadow
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .trips()
    }
}

/// A clock that is used again when the shadow is gone, since its bytes live for ever.
#[derive(Debug)]
struct Loan(ManualClock);

static CLOCKS: Mutex<Vec<ManualClock>> = Mutex::new(Vec::new());

impl Loan {
    fn new() -> Self {
        let free = CLOCKS.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let clock = free.unwrap_or_default();
        clock.set(Duration::ZERO);
        Self(clock)
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        CLOCKS
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(self.0);
    }
}
