//! Many callers at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use swifttrack_breaker::{
    Backoff, BreakerConfig, BreakerHandle, BreakerLayer, Budget, Jitter, RetryLayer, stack::Stack,
};
use tokio::time::{self, Instant};
use tower::{ServiceExt, service_fn};

use crate::support::{fail, ms, secs};

/// A partner is down for ten minutes, and a hundred callers a second go on.
#[tokio::test(start_paused = true)]
async fn calls_stay_within_the_formula_of_the_budget() {
    const RATIO: f64 = 0.2;
    const RESERVE: u32 = 5;
    let calls = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&calls);
    let partner = service_fn(move |()| {
        seen.fetch_add(1, Ordering::Relaxed);
        async { Err::<(), _>("down") }
    });
    let retry = RetryLayer::new(Backoff::new().jitter(Jitter::Full))
        .seed(1)
        .budget(Budget::new().ratio(RATIO).reserve(RESERVE));
    let service = Stack::new().retry(retry).service(partner);

    let start = Instant::now();
    let mut first_calls = 0;
    for tick in 0..6000_u64 {
        for _ in 0..10 {
            first_calls += 1;
            tokio::spawn(service.clone().oneshot(()));
        }
        time::sleep(ms(100)).await;
        if tick % 100 == 0 {
            let bound = f64::from(first_calls) * (1.0 + RATIO)
                + f64::from(RESERVE) * start.elapsed().as_secs_f64();
            let made = calls.load(Ordering::Relaxed);
            assert!(
                made as f64 <= bound,
                "{made} calls at {tick}, {bound} allowed"
            );
        }
    }
    let made = calls.load(Ordering::Relaxed);
    let bound = f64::from(first_calls) * (1.0 + RATIO) + f64::from(RESERVE) * 600.0;
    assert!(
        0.99 * bound < made as f64,
        "and the budget is used: {made} of {bound}"
    );
}

#[tokio::test(start_paused = true)]
async fn with_a_circuit_a_storm_is_three_calls_and_a_probe_each_half_minute() {
    let calls = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&calls);
    let partner = service_fn(move |()| {
        seen.fetch_add(1, Ordering::Relaxed);
        async { Err::<(), _>("down") }
    });
    let service = Stack::new()
        .retry(RetryLayer::new(Backoff::new()).seed(1))
        .breaker(BreakerLayer::new("wms", BreakerConfig::new()))
        .service(partner);
    for _ in 0..600 {
        for _ in 0..10 {
            tokio::spawn(service.clone().oneshot(()));
        }
        time::sleep(secs(1)).await;
    }
    let made = calls.load(Ordering::Relaxed);
    assert!((3..=3 + 600 / 30).contains(&made), "{made}");
}

#[tokio::test(start_paused = true)]
async fn fifty_thousand_waiters_are_let_go_in_order_and_without_a_herd() {
    const WAITERS: usize = 50_000;
    const RATE: u64 = 100;
    let cms = BreakerHandle::new("cms", BreakerConfig::new().ramp(RATE as u32));
    fail(&cms, 3);
    let gone = Arc::new(std::sync::Mutex::new(Vec::with_capacity(WAITERS)));
    let mut tasks = Vec::with_capacity(WAITERS);
    for waiter in 0..WAITERS {
        let (cms, gone) = (cms.clone(), Arc::clone(&gone));
        tasks.push(tokio::spawn(async move {
            let ticket = cms.acquire().await.unwrap();
            gone.lock().unwrap().push((waiter, Instant::now()));
            ticket.success();
        }));
    }
    time::sleep(ms(1)).await;
    assert_eq!(cms.snapshot().waiting, WAITERS);
    for task in tasks {
        task.await.unwrap();
    }
    let gone = gone.lock().unwrap();
    assert!(
        gone.iter().map(|(waiter, _)| *waiter).eq(0..WAITERS),
        "oldest first"
    );
    let closed = gone[0].1;
    for (place, (_, at)) in gone.iter().enumerate().skip(1) {
        let t = (*at - closed).as_millis() as u64;
        let allowed = RATE * t * (1000 + t) / 1_000_000;
        assert!(
            place as u64 <= allowed,
            "{place} gone {t} ms after closing, {allowed} allowed"
        );
    }
    let last = gone[WAITERS - 1].1 - closed;
    assert!(last < secs(23), "the ramp is used: {last:?}");
}
