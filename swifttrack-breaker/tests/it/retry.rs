//! Trying again.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use swifttrack_breaker::deadline::{Call, HasDeadline};
use swifttrack_breaker::{Backoff, Jitter, ManualClock, Outcome, RetryLayer};
use tokio::time::{self, Instant};
use tower::{Layer, ServiceExt, service_fn};

use crate::support::{budget, ms, secs};

/// Fails until the given try, and counts the tries.
fn fails_until(
    good: u32,
) -> (
    Arc<AtomicU32>,
    impl tower::Service<(), Response = u32, Error = &'static str, Future: Send> + Clone,
) {
    let tries = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&tries);
    let service = service_fn(move |()| {
        let this = seen.fetch_add(1, Ordering::Relaxed) + 1;
        async move { if this < good { Err("down") } else { Ok(this) } }
    });
    (tries, service)
}

#[tokio::test(start_paused = true)]
async fn five_retries_after_2_4_8_16_and_32_seconds() {
    let start = Instant::now();
    let times = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&times);
    let service = service_fn(move |()| {
        seen.lock().unwrap().push(start.elapsed().as_secs());
        async { Err::<(), _>("down") }
    });
    let result = RetryLayer::new(Backoff::new())
        .layer(service)
        .oneshot(())
        .await;
    assert_eq!(result, Err("down"));
    assert_eq!(*times.lock().unwrap(), [0, 2, 6, 14, 30, 62]);
}

#[tokio::test(start_paused = true)]
async fn stops_at_the_first_success_and_at_what_may_not_go_better() {
    let (tries, service) = fails_until(3);
    let retry = RetryLayer::new(Backoff::new());
    assert_eq!(retry.layer(service.clone()).oneshot(()).await, Ok(3));

    tries.store(0, Ordering::Relaxed);
    for outcome in [Outcome::Success, Outcome::Ignore] {
        let judged = retry
            .clone()
            .classify_with(move |_: Result<&u32, &&str>| outcome);
        tries.store(0, Ordering::Relaxed);
        assert_eq!(judged.layer(service.clone()).oneshot(()).await, Err("down"));
        assert_eq!(tries.load(Ordering::Relaxed), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn honours_retry_after_where_it_is_longer() {
    let (_, service) = fails_until(3);
    let asked = |result: Result<&u32, &&str>| match result {
        Ok(_) => Outcome::Success,
        Err(_) => Outcome::Throttled {
            retry_after: Some(secs(3)),
        },
    };
    let start = Instant::now();
    let retry = RetryLayer::new(Backoff::new()).classify_with(asked);
    assert_eq!(retry.layer(service).oneshot(()).await, Ok(3));
    assert_eq!(
        start.elapsed(),
        secs(3 + 4),
        "3 s instead of 2, and 4 by itself"
    );
}

#[tokio::test(start_paused = true)]
async fn never_waits_beyond_the_deadline() {
    let start = Instant::now();
    let service = service_fn(|_: Call<()>| async { Err::<(), _>("down") });
    let retry = RetryLayer::new(Backoff::new()).heed_deadline();
    let mut call = Call::new(());
    call.set_deadline(start + secs(10));
    assert_eq!(retry.layer(service).oneshot(call).await, Err("down"));
    assert_eq!(
        start.elapsed(),
        secs(6),
        "the next wait would end at 14 s: given up now, not then"
    );
}

#[tokio::test(start_paused = true)]
async fn drops_the_failed_result_before_it_waits() {
    let held = Arc::new(());
    let weak: Weak<()> = Arc::downgrade(&held);
    let held = Arc::new(std::sync::Mutex::new(Some(held)));
    let service = service_fn(move |()| {
        let answer = held.lock().unwrap().take();
        async move { Ok::<_, ()>(answer) }
    });
    // A failure that hides in `Ok`, as an HTTP 503 with its connection does.
    let retry =
        RetryLayer::new(Backoff::new()).classify_with(|result: Result<&Option<Arc<()>>, &()>| {
            match result {
                Ok(Some(_)) => Outcome::Failure,
                _ => Outcome::Success,
            }
        });
    let running = tokio::spawn(retry.layer(service).oneshot(()));
    time::sleep(ms(1)).await;
    assert!(weak.upgrade().is_none(), "waiting, and nothing is held");
    assert_eq!(running.await.unwrap(), Ok(None));
}

#[tokio::test(start_paused = true)]
async fn an_empty_budget_ends_retries_and_not_first_calls() {
    let clock = ManualClock::new();
    let budget = budget(0.5, 0, 100, clock);
    let (tries, service) = fails_until(u32::MAX);
    let retry = RetryLayer::new(Backoff::new()).budget(budget);
    let service = retry.layer(service);
    for _ in 0..100 {
        assert_eq!(service.clone().oneshot(()).await, Err("down"));
    }
    assert_eq!(tries.load(Ordering::Relaxed), 150);
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_will_not_be_made_is_not_paid_for() {
    let budget = budget(1.0, 0, 100, ManualClock::new());
    let (_, service) = fails_until(u32::MAX);
    let none = RetryLayer::new(Backoff::new().retries(0)).budget(budget.clone());
    assert_eq!(none.layer(service).oneshot(()).await, Err("down"));
    assert!(budget.withdraw(), "what the call paid in is still there");
}

#[tokio::test(start_paused = true)]
async fn a_seed_makes_the_waits_repeat() {
    let run = |seed| async move {
        let (_, service) = fails_until(4);
        let start = Instant::now();
        let backoff = Backoff::new().jitter(Jitter::Full);
        let retry = RetryLayer::new(backoff).seed(seed);
        retry.layer(service).oneshot(()).await.unwrap();
        start.elapsed()
    };
    assert_eq!(run(7).await, run(7).await);
    assert_ne!(run(7).await, run(8).await);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_retry_makes_no_further_try() {
    let (tries, service) = fails_until(u32::MAX);
    let retry = RetryLayer::new(Backoff::new()).layer(service);
    let _ = time::timeout(secs(7), retry.oneshot(())).await;
    time::sleep(secs(100)).await;
    assert_eq!(tries.load(Ordering::Relaxed), 3);
}
