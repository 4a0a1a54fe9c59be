//! The circuit as a tower layer.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use swifttrack_breaker::{BreakerConfig, BreakerLayer, Cause, Error, Outcome, State};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time;
use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok, task};
use tower::{Layer, Service, ServiceExt};
use tower_test::{assert_request_eq, mock};

use crate::support::{fail, secs};

fn layer() -> BreakerLayer {
    BreakerLayer::new("cms", BreakerConfig::new().trip_after(2))
}

#[tokio::test(start_paused = true)]
async fn opens_then_probes_then_closes() {
    let (mut service, mut partner) = mock::spawn_layer::<&str, &str, _>(layer());
    for _ in 0..2 {
        assert_ready_ok!(service.poll_ready());
        let mut response = task::spawn(service.call("reserve"));
        assert_request_eq!(partner, "reserve").send_error("warehouse down");
        assert!(matches!(
            assert_ready_err!(response.poll()),
            Error::Inner(_)
        ));
    }
    assert_ready_ok!(service.poll_ready());
    let error = assert_ready_err!(task::spawn(service.call("reserve")).poll());
    assert_eq!(error.retry_after(), Some(secs(30)));

    time::advance(secs(30)).await;
    assert_ready_ok!(service.poll_ready());
    let mut probe = task::spawn(service.call("probe"));
    assert_pending!(probe.poll());
    assert_ready_ok!(service.poll_ready());
    assert!(assert_ready_err!(task::spawn(service.call("second")).poll()).is_local());
    assert_request_eq!(partner, "probe").send_response("ok");
    assert_eq!(assert_ready_ok!(probe.poll()), "ok");

    assert_ready_ok!(service.poll_ready());
    let mut response = task::spawn(service.call("reserve"));
    assert_request_eq!(partner, "reserve").send_response("ok");
    assert_ready_ok!(response.poll());
}

#[tokio::test(start_paused = true)]
async fn all_services_of_a_layer_share_its_circuit() {
    let layer = layer();
    let down = || tower::service_fn(|()| ready(Err::<(), _>("down")));
    for _ in 0..2 {
        // As a framework does that applies its layers for each request.
        let _ = layer.layer(down()).oneshot(()).await;
    }
    assert_eq!(layer.handle().state(), State::Open);
    assert!(
        layer
            .clone()
            .layer(down())
            .oneshot(())
            .await
            .unwrap_err()
            .is_local()
    );
}

#[tokio::test]
async fn the_classifier_sees_the_whole_result() {
    let layer = layer().classify_with(|result: Result<&u16, &Infallible>| match result {
        Ok(500..) => Outcome::Failure,
        Ok(_) => Outcome::Success,
        Err(never) => match *never {},
    });
    let handle = layer.handle().clone();
    let service = layer.layer(tower::service_fn(|status: u16| ready(Ok(status))));
    for status in [503, 404, 503, 503] {
        assert_eq!(service.clone().oneshot(status).await, Ok(status));
    }
    assert_eq!(handle.state(), State::Open);
}

/// Holds a place from `poll_ready` until `call` or drop, as tower's concurrency limit does.
struct Seated {
    seats: Arc<Semaphore>,
    seat: Option<OwnedSemaphorePermit>,
}

impl Clone for Seated {
    fn clone(&self) -> Self {
        Self {
            seats: Arc::clone(&self.seats),
            seat: None,
        }
    }
}

impl Service<()> for Seated {
    type Response = ();
    type Error = &'static str;
    type Future = Ready<Result<(), &'static str>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if self.seat.is_none() {
            match Arc::clone(&self.seats).try_acquire_owned() {
                Ok(seat) => self.seat = Some(seat),
                Err(_) => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        drop(self.seat.take().expect("called before it was ready"));
        ready(Err("down"))
    }
}

#[tokio::test(start_paused = true)]
async fn a_readied_inner_is_released_when_the_circuit_opens_before_the_call() {
    let seats = Arc::new(Semaphore::new(1));
    let layer = layer();
    let mut service = task::spawn(layer.layer(Seated {
        seats: Arc::clone(&seats),
        seat: None,
    }));
    let ready = |service: &mut task::Spawn<swifttrack_breaker::Breaker<Seated, _>>| {
        service.enter(|cx, mut service| Service::<()>::poll_ready(&mut *service, cx))
    };
    assert_ready_ok!(ready(&mut service));
    assert_eq!(seats.available_permits(), 0);
    fail(layer.handle(), 2);
    assert!(
        service
            .enter(|_, mut service| service.call(()))
            .await
            .unwrap_err()
            .is_local()
    );
    assert_eq!(
        seats.available_permits(),
        1,
        "refused in call: the seat is free"
    );

    layer.handle().reset();
    assert_ready_ok!(ready(&mut service));
    fail(layer.handle(), 2);
    assert_ready_ok!(ready(&mut service));
    assert_eq!(
        seats.available_permits(),
        1,
        "refused in poll_ready: the seat is free"
    );
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_was_promised_is_kept_though_the_circuit_closes() {
    let layer = layer();
    let calls = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&calls);
    let mut service = layer.layer(tower::service_fn(move |()| {
        seen.fetch_add(1, Ordering::Relaxed);
        ready(Ok::<_, ()>(()))
    }));
    fail(layer.handle(), 2);
    service.ready().await.unwrap();
    layer.handle().reset();
    // The service inside was not made ready, so it must not be called.
    let error = service.call(()).await.unwrap_err();
    assert_eq!(error.refused().unwrap().cause(), Cause::Open);
    assert_eq!(calls.load(Ordering::Relaxed), 0);
    assert_eq!(service.ready().await.unwrap().call(()).await, Ok(()));
}

#[tokio::test]
#[should_panic(expected = "before `poll_ready`")]
async fn a_call_without_ready_is_a_bug_of_the_caller() {
    let mut service = layer().layer(tower::service_fn(|()| ready(Ok::<_, ()>(()))));
    let _ = service.call(()).await;
}
