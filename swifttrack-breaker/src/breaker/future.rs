//! Future types.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use crate::classify::Classifier;
use crate::error::{Error, Refused};
use crate::ticket::Ticket;

pin_project! {
    /// The future of a [`Breaker`](super::Breaker).
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is done, it says nothing about the partner, and gives the probe back if it was one.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, C> {
        #[pin]
        state: State<F, C>,
    }
}

pin_project! {
    #[project = StateProj]
    #[derive(Debug)]
    enum State<F, C> {
        Called { #[pin] future: F, ticket: Option<Ticket>, classifier: C },
        Refused { refused: Option<Refused> },
    }
}

impl<F, C> ResponseFuture<F, C> {
    #[inline]
    pub(super) const fn called(future: F, ticket: Ticket, classifier: C) -> Self {
        Self {
            state: State::Called {
                future,
                ticket: Some(ticket),
                classifier,
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

impl<F, C, T, E> Future for ResponseFuture<F, C>
where
    F: Future<Output = Result<T, E>>,
    C: Classifier<T, E>,
{
    type Output = Result<T, Error<E>>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Called {
                future,
                ticket,
                classifier,
            } => {
                let result = ready!(future.poll(cx));
                if let Some(ticket) = ticket.take() {
                    ticket.finish(classifier.classify(result.as_ref()));
                }
                Poll::Ready(result.map_err(Error::Inner))
            }
            StateProj::Refused { refused } => match refused.take() {
                Some(refused) => Poll::Ready(Err(Error::Refused(refused))),
                None => Poll::Pending,
            },
        }
    }
}
