//! The one face that all partners show to a saga.

use async_trait::async_trait;

use crate::{CallContext, Error};

/// A partner's operation: do it, ask whether it happened, take it back, see whether the partner lives.
///
/// # Laws
///
/// 1. The call ends by [`CallContext::deadline`], by itself.
/// 2. Under one [`CallContext::idempotency_key`] the effect happens at most once.
/// 3. An adapter never retries: the one who knows the whole (a saga) decides.
/// 4. The class of an error follows the [first-byte rule](crate::Error#the-first-byte-rule).
/// 5. Dropping the future of a call leaves the connection usable or closed, never out of step.
#[async_trait]
pub trait Adapter: Send + Sync + 'static {
    /// What is asked.
    type Request: Send + Sync;
    /// What is answered.
    type Response: Send;
    /// What [`query`](Self::query) and [`cancel`](Self::cancel) need to name the effect.
    type Subject: Send + Sync;

    /// The partner's name, for logs and metrics.
    fn name(&self) -> &'static str;

    /// Does it.
    ///
    /// # Errors
    ///
    /// Any class; see [`Error`].
    async fn call(
        &self,
        request: &Self::Request,
        cx: &CallContext,
    ) -> Result<Self::Response, Error>;

    /// Asks whether it happened. Changes nothing.
    ///
    /// # Errors
    ///
    /// When the question was not answered; the effect is as unknown as before.
    async fn query(
        &self,
        subject: &Self::Subject,
        cx: &CallContext,
    ) -> Result<Lookup<Self::Response>, Error>;

    /// Takes it back, also if it never happened: then it cannot happen any more.
    ///
    /// # Errors
    ///
    /// Any class; repeating it under the same key is safe.
    async fn cancel(&self, subject: &Self::Subject, cx: &CallContext) -> Result<Cancelled, Error>;

    /// Sees whether the partner answers at all.
    ///
    /// # Errors
    ///
    /// When it does not.
    async fn probe(&self, cx: &CallContext) -> Result<(), Error>;
}

/// What a partner knows about an effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup<T> {
    /// It happened, and this was the answer.
    Done(T),
    /// It happened; sending the same key again fetches the answer.
    Happened,
    /// It cannot happen any more: it was cancelled, or its key is fenced by a tombstone.
    Never,
    /// It has not happened so far. A request may still be on its way.
    NotYet,
}

/// What a cancel did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// The effect was there and is gone.
    Cancelled,
    /// It had been cancelled before.
    Already,
    /// There was none, and now there cannot be one.
    Tombstoned,
}
