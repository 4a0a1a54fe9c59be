use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tower_service::Service;

use crate::error::Error;

/// A service with one error of this crate instead of two. See [`FlattenLayer`](super::FlattenLayer).
#[derive(Clone, Debug)]
pub struct Flatten<S> {
    inner: S,
}

/// A service whose errors are those of this crate, with its own inside.
#[derive(Clone, Debug)]
pub struct Lift<S> {
    inner: S,
}

impl<S> Flatten<S> {
    pub(super) const fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<S> Lift<S> {
    pub(crate) const fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<S, Request, E> Service<Request> for Flatten<S>
where
    S: Service<Request, Error = Error<Error<E>>>,
{
    type Response = S::Response;
    type Error = Error<E>;
    type Future = FlattenFuture<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Error::flatten)
    }

    #[inline]
    fn call(&mut self, request: Request) -> Self::Future {
        FlattenFuture {
            future: self.inner.call(request),
        }
    }
}

impl<S, Request> Service<Request> for Lift<S>
where
    S: Service<Request>,
{
    type Response = S::Response;
    type Error = Error<S::Error>;
    type Future = LiftFuture<S::Future>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Error::Inner)
    }

    #[inline]
    fn call(&mut self, request: Request) -> Self::Future {
        LiftFuture {
            future: self.inner.call(request),
        }
    }
}

pin_project! {
    /// The future of a [`Flatten`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct FlattenFuture<F> {
        #[pin]
        future: F,
    }
}

pin_project! {
    /// The future of a [`Lift`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct LiftFuture<F> {
        #[pin]
        future: F,
    }
}

impl<F, T, E> Future for FlattenFuture<F>
where
    F: Future<Output = Result<T, Error<Error<E>>>>,
{
    type Output = Result<T, Error<E>>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().future.poll(cx).map_err(Error::flatten)
    }
}

impl<F, T, E> Future for LiftFuture<F>
where
    F: Future<Output = Result<T, E>>,
{
    type Output = Result<T, Error<E>>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().future.poll(cx).map_err(Error::Inner)
    }
}
