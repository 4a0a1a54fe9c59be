//! Deadline, attempt timeout, bulkhead, load shed, chaos.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use swifttrack_breaker::bulkhead::BulkheadLayer;
use swifttrack_breaker::chaos::ChaosLayer;
use swifttrack_breaker::deadline::{Call, DeadlineLayer, HasDeadline};
use swifttrack_breaker::shed::ShedLayer;
use swifttrack_breaker::timeout::TimeoutLayer;
use swifttrack_breaker::{Cause, Error};
use tokio::time::{self, Instant};
use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok, task};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_test::{assert_request_eq, mock};

use crate::support::{ms, secs};

#[tokio::test(start_paused = true)]
async fn an_attempt_ends_at_its_limit_and_an_answer_in_time_passes() {
    let start = Instant::now();
    let slow = service_fn(|wait: u64| async move {
        time::sleep(ms(wait)).await;
        Ok::<_, ()>(wait)
    });
    let service = TimeoutLayer::new(secs(1)).layer(slow);
    assert_eq!(service.clone().oneshot(999).await, Ok(999));
    let error = service.oneshot(5000).await.unwrap_err();
    assert!(matches!(error, Error::TimedOut(timed_out) if !timed_out.is_deadline()));
    assert!(!error.is_local());
    assert_eq!(start.elapsed(), ms(1999));
}

#[tokio::test(start_paused = true)]
async fn the_earlier_deadline_holds_and_travels_on() {
    let start = Instant::now();
    let service =
        DeadlineLayer::new(secs(10)).layer(service_fn(move |call: Call<()>| async move {
            Ok::<_, ()>(call.deadline().unwrap() - start)
        }));
    assert_eq!(service.clone().oneshot(Call::new(())).await, Ok(secs(10)));
    for (given, carried) in [(3, 3), (60, 10)] {
        let mut call = Call::new(());
        call.set_deadline(start + secs(given));
        assert_eq!(service.clone().oneshot(call).await, Ok(secs(carried)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_spent_deadline_sends_nothing_and_one_that_passes_leaves_it_open() {
    let calls = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&calls);
    let service = DeadlineLayer::new(secs(10)).layer(service_fn(move |_: Call<()>| {
        seen.fetch_add(1, Ordering::Relaxed);
        pending::<Result<(), ()>>()
    }));
    let mut spent = Call::new(());
    spent.set_deadline(Instant::now());
    let error = service.clone().oneshot(spent).await.unwrap_err();
    assert_eq!(error.refused().unwrap().cause(), Cause::Deadline);
    assert_eq!(calls.load(Ordering::Relaxed), 0);

    let error = service.oneshot(Call::new(())).await.unwrap_err();
    assert!(matches!(error, Error::TimedOut(timed_out) if timed_out.is_deadline()));
}

#[cfg(feature = "http")]
#[tokio::test(start_paused = true)]
async fn a_deadline_travels_in_the_extensions_of_an_http_request() {
    use swifttrack_breaker::deadline::Deadline;
    let service =
        DeadlineLayer::new(secs(10)).layer(service_fn(|request: http::Request<()>| async move {
            Ok::<_, ()>(request.extensions().get::<Deadline>().is_some())
        }));
    assert_eq!(service.oneshot(http::Request::new(())).await, Ok(true));
}

#[tokio::test]
async fn a_bulkhead_refuses_beyond_its_places_and_frees_them_on_answer_and_on_drop() {
    let layer = BulkheadLayer::new(2);
    let (mut one, mut partner) = mock::spawn_layer::<u32, u32, _>(layer.clone());
    let mut call = |request| {
        assert_ready_ok!(one.poll_ready());
        task::spawn(one.call(request))
    };
    let mut first = call(1);
    let second = call(2);
    let error = assert_ready_err!(call(3).poll());
    assert_eq!(error.refused().unwrap().cause(), Cause::Full);
    assert_eq!(layer.free(), 0);

    assert_pending!(first.poll());
    assert_request_eq!(partner, 1).send_response(10);
    assert_eq!(assert_ready_ok!(first.poll()), 10);
    assert_eq!(layer.free(), 1, "answered, though the future is still held");
    drop(second);
    assert_eq!(layer.free(), 2);
}

/// tower's `LoadShed<ConcurrencyLimit<_>>` gives the next free place to an
/// instance that was polled while it was full and then put aside: with one
/// place, nobody is ever served again.
#[tokio::test]
async fn an_instance_that_was_put_aside_holds_no_place() {
    let layer = BulkheadLayer::new(1);
    let work = service_fn(|()| async {
        tokio::task::yield_now().await;
        Ok::<_, std::io::Error>(())
    });
    let mut aside = layer.layer(work);
    let mut busy = aside.clone();
    let running = busy.ready().await.unwrap().call(());
    assert!(
        aside
            .ready()
            .await
            .unwrap()
            .call(())
            .await
            .unwrap_err()
            .is_local()
    );
    aside.ready().await.unwrap();
    running.await.unwrap();
    assert!(busy.ready().await.unwrap().call(()).await.is_ok());

    let tower = tower::ServiceBuilder::new()
        .load_shed()
        .concurrency_limit(1)
        .service(work);
    let mut aside = tower;
    let mut busy = aside.clone();
    let running = busy.ready().await.unwrap().call(());
    let _ = aside.ready().await.unwrap().call(()).await;
    let _ = aside.ready().await.unwrap();
    running.await.unwrap();
    assert!(
        busy.ready().await.unwrap().call(()).await.is_err(),
        "tower starves here; if not any more, say so in the docs"
    );
}

#[tokio::test]
async fn shed_refuses_what_is_not_ready() {
    let (mut service, mut partner) = mock::spawn_layer::<u32, u32, _>(ShedLayer);
    partner.allow(0);
    assert_ready_ok!(service.poll_ready());
    let error = assert_ready_err!(task::spawn(service.call(1)).poll());
    assert_eq!(error.refused().unwrap().cause(), Cause::Shed);

    partner.allow(1);
    assert_ready_ok!(service.poll_ready());
    let mut call = task::spawn(service.call(2));
    assert_request_eq!(partner, 2).send_response(20);
    assert_eq!(assert_ready_ok!(call.poll()), 20);
}

#[tokio::test(start_paused = true)]
async fn chaos_fails_loses_and_slows_by_its_seed() {
    let run = |seed| async move {
        let effects = Arc::new(AtomicU32::new(0));
        let seen = Arc::clone(&effects);
        let chaos = ChaosLayer::new(seed, || "chaos")
            .fail(0.2)
            .lose(0.2)
            .slow(0.5, secs(1));
        let service = chaos.layer(service_fn(move |()| {
            seen.fetch_add(1, Ordering::Relaxed);
            async { Ok(()) }
        }));
        let mut failed = Vec::new();
        let start = Instant::now();
        for call in 0..1000 {
            if service.clone().oneshot(()).await.is_err() {
                failed.push(call);
            }
        }
        (failed, effects.load(Ordering::Relaxed), start.elapsed())
    };
    let (failed, effects, took) = run(1).await;
    assert!((300..420).contains(&failed.len()), "{}", failed.len());
    assert!((750..850).contains(&effects), "{effects}");
    assert!(
        1000 - failed.len() < effects as usize,
        "some answers were lost"
    );
    assert!((secs(450)..secs(550)).contains(&took), "{took:?}");
    assert_eq!(run(1).await, (failed.clone(), effects, took));
    assert_ne!(run(2).await.0, failed);
}
