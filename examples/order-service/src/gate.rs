//! What stands before a partner: its circuit, and a bulkhead of its own.
//!
//! ```text
//!   step ─▶ circuit ─▶ bulkhead ─▶ adapter (ends by the attempt's deadline)
//! ```
//!
//! The circuit comes first, so that an open one costs nothing; the bulkhead comes
//! after it, and a full one counts as nothing, since it says nothing about the partner.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use swifttrack_adapters::Error;
use swifttrack_breaker::{BreakerHandle, Outcome};
use tokio::sync::Semaphore;

use crate::estimate::Estimate;
use crate::step::Step;

/// How many calls to one partner run at once; more of them wait their turn.
const CALLS_MAX: usize = 64;
/// When a refusal does not say when to come back (an operator holds the circuit open), or
/// every place is taken.
const PAUSE: Duration = Duration::from_secs(1);

/// A partner behind its circuit and its bulkhead.
#[derive(Debug)]
pub struct Gate<A> {
    step: Step,
    adapter: A,
    circuit: BreakerHandle,
    places: Semaphore,
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
    pub fn new(step: Step, adapter: A, circuit: BreakerHandle, estimate: Arc<Estimate>) -> Self {
        Self {
            step,
            adapter,
            circuit,
            places: Semaphore::new(CALLS_MAX),
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

    /// Makes the call, if circuit and bulkhead let it through.
    ///
    /// # Errors
    ///
    /// [`Refused::Here`] if it was not made, [`Refused::There`] with the adapter's word otherwise.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the call counts as nothing and its place is free.
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
        let Ok(_place) = self.places.acquire().await else {
            return Err(Refused::Here { retry_after: PAUSE });
        };
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
