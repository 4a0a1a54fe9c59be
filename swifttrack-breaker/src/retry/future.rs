use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep};
use tower_service::Service;

use super::layer::{DeadlineOf, RetryLayer};
use crate::classify::{Classifier, Outcome};

pin_project! {
    /// The future of a [`Retry`](super::Retry).
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the try that is running and makes no other.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S, Request, C, D>
    where
        S: Service<Request>,
    {
        #[pin]
        state: State<S::Future>,
        service: S,
        request: Request,
        layer: RetryLayer<C, D>,
        // Which retry comes next, from 1.
        retry: u32,
        seed: Option<u64>,
    }
}

pin_project! {
    #[project = StateProj]
    #[derive(Debug)]
    enum State<F> {
        Calling { #[pin] future: F },
        Waiting { #[pin] wait: Sleep },
        Readying,
    }
}

impl<S, Request, C, D> ResponseFuture<S, Request, C, D>
where
    S: Service<Request>,
{
    pub(super) const fn new(
        future: S::Future,
        service: S,
        request: Request,
        layer: RetryLayer<C, D>,
    ) -> Self {
        Self {
            state: State::Calling { future },
            service,
            request,
            layer,
            retry: 1,
            seed: None,
        }
    }
}

impl<S, Request, C, D> Future for ResponseFuture<S, Request, C, D>
where
    S: Service<Request>,
    C: Classifier<S::Response, S::Error>,
    D: DeadlineOf<Request>,
    Request: Clone,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProj::Calling { future } => {
                    let result = ready!(future.poll(cx));
                    let asked = match this.layer.classifier.classify(result.as_ref()) {
                        Outcome::Success => return Poll::Ready(result),
                        Outcome::Ignore => {
                            let paid =
                                1 < *this.retry && this.layer.classifier.is_local(result.as_ref());
                            if let Some(budget) = this.layer.plan.budget.as_ref().filter(|_| paid) {
                                budget.refund();
                            }
                            return Poll::Ready(result);
                        }
                        Outcome::Failure => Duration::ZERO,
                        Outcome::Throttled { retry_after } => retry_after.unwrap_or_default(),
                    };
                    let plan = &this.layer.plan;
                    let seed = *this.seed.get_or_insert_with(|| plan.draw());
                    let Some(wait) = plan.backoff.delay(*this.retry, seed) else {
                        return Poll::Ready(result);
                    };
                    let wait = wait.max(asked);
                    let deadline = this.layer.deadline.deadline_of(this.request);
                    if !ends_before(wait, deadline) {
                        return Poll::Ready(result);
                    }
                    // Last, so that a retry that will not be made is not paid for.
                    if plan
                        .budget
                        .as_ref()
                        .is_some_and(|budget| !budget.withdraw())
                    {
                        tracing::debug!(retry = *this.retry, "retry budget exhausted");
                        return Poll::Ready(result);
                    }
                    // It may hold a connection or a permit, which must not wait with us.
                    drop(result);
                    *this.retry += 1;
                    this.state.set(State::Waiting { wait: sleep(wait) });
                }
                StateProj::Waiting { wait } => {
                    ready!(wait.poll(cx));
                    this.state.set(State::Readying);
                }
                StateProj::Readying => {
                    if let Err(error) = ready!(this.service.poll_ready(cx)) {
                        return Poll::Ready(Err(error));
                    }
                    let future = this.service.call(this.request.clone());
                    this.state.set(State::Calling { future });
                }
            }
        }
    }
}

fn ends_before(wait: Duration, deadline: Option<Instant>) -> bool {
    let Some(deadline) = deadline else {
        return true;
    };
    Instant::now()
        .checked_add(wait)
        .is_some_and(|end| end < deadline)
}
