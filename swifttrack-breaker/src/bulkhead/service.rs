use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::Semaphore;
use tower_service::Service;

use super::future::ResponseFuture;
use crate::error::{Cause, Error, Refused};

/// A service that runs so many calls at once. See [`BulkheadLayer`](super::BulkheadLayer).
#[derive(Clone, Debug)]
pub struct Bulkhead<S> {
    inner: S,
    places: Arc<Semaphore>,
}

impl<S> Bulkhead<S> {
    pub(super) const fn new(inner: S, places: Arc<Semaphore>) -> Self {
        Self { inner, places }
    }
}

impl<S, Request> Service<Request> for Bulkhead<S>
where
    S: Service<Request> + Clone,
{
    type Response = S::Response;
    type Error = Error<S::Error>;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Error::Inner)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        match Arc::clone(&self.places).try_acquire_owned() {
            Ok(place) => ResponseFuture::called(self.inner.call(request), place),
            Err(_) => {
                // The service that was made ready is not called: it may hold a place itself, and goes.
                let fresh = self.inner.clone();
                drop(mem::replace(&mut self.inner, fresh));
                ResponseFuture::refused(Refused::now(Cause::Full))
            }
        }
    }
}
