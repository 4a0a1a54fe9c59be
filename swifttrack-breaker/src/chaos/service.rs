use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use tower_service::Service;

use super::future::ResponseFuture;
use super::layer::Plan;

/// A service in trouble. See [`ChaosLayer`](super::ChaosLayer).
#[derive(Clone)]
pub struct Chaos<S, F> {
    inner: S,
    plan: Arc<Plan>,
    error: F,
}

impl<S, F> Chaos<S, F> {
    pub(super) const fn new(inner: S, plan: Arc<Plan>, error: F) -> Self {
        Self { inner, plan, error }
    }
}

impl<S, F, Request> Service<Request> for Chaos<S, F>
where
    S: Service<Request>,
    F: Fn() -> S::Error,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let fate = self.plan.next();
        let error = (fate.fails || fate.loses).then(|| (self.error)());
        let future = (!fate.fails).then(|| self.inner.call(request));
        ResponseFuture::new(future, error, fate.slow_by)
    }
}

impl<S: fmt::Debug, F> fmt::Debug for Chaos<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chaos")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
