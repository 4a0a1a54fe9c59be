//! All layers together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use swifttrack_breaker::deadline::Call;
use swifttrack_breaker::stack::Stack;
use swifttrack_breaker::{
    Backoff, BreakerConfig, BreakerLayer, Budget, Cause, Error, Outcome, RetryLayer, State,
};
use tokio::time::{self, Instant};
use tower::{Layer, ServiceExt, service_fn};

use crate::support::secs;

#[tokio::test(start_paused = true)]
async fn slowness_counts_and_the_refusal_ends_the_retries() {
    let tries = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&tries);
    let partner = service_fn(move |_: Call<()>| {
        seen.fetch_add(1, Ordering::Relaxed);
        std::future::pending::<Result<(), &'static str>>()
    });
    let breaker = BreakerLayer::new("wms", BreakerConfig::new());
    let wms = breaker.handle().clone();
    let service = Stack::new()
        .deadline(secs(120))
        .retry(
            RetryLayer::new(Backoff::new())
                .budget(Budget::new())
                .heed_deadline(),
        )
        .breaker(breaker)
        .bulkhead(4)
        .attempt_timeout(secs(5))
        .service(partner);

    let start = Instant::now();
    let error = service.oneshot(Call::new(())).await.unwrap_err();
    assert_eq!(tries.load(Ordering::Relaxed), 3);
    assert_eq!(wms.state(), State::Open);
    assert_eq!(error.refused().unwrap().cause(), Cause::Open);
    // Three times 5 s, with 2 and 4 s between; after 8 more it is refused, and not tried for a minute.
    assert_eq!(start.elapsed(), secs(29));
    assert_eq!(error.retry_after(), Some(secs(22)));
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_inside_counts_neither_for_nor_against_the_partner() {
    let breaker = BreakerLayer::new("wms", BreakerConfig::new().trip_after(1));
    let wms = breaker.handle().clone();
    let service = Stack::new()
        .breaker(breaker)
        .bulkhead(1)
        .service(service_fn(|()| async {
            time::sleep(secs(1)).await;
            Ok::<_, ()>(())
        }));
    let running = tokio::spawn(service.clone().oneshot(()));
    tokio::task::yield_now().await;
    for _ in 0..10 {
        let error = service.clone().oneshot(()).await.unwrap_err();
        assert_eq!(error.refused().unwrap().cause(), Cause::Full);
    }
    running.await.unwrap().unwrap();
    assert_eq!(wms.state(), State::Closed);
    assert_eq!(wms.snapshot().counts.ignored, 10);
}

#[tokio::test(start_paused = true)]
async fn classifiers_see_the_services_own_results() {
    let rejected = |result: Result<&(), &u32>| match result {
        Err(code) if *code < 500 => Outcome::Success,
        Err(_) => Outcome::Failure,
        Ok(()) => Outcome::Success,
    };
    let breaker = BreakerLayer::new("cms", BreakerConfig::new().trip_after(2)).classify(rejected);
    let cms = breaker.handle().clone();
    let stack = Stack::new()
        .retry(RetryLayer::new(Backoff::new().retries(1)).classify(rejected))
        .breaker(breaker);
    let service = stack.layer(service_fn(|code: u32| async move { Err::<(), _>(code) }));
    for _ in 0..5 {
        assert_eq!(service.clone().oneshot(409).await, Err(Error::Inner(409)));
    }
    assert_eq!(cms.state(), State::Closed);
    assert_eq!(service.clone().oneshot(503).await, Err(Error::Inner(503)));
    assert_eq!(cms.state(), State::Open, "both tries counted");
}
