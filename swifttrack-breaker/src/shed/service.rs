use std::mem;
use std::task::{Context, Poll};

use tower_service::Service;

use crate::error::{Cause, Error, Refused};
use crate::timeout::future::ResponseFuture;

/// A service that is ready, or refuses. See [`ShedLayer`](super::ShedLayer).
#[derive(Debug)]
pub struct Shed<S> {
    inner: S,
    /// Whether the last `poll_ready` made the service inside ready.
    inner_ready: bool,
}

impl<S> Shed<S> {
    pub(super) const fn new(inner: S) -> Self {
        Self {
            inner,
            inner_ready: false,
        }
    }
}

impl<S, Request> Service<Request> for Shed<S>
where
    S: Service<Request>,
{
    type Response = S::Response;
    type Error = Error<S::Error>;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        match self.inner.poll_ready(cx) {
            Poll::Ready(Err(error)) => return Poll::Ready(Err(Error::Inner(error))),
            ready => self.inner_ready = ready.is_ready(),
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        if mem::take(&mut self.inner_ready) {
            ResponseFuture::unlimited(self.inner.call(request))
        } else {
            ResponseFuture::refused(Refused::now(Cause::Shed))
        }
    }
}

impl<S: Clone> Clone for Shed<S> {
    fn clone(&self) -> Self {
        // Readiness is one instance's own.
        Self::new(self.inner.clone())
    }
}
