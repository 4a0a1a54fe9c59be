//! What stands before a partner: its circuit.
//!
//! ```text
//!   engine (at most CALLS_MAX attempts) ─▶ circuit ─▶ adapter (ends by the attempt's deadline)
//! ```
//!
//! The bulkhead is the engine's, which lets so many attempts of a step run at a time: who waits
//! for a place there spends no part of its deadline, and meets the circuit as it is when its
//! turn has come, not as it was.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use swifttrack_adapters::Error;
use swifttrack_breaker::{BreakerHandle, Outcome};

use crate::estimate::Estimate;
use crate::step::Step;

/// How many calls to one partner run at once; more of them wait their turn.
pub const CALLS_MAX: usize = 64;
/// When a refusal does not say when to come back: an operator holds the circuit open.
const PAUSE: Duration = Duration::from_secs(1);

/// A partner behind its circuit.
#[derive(Debug)]
pub struct Gate<A> {
    step: Step,
    adapter: A,
    circuit: BreakerHandle,
    estimate: Arc<Estimate>,
}

/// Why a call gave no answer.
#[derive(Debug)]
pub enum Refused {
    /// It was not made.
    Here {
        /// When to come back.
        retry_after: Duration,
    },
    /// It was made, or tried, and this came of it.
    There(Error),
}

impl<A> Gate<A> {
    /// Puts a circuit before an adapter.
    pub const fn new(
        step: Step,
        adapter: A,
        circuit: BreakerHandle,
        estimate: Arc<Estimate>,
    ) -> Self {
        Self {
            step,
            adapter,
            circuit,
            estimate,
        }
    }

    /// Which step calls it.
    pub const fn step(&self) -> Step {
        self.step
    }

    /// The adapter itself, for calls that are handed to [`pass`](Self::pass).
    pub const fn adapter(&self) -> &A {
        &self.adapter
    }

    /// A step took so long.
    pub fn observe(&self, took: Duration) {
        self.estimate.observe(self.step, took);
    }

    /// Makes the call, if the circuit lets it through.
    ///
    /// # Errors
    ///
    /// [`Refused::Here`] if it was not made, [`Refused::There`] with the adapter's word otherwise.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the call counts as nothing.
    pub async fn pass<T>(
        &self,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Refused> {
        let ticket = self
            .circuit
            .try_acquire()
            .map_err(|refused| Refused::Here {
                retry_after: refused.retry_after().unwrap_or(PAUSE),
            })?;
        let result = call.await;
        ticket.finish(match &result {
            Ok(_) => Outcome::Success,
            Err(error) if error.counts_against_partner() => Outcome::Failure,
            Err(error) if error.is_local() => Outcome::Ignore,
            // A rejection for a business reason is a healthy partner's answer.
            Err(_) => Outcome::Success,
        });
        result.map_err(Refused::There)
    }
}
