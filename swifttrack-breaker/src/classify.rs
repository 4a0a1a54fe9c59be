//! Which results speak against the one that was called.

use std::time::Duration;

use crate::error::Error;

/// What one result says about the health of whoever answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It answered. A refusal by its business rules is an answer too.
    Success,
    /// It did not do its work; the same call may go better later.
    Failure,
    /// Says nothing: the call never left, or its caller went away. Gives a probe back.
    Ignore,
    /// It asked for fewer calls. Counts as a failure; if that opens the circuit, it stays open at least this long.
    Throttled {
        /// How long it asked us to wait, if it said so.
        retry_after: Option<Duration>,
    },
}

/// Decides what a whole result means, since failure hides in `Ok` too: an HTTP
/// 503 is an `Ok` to a client, and a rejected order is a healthy answer.
///
/// # Laws
///
/// 1. The answer depends on the result alone, not on time or on earlier results.
/// 2. What was refused on our own side (a full bulkhead, a spent deadline) is
///    [`Outcome::Ignore`]. [`Outside`] sees to that.
///
/// # Examples
///
/// ```
/// use swifttrack_breaker::{Classifier, Outcome};
///
/// #[derive(Clone)]
/// struct ByStatus;
///
/// impl<E> Classifier<u16, E> for ByStatus {
///     fn classify(&self, result: Result<&u16, &E>) -> Outcome {
///         match result {
///             Ok(429) => Outcome::Throttled { retry_after: None },
///             Ok(500..) | Err(_) => Outcome::Failure,
///             Ok(_) => Outcome::Success,
///         }
///     }
/// }
/// ```
pub trait Classifier<Res, Err> {
    /// Judges one result.
    fn classify(&self, result: Result<&Res, &Err>) -> Outcome;

    /// Whether the call was refused on our own side and reached nobody, so that a retry budget gets back what it paid for it.
    fn is_local(&self, result: Result<&Res, &Err>) -> bool {
        let _ = result;
        false
    }
}

impl<F, Res, Err> Classifier<Res, Err> for F
where
    F: Fn(Result<&Res, &Err>) -> Outcome,
{
    fn classify(&self, result: Result<&Res, &Err>) -> Outcome {
        self(result)
    }
}

/// Every error is a failure, every `Ok` a success. The default.
#[derive(Clone, Copy, Debug, Default)]
pub struct AnyError;

impl<Res, Err> Classifier<Res, Err> for AnyError {
    fn classify(&self, result: Result<&Res, &Err>) -> Outcome {
        match result {
            Ok(_) => Outcome::Success,
            Err(_) => Outcome::Failure,
        }
    }
}

/// Lifts a classifier over the layers of this crate that stand inside: what
/// they refused is ignored, what timed out is a failure, the rest goes to `C`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outside<C>(pub C);

impl<C, Res, Err> Classifier<Res, Error<Err>> for Outside<C>
where
    C: Classifier<Res, Err>,
{
    fn classify(&self, result: Result<&Res, &Error<Err>>) -> Outcome {
        match result {
            Ok(answer) => self.0.classify(Ok(answer)),
            Err(Error::Inner(error)) => self.0.classify(Err(error)),
            Err(Error::TimedOut(_)) => Outcome::Failure,
            Err(Error::Refused(_)) => Outcome::Ignore,
        }
    }

    fn is_local(&self, result: Result<&Res, &Error<Err>>) -> bool {
        match result {
            Ok(answer) => self.0.is_local(Ok(answer)),
            Err(Error::Inner(error)) => self.0.is_local(Err(error)),
            Err(Error::TimedOut(_)) => false,
            Err(Error::Refused(_)) => true,
        }
    }
}
