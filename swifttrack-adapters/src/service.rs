//! An adapter as tower sees it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tower_service::Service;

use crate::{Adapter, CallContext, Cancelled, Error, Lookup};

/// A request to do it.
#[derive(Clone, Debug)]
pub struct Call<R> {
    /// What is asked.
    pub request: R,
    /// Until when, under which key.
    pub cx: CallContext,
}

/// A request to find out whether it happened.
#[derive(Clone, Debug)]
pub struct Query<S> {
    /// What names the effect.
    pub subject: S,
    /// Until when, under which key.
    pub cx: CallContext,
}

/// A request to take it back.
#[derive(Clone, Debug)]
pub struct Cancel<S> {
    /// What names the effect.
    pub subject: S,
    /// Until when, under which key.
    pub cx: CallContext,
}

/// An adapter as a `tower::Service`, so that any layer can stand before it.
///
/// It is a service of three requests: [`Call`], [`Query`] and [`Cancel`]. It is
/// always ready: an adapter waits, if it must, inside the call and by its deadline.
///
/// # What a layer should make of an error
///
/// | error | a circuit | a saga's step |
/// |---|---|---|
/// | `is_rejected()` | a success: the partner works | rejected: undo what came before |
/// | `is_not_applied()`, `is_local()` | ignored | not done: try again |
/// | `is_not_applied()` | a failure | not done: try again after `retry_after()` |
/// | `is_unknown()` | a failure | unknown: ask, or send the same key again |
///
/// # Cancel safety
///
/// That of the adapter: dropping the future leaves its connection usable or closed.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use swifttrack_adapters::{Adapter, AdapterService, Call, CallContext, Error};
/// use tower_service::Service as _;
///
/// async fn once<A>(adapter: A, request: A::Request) -> Result<A::Response, Error>
/// where
///     A: Adapter,
///     A::Request: 'static,
/// {
///     // Layers go here: .layer(BreakerLayer::new()) and the like.
///     let mut service = AdapterService::new(Arc::new(adapter));
///     let cx = CallContext::new("ORD-1:SHIP", Duration::from_secs(5));
///     service.call(Call { request, cx }).await
/// }
/// ```
#[derive(Debug)]
pub struct AdapterService<A> {
    adapter: Arc<A>,
}

impl<A: Adapter> AdapterService<A> {
    /// The service of this adapter.
    #[must_use]
    pub const fn new(adapter: Arc<A>) -> Self {
        Self { adapter }
    }
}

impl<A> Clone for AdapterService<A> {
    fn clone(&self) -> Self {
        Self {
            adapter: Arc::clone(&self.adapter),
        }
    }
}

type Boxed<T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>;

impl<A> Service<Call<A::Request>> for AdapterService<A>
where
    A: Adapter,
    A::Request: 'static,
{
    type Response = A::Response;
    type Error = Error;
    type Future = Boxed<A::Response>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, Call { request, cx }: Call<A::Request>) -> Self::Future {
        let adapter = Arc::clone(&self.adapter);
        Box::pin(async move { adapter.call(&request, &cx).await })
    }
}

impl<A> Service<Query<A::Subject>> for AdapterService<A>
where
    A: Adapter,
    A::Subject: 'static,
{
    type Response = Lookup<A::Response>;
    type Error = Error;
    type Future = Boxed<Lookup<A::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, Query { subject, cx }: Query<A::Subject>) -> Self::Future {
        let adapter = Arc::clone(&self.adapter);
        Box::pin(async move { adapter.query(&subject, &cx).await })
    }
}

impl<A> Service<Cancel<A::Subject>> for AdapterService<A>
where
    A: Adapter,
    A::Subject: 'static,
{
    type Response = Cancelled;
    type Error = Error;
    type Future = Boxed<Cancelled>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, Cancel { subject, cx }: Cancel<A::Subject>) -> Self::Future {
        let adapter = Arc::clone(&self.adapter);
        Box::pin(async move { adapter.cancel(&subject, &cx).await })
    }
}
