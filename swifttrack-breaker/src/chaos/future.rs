//! Future types.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};

pin_project! {
    /// The future of a [`Chaos`](super::Chaos).
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the call inside.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, E> {
        #[pin]
        future: Option<F>,
        #[pin]
        slow: Option<Sleep>,
        // What the caller hears in place of the answer.
        error: Option<E>,
    }
}

impl<F, E> ResponseFuture<F, E> {
    pub(super) fn new(future: Option<F>, error: Option<E>, slow_by: Option<Duration>) -> Self {
        Self {
            future,
            slow: slow_by.map(sleep),
            error,
        }
    }
}

impl<F, T, E> Future for ResponseFuture<F, E>
where
    F: Future<Output = Result<T, E>>,
{
    type Output = Result<T, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Some(slow) = this.slow.as_mut().as_pin_mut() {
            ready!(slow.poll(cx));
            this.slow.set(None);
        }
        let answer = match this.future.as_mut().as_pin_mut() {
            Some(future) => Some(ready!(future.poll(cx))),
            None => None,
        };
        this.future.set(None);
        match (this.error.take(), answer) {
            (Some(error), _) => Poll::Ready(Err(error)),
            (None, Some(answer)) => Poll::Ready(answer),
            (None, None) => Poll::Pending,
        }
    }
}
