//! The contract of `tower::Service`, with services inside that insist on it.

use std::future::{Ready, pending, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll};

use swifttrack_breaker::bulkhead::BulkheadLayer;
use swifttrack_breaker::chaos::ChaosLayer;
use swifttrack_breaker::deadline::{Call, DeadlineLayer};
use swifttrack_breaker::shed::ShedLayer;
use swifttrack_breaker::stack::Stack;
use swifttrack_breaker::timeout::TimeoutLayer;
use swifttrack_breaker::{
    AnyError, Backoff, Breaker, BreakerConfig, BreakerHandle, BreakerLayer, RetryLayer, State,
};
use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok, task};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::support::{fail, secs};

/// Panics if it is called without having been made ready, and needs that each time anew.
#[derive(Debug, Default)]
struct Strict {
    ready: bool,
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl<R> Service<R> for Strict {
    type Response = ();
    type Error = &'static str;
    type Future = Ready<Result<(), &'static str>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: R) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called and not ready");
        ready(Err("down"))
    }
}

/// Never ready, never answers.
#[derive(Clone, Debug)]
struct Stuck;

impl<R> Service<R> for Stuck {
    type Response = ();
    type Error = &'static str;
    type Future = std::future::Pending<Result<(), &'static str>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Pending
    }

    fn call(&mut self, _: R) -> Self::Future {
        pending()
    }
}

#[tokio::test(start_paused = true)]
async fn no_layer_calls_what_is_not_ready() {
    async fn hammer<S>(mut service: S)
    where
        S: Service<Call<()>> + Clone,
    {
        for _ in 0..20 {
            let _ = service
                .ready()
                .await
                .ok()
                .unwrap()
                .call(Call::new(()))
                .await;
            let _ = service.clone().oneshot(Call::new(())).await;
        }
    }
    let config = BreakerConfig::new().open_for(secs(5));
    hammer(BreakerLayer::new("a", config).layer(Strict::default())).await;
    hammer(RetryLayer::new(Backoff::new()).layer(Strict::default())).await;
    hammer(BulkheadLayer::new(1).layer(Strict::default())).await;
    hammer(DeadlineLayer::new(secs(1)).layer(Strict::default())).await;
    hammer(TimeoutLayer::new(secs(1)).layer(Strict::default())).await;
    hammer(ShedLayer.layer(Strict::default())).await;
    hammer(
        ChaosLayer::new(1, || "chaos")
            .fail(0.5)
            .lose(0.5)
            .layer(Strict::default()),
    )
    .await;
    let stack = Stack::new()
        .deadline(secs(100))
        .retry(RetryLayer::new(Backoff::new()).heed_deadline())
        .breaker(BreakerLayer::new("b", config))
        .bulkhead(1)
        .attempt_timeout(secs(1));
    hammer(stack.service(Strict::default())).await;
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_does_not_wait_for_a_service_that_is_never_ready() {
    let layer = BreakerLayer::new("a", BreakerConfig::new());
    let mut service = task::spawn(layer.layer(Stuck));
    let poll = |service: &mut task::Spawn<Breaker<Stuck, AnyError>>| {
        service.enter(|cx, mut service| Service::<()>::poll_ready(&mut *service, cx))
    };
    assert_pending!(poll(&mut service));
    fail(layer.handle(), 3);
    assert_ready_ok!(poll(&mut service));
    assert!(
        service
            .enter(|_, mut service| service.call(()))
            .await
            .unwrap_err()
            .is_local()
    );

    tokio::time::advance(secs(30)).await;
    assert_pending!(
        poll(&mut service),
        "a probe has to wait for it, and takes no permit meanwhile"
    );
    assert_eq!(layer.handle().snapshot().probes_running, 0);
    assert!(layer.handle().try_acquire().is_ok());
}

#[tokio::test(start_paused = true)]
async fn one_who_waits_for_the_service_is_refused_when_he_asks_again() {
    let layer = BreakerLayer::new("a", BreakerConfig::new());
    let mut waiting = task::spawn(layer.layer(Stuck).oneshot(()));
    assert_pending!(waiting.poll());
    fail(layer.handle(), 3);
    assert!(assert_ready_err!(waiting.poll()).is_local());
}

fn half_open() -> BreakerLayer {
    BreakerLayer::new("a", BreakerConfig::new().trip_after(1))
}

async fn probing(layer: &BreakerLayer) -> BreakerHandle {
    fail(layer.handle(), 1);
    tokio::time::advance(secs(30)).await;
    layer.handle().clone()
}

#[tokio::test(start_paused = true)]
async fn a_probe_comes_back_when_its_future_is_dropped() {
    let layer = half_open();
    let circuit = probing(&layer).await;
    let mut service = layer.layer(service_fn(|()| pending::<Result<(), ()>>()));
    let call = service.ready().await.unwrap().call(());
    assert_eq!(circuit.snapshot().probes_running, 1);
    drop(call);
    assert_eq!(
        (circuit.state(), circuit.snapshot().probes_running),
        (State::HalfOpen, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_probe_comes_back_when_the_call_panics_and_when_its_future_does() {
    let layer = half_open();
    let circuit = probing(&layer).await;
    let mut service = layer.layer(service_fn(|()| -> Ready<Result<(), ()>> {
        panic!("in call")
    }));
    service.ready().await.unwrap();
    catch_unwind(AssertUnwindSafe(|| drop(service.call(())))).unwrap_err();
    assert_eq!(circuit.snapshot().probes_running, 0);

    let service = layer.layer(service_fn(|()| async {
        panic!("in the future") as Result<(), ()>
    }));
    assert!(
        tokio::spawn(service.oneshot(()))
            .await
            .unwrap_err()
            .is_panic()
    );
    assert_eq!(
        (circuit.state(), circuit.snapshot().probes_running),
        (State::HalfOpen, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_probe_comes_back_when_its_result_says_nothing() {
    let layer =
        half_open().classify_with(|_: Result<&(), &()>| swifttrack_breaker::Outcome::Ignore);
    fail(layer.handle(), 1);
    tokio::time::advance(secs(30)).await;
    let service = layer.layer(service_fn(|()| async { Err(()) }));
    for _ in 0..5 {
        assert!(!service.clone().oneshot(()).await.unwrap_err().is_local());
    }
    assert_eq!(layer.handle().state(), State::HalfOpen);
}

#[tokio::test(start_paused = true)]
async fn a_probe_comes_back_when_a_layer_inside_refuses_it() {
    let breaker = half_open();
    let circuit = probing(&breaker).await;
    let stack = Stack::new().breaker(breaker).bulkhead(1);
    let service = stack.service(service_fn(|()| pending::<Result<(), ()>>()));
    let mut holder = task::spawn(service.clone().oneshot(()));
    assert_pending!(holder.poll());
    // The lease ends, the next probe meets a full bulkhead.
    tokio::time::advance(secs(30)).await;
    assert!(service.clone().oneshot(()).await.unwrap_err().is_local());
    assert_eq!(
        (circuit.state(), circuit.snapshot().probes_running),
        (State::HalfOpen, 0)
    );
}
