use std::mem;
use std::task::{Context, Poll};

use tower_service::Service;

use super::future::ResponseFuture;
use super::layer::{DeadlineOf, RetryLayer};
use crate::classify::Classifier;

/// A service whose failures are tried again. See [`RetryLayer`].
#[derive(Clone, Debug)]
pub struct Retry<S, C, D> {
    inner: S,
    layer: RetryLayer<C, D>,
}

impl<S, C, D> Retry<S, C, D> {
    pub(super) const fn new(inner: S, layer: RetryLayer<C, D>) -> Self {
        Self { inner, layer }
    }
}

impl<S, C, D, Request> Service<Request> for Retry<S, C, D>
where
    S: Service<Request> + Clone,
    C: Classifier<S::Response, S::Error> + Clone,
    D: DeadlineOf<Request> + Clone,
    Request: Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, Request, C, D>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        if let Some(budget) = &self.layer.plan.budget {
            budget.deposit();
        }
        // The one that was made ready goes with the call; the clone stays, unready.
        let fresh = self.inner.clone();
        let mut ready = mem::replace(&mut self.inner, fresh);
        let copy = request.clone();
        let future = ready.call(request);
        ResponseFuture::new(future, ready, copy, self.layer.clone())
    }
}
