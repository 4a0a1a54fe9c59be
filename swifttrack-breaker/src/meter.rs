//! What a circuit hands to the `metrics` facade; the names are in the docs of the crate.

use std::sync::{Arc, Mutex, TryLockError};

use metrics::{Counter as Sink, Gauge, counter, gauge};

use crate::slot::{Counter, Slot};
use crate::state::{State, Transition};

#[derive(Debug)]
pub(crate) struct Meters {
    name: Arc<str>,
    state: Gauge,
    /// With what has already been handed over; a std mutex, since nothing is awaited while it is held.
    calls: Mutex<[(Sink, u64); Counter::ALL.len()]>,
}

impl Meters {
    pub(crate) fn new(name: &Arc<str>) -> Self {
        let sink = |counter| {
            let outcome = match counter {
                Counter::Success => "success",
                Counter::Failure => "failure",
                Counter::Throttled => "throttled",
                Counter::Ignored => "ignored",
                Counter::Slow => "slow",
                Counter::Refused => "refused",
                Counter::Stale => "stale",
            };
            (
                counter!("circuit_calls_total", "circuit" => Arc::clone(name), "outcome" => outcome),
                0,
            )
        };
        let state = gauge!("circuit_state", "circuit" => Arc::clone(name));
        state.set(0.0);
        Self {
            name: Arc::clone(name),
            state,
            calls: Mutex::new(Counter::ALL.map(sink)),
        }
    }

    pub(crate) fn moved(&self, transition: &Transition) {
        let Transition { to, reason, .. } = transition;
        counter!("circuit_transitions_total", "circuit" => Arc::clone(&self.name), "to" => to.as_str(), "reason" => reason.as_str())
            .increment(1);
        self.state.set(match to {
            State::Closed => 0.0,
            State::Open => 1.0,
            State::HalfOpen => 2.0,
            State::ForcedOpen => 3.0,
            State::Disabled => 4.0,
            State::Observe => 5.0,
        });
    }

    /// Whoever finds another at it leaves it to that one.
    pub(crate) fn flush(&self, slot: &Slot) {
        let mut calls = match self.calls.try_lock() {
            Ok(calls) => calls,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        for (counter, (sink, told)) in Counter::ALL.into_iter().zip(calls.iter_mut()) {
            let count = slot.count_of(counter);
            if *told < count {
                sink.increment(count - *told);
                *told = count;
            }
        }
    }
}
