use std::mem;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;
use tower_service::Service;

use super::HasDeadline;
use crate::error::{Cause, Error, Refused};
use crate::timeout::future::ResponseFuture;

/// A service whose requests end at their deadline. See [`DeadlineLayer`](super::DeadlineLayer).
#[derive(Clone, Debug)]
pub struct DeadlineService<S> {
    inner: S,
    total: Duration,
}

impl<S> DeadlineService<S> {
    pub(super) const fn new(inner: S, total: Duration) -> Self {
        Self { inner, total }
    }
}

impl<S, Request> Service<Request> for DeadlineService<S>
where
    S: Service<Request> + Clone,
    Request: HasDeadline,
{
    type Response = S::Response;
    type Error = Error<S::Error>;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Error::Inner)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let now = Instant::now();
        let mine = now.checked_add(self.total);
        let deadline = match (request.deadline(), mine) {
            (Some(carried), Some(mine)) => carried.min(mine),
            (Some(only), None) | (None, Some(only)) => only,
            // Too far off to be named.
            (None, None) => return ResponseFuture::unlimited(self.inner.call(request)),
        };
        if deadline <= now {
            // The service that was made ready is not called: it may hold a place, and goes.
            let fresh = self.inner.clone();
            drop(mem::replace(&mut self.inner, fresh));
            return ResponseFuture::refused(Refused::now(Cause::Deadline));
        }
        request.set_deadline(deadline);
        ResponseFuture::limited(self.inner.call(request), deadline, true)
    }
}
