use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;
use tower_layer::Layer;

use super::service::Retry;
use super::{Backoff, Budget};
use crate::circuit::machine::mix;
use crate::classify::{AnyError, Outcome, Outside};
use crate::deadline::HasDeadline;

/// Tries again what failed, a little later each time.
///
/// The [`Classifier`](crate::Classifier) decides by the whole result: what is
/// [`Outcome::Failure`] or [`Outcome::Throttled`] may be tried again, if the
/// backoff, the deadline and the budget allow it. `Retry-After` is honoured
/// where it is longer than the backoff; one that ends after the deadline ends
/// the retries now, since waiting for it would be in vain.
///
/// The layer cannot know whether a request may be sent twice. Give it only
/// what carries an idempotency key, or is one by nature.
///
/// It belongs outside the breaker, so that every try counts there. What the
/// breaker refuses is [`Outcome::Ignore`] by [`outside`](Self::outside): not
/// tried again, and free.
///
/// # Defaults
///
/// - every error is a failure
/// - no budget, no deadline
/// - a random seed for the jitter
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it wraps a service"]
pub struct RetryLayer<C = AnyError, D = Unbounded> {
    pub(super) plan: Arc<Plan>,
    pub(super) classifier: C,
    pub(super) deadline: D,
}

#[derive(Debug)]
pub(super) struct Plan {
    pub(super) backoff: Backoff,
    pub(super) budget: Option<Budget>,
    seed: u64,
    drawn: AtomicU64,
}

impl Plan {
    /// A seed for one request, drawn when it first needs one.
    pub(super) fn draw(&self) -> u64 {
        mix(self.seed ^ self.drawn.fetch_add(1, Ordering::Relaxed))
    }
}

/// How a retry learns the deadline of a request.
pub trait DeadlineOf<Request> {
    /// The deadline, if there is one.
    fn deadline_of(&self, request: &Request) -> Option<Instant>;
}

/// Requests have no deadline.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unbounded;

/// Requests carry their deadline: see [`HasDeadline`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Carried;

impl<Request> DeadlineOf<Request> for Unbounded {
    fn deadline_of(&self, _: &Request) -> Option<Instant> {
        None
    }
}

impl<Request: HasDeadline> DeadlineOf<Request> for Carried {
    fn deadline_of(&self, request: &Request) -> Option<Instant> {
        request.deadline()
    }
}

impl RetryLayer {
    /// Retries by this backoff.
    pub fn new(backoff: Backoff) -> Self {
        Self {
            plan: Arc::new(Plan {
                backoff,
                budget: None,
                seed: RandomState::new().hash_one(0),
                drawn: AtomicU64::new(0),
            }),
            classifier: AnyError,
            deadline: Unbounded,
        }
    }
}

impl<C, D> RetryLayer<C, D> {
    /// Takes every retry from this budget.
    pub fn budget(self, budget: Budget) -> Self {
        let seed = self.plan.seed;
        self.with(Some(budget), seed)
    }

    /// Makes the jitter repeatable.
    pub fn seed(self, seed: u64) -> Self {
        let budget = self.plan.budget.clone();
        self.with(budget, seed)
    }

    /// What the results mean, instead of [`AnyError`].
    pub fn classify<E>(self, classifier: E) -> RetryLayer<E, D> {
        RetryLayer {
            plan: self.plan,
            classifier,
            deadline: self.deadline,
        }
    }

    /// The same by a function of the result.
    pub fn classify_with<Res, Err, F>(self, classifier: F) -> RetryLayer<F, D>
    where
        F: Fn(Result<&Res, &Err>) -> Outcome + Clone,
    {
        self.classify(classifier)
    }

    /// For a service that has layers of this crate around it: see [`Outside`].
    pub fn outside(self) -> RetryLayer<Outside<C>, D> {
        RetryLayer {
            plan: self.plan,
            classifier: Outside(self.classifier),
            deadline: self.deadline,
        }
    }

    /// Never waits beyond the deadline that a request carries.
    pub fn heed_deadline(self) -> RetryLayer<C, Carried> {
        RetryLayer {
            plan: self.plan,
            classifier: self.classifier,
            deadline: Carried,
        }
    }

    fn with(self, budget: Option<Budget>, seed: u64) -> Self {
        Self {
            plan: Arc::new(Plan {
                backoff: self.plan.backoff,
                budget,
                seed,
                drawn: AtomicU64::new(0),
            }),
            ..self
        }
    }
}

impl<S, C: Clone, D: Clone> Layer<S> for RetryLayer<C, D> {
    type Service = Retry<S, C, D>;

    fn layer(&self, inner: S) -> Self::Service {
        Retry::new(inner, self.clone())
    }
}
