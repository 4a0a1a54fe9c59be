//! Future types.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tokio::sync::OwnedSemaphorePermit;

use crate::error::{Error, Refused};

pin_project! {
    /// The future of a [`Bulkhead`](super::Bulkhead).
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the call inside, and then frees its place.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProj]
    #[derive(Debug)]
    enum State<F> {
        // Fields drop in this order: the call first, then its place.
        Called { #[pin] future: F, place: Option<OwnedSemaphorePermit> },
        Refused { refused: Option<Refused> },
    }
}

impl<F> ResponseFuture<F> {
    pub(super) const fn called(future: F, place: OwnedSemaphorePermit) -> Self {
        Self {
            state: State::Called {
                future,
                place: Some(place),
            },
        }
    }

    pub(super) const fn refused(refused: Refused) -> Self {
        Self {
            state: State::Refused {
                refused: Some(refused),
            },
        }
    }
}

impl<F, T, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<T, E>>,
{
    type Output = Result<T, Error<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Called { future, place } => future.poll(cx).map(|result| {
                // Free when the answer is there, not when somebody drops the future.
                drop(place.take());
                result.map_err(Error::Inner)
            }),
            StateProj::Refused { refused } => match refused.take() {
                Some(refused) => Poll::Ready(Err(Error::Refused(refused))),
                None => Poll::Pending,
            },
        }
    }
}
