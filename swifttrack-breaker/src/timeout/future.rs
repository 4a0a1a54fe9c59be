//! Future types.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::error::{Error, Refused, TimedOut};

pin_project! {
    /// The future of a [`Timeout`](super::Timeout) and of a deadline.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the call inside.
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
        Limited { #[pin] future: F, #[pin] end: Sleep, total: bool },
        Unlimited { #[pin] future: F },
        Refused { refused: Option<Refused> },
    }
}

impl<F> ResponseFuture<F> {
    pub(crate) fn limited(future: F, end: Instant, total: bool) -> Self {
        Self {
            state: State::Limited {
                future,
                end: sleep_until(end),
                total,
            },
        }
    }

    pub(crate) const fn unlimited(future: F) -> Self {
        Self {
            state: State::Unlimited { future },
        }
    }

    pub(crate) const fn refused(refused: Refused) -> Self {
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
            // An answer that is there wins over the end of the time.
            StateProj::Limited { future, end, total } => match future.poll(cx) {
                Poll::Ready(result) => Poll::Ready(result.map_err(Error::Inner)),
                Poll::Pending => end
                    .poll(cx)
                    .map(|()| Err(Error::TimedOut(TimedOut { total: *total }))),
            },
            StateProj::Unlimited { future } => future.poll(cx).map_err(Error::Inner),
            StateProj::Refused { refused } => match refused.take() {
                Some(refused) => Poll::Ready(Err(Error::Refused(refused))),
                None => Poll::Pending,
            },
        }
    }
}
