use std::mem;
use std::task::{Context, Poll};

use tower_service::Service;

use super::future::ResponseFuture;
use crate::classify::Classifier;
use crate::error::{Error, Refused};
use crate::handle::BreakerHandle;

/// A service behind a circuit.
///
/// While the circuit is open it is ready at once, without asking the service
/// inside, and refuses the call: a service that fails in `poll_ready` is done
/// for, and an open circuit is only waiting. No permit is taken before `call`,
/// so an instance that was polled and put aside holds nobody up.
///
/// The service inside is `Clone`, since one that was made ready and is then
/// not called, because the circuit opened in between, may hold a place in a
/// queue or a pool: it is dropped and a fresh one takes its place.
#[derive(Debug)]
pub struct Breaker<S, C> {
    inner: S,
    handle: BreakerHandle,
    classifier: C,
    /// What the last `poll_ready` decided.
    readied: Readied,
}

#[derive(Debug)]
enum Readied {
    /// It has not, or that was used up.
    Nothing,
    /// The service inside is ready.
    Inner,
    /// It was not asked: the call must be refused, even if the circuit has closed since.
    Refusal(Refused),
}

impl<S, C> Breaker<S, C> {
    pub(crate) const fn new(inner: S, handle: BreakerHandle, classifier: C) -> Self {
        Self {
            inner,
            handle,
            classifier,
            readied: Readied::Nothing,
        }
    }

    /// The circuit.
    pub const fn handle(&self) -> &BreakerHandle {
        &self.handle
    }
}

impl<S: Clone, C> Breaker<S, C> {
    fn release_inner(&mut self) {
        let fresh = self.inner.clone();
        drop(mem::replace(&mut self.inner, fresh));
    }
}

impl<S, C, Request> Service<Request> for Breaker<S, C>
where
    S: Service<Request> + Clone,
    C: Classifier<S::Response, S::Error> + Clone,
{
    type Response = S::Response;
    type Error = Error<S::Error>;
    type Future = ResponseFuture<S::Future, C>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if let Some(refused) = self.handle.refusal() {
            if let Readied::Inner = self.readied {
                self.release_inner();
            }
            self.readied = Readied::Refusal(refused);
            return Poll::Ready(Ok(()));
        }
        let ready = self.inner.poll_ready(cx).map_err(Error::Inner);
        self.readied = match ready {
            Poll::Ready(Ok(())) => Readied::Inner,
            _ => Readied::Nothing,
        };
        ready
    }

    /// # Panics
    ///
    /// Panics if `poll_ready` has not made this instance ready.
    #[inline]
    fn call(&mut self, request: Request) -> Self::Future {
        match self.readied {
            Readied::Inner => self.readied = Readied::Nothing,
            Readied::Refusal(refused) => {
                self.readied = Readied::Nothing;
                self.handle.refused();
                return ResponseFuture::refused(refused);
            }
            Readied::Nothing => panic!("called before `poll_ready` said that it is ready"),
        }
        match self.handle.try_acquire() {
            // The ticket comes first, so that it goes back if `call` panics.
            Ok(ticket) => {
                let future = self.inner.call(request);
                ResponseFuture::called(future, ticket, self.classifier.clone())
            }
            Err(refused) => {
                self.release_inner();
                ResponseFuture::refused(refused)
            }
        }
    }
}

impl<S: Clone, C: Clone> Clone for Breaker<S, C> {
    fn clone(&self) -> Self {
        // Readiness is one instance's own; the circuit is everybody's.
        Self::new(
            self.inner.clone(),
            self.handle.clone(),
            self.classifier.clone(),
        )
    }
}
