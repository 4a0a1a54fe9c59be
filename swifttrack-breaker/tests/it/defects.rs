//! Defects that were measured in other circuit breakers and budgets, each as a test that this one must pass.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use swifttrack_breaker::stack::Stack;
use swifttrack_breaker::{
    AnyError, Backoff, Breaker, BreakerConfig, BreakerHandle, BreakerLayer, Cause, ManualClock,
    Policy, RetryLayer, State, Window,
};
use tokio::time::{self, Instant};
use tokio_test::{assert_ready_ok, task};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::support::{budget, fail, ms, secs};

/// 1. tower-resilience 0.14 keeps its "sliding" counts until the next
///    transition: after 10,000 good calls, a window of 100 at 50 % takes 10,000
///    failures to trip.
#[test]
fn a_count_window_slides_however_long_things_went_well() {
    for good in [0, 100, 1000, 10_000] {
        let policy = Policy::failure_rate(0.5, Window::calls(100).min_calls(100));
        let cms = BreakerHandle::new("cms", BreakerConfig::new().policy(policy));
        for _ in 0..good {
            cms.try_acquire().unwrap().success();
        }
        let mut failures = 0;
        while cms.state() == State::Closed {
            fail(&cms, 1);
            failures += 1;
        }
        assert_eq!(failures, if good == 0 { 100 } else { 50 }, "after {good}");
    }
}

/// 2. Its time window looks at every record on each call: 78 µs a call at
///    61,000 records. Here ten words are looked at, whatever was counted, and
///    the counts are exact all the same.
#[test]
fn a_time_window_is_ten_words_however_much_it_counts() {
    let clock = ManualClock::new();
    let policy = Policy::failure_rate(0.5, Window::time(secs(10)));
    let cms = BreakerHandle::new(
        "cms",
        BreakerConfig::new().policy(policy).clock(clock.clock()),
    );
    for _ in 0..200_000 {
        cms.try_acquire().unwrap().success();
    }
    fail(&cms, 199_999);
    assert_eq!(cms.state(), State::Closed);
    fail(&cms, 1);
    assert_eq!(cms.state(), State::Open, "200,000 of 400,000");
    cms.reset();
    fail(&cms, 9);
    clock.advance(secs(10));
    fail(&cms, 9);
    assert_eq!(cms.state(), State::Closed, "the first nine have slid out");
}

/// 3. Its half-open state judges by the window: three healthy probes that end
///    further apart than the window leave it half-open for ever.
#[test]
fn probes_that_end_far_apart_close_it() {
    let clock = ManualClock::new();
    let policy = Policy::failure_rate(0.5, Window::time(ms(50)).min_calls(1));
    let config = BreakerConfig::new()
        .policy(policy)
        .probes(3)
        .lease(secs(60));
    let cms = BreakerHandle::new("cms", config.clock(clock.clock()));
    fail(&cms, 1);
    clock.advance(secs(30));
    for _ in 0..3 {
        let probe = cms.try_acquire().unwrap();
        clock.advance(ms(80));
        probe.success();
    }
    assert_eq!(cms.state(), State::Closed);
}

/// 4. In tower-resilience, resilience4j, Polly, failsafe and recloser a call
///    that was let through before the circuit opened closes or opens it when
///    it comes back half-open; in seatbelt a probe of one cycle closes the next.
#[test]
fn a_result_counts_only_in_the_life_that_let_it_through() {
    let clock = ManualClock::new();
    let cms = BreakerHandle::new("cms", BreakerConfig::new().clock(clock.clock()));
    let early = [(); 2].map(|()| cms.try_acquire().unwrap());
    fail(&cms, 3);
    clock.advance(secs(30));
    let first_probe = cms.try_acquire().unwrap();
    let [good, bad] = early;
    good.success();
    assert_eq!(cms.state(), State::HalfOpen, "from before it opened");
    bad.failure();
    assert_eq!(cms.state(), State::HalfOpen, "from before it opened");

    clock.advance(secs(30));
    let second_probe = cms.try_acquire().expect("the lease is over");
    first_probe.success();
    assert_eq!(
        cms.state(),
        State::HalfOpen,
        "the probe of an earlier cycle"
    );
    assert_eq!(cms.snapshot().counts.stale, 3);
    second_probe.success();
    assert_eq!(cms.state(), State::Closed);
}

/// 5. A probe that hangs keeps tower-resilience, Polly, gobreaker, Sentinel
///    and by default resilience4j refusing for ever.
#[test]
fn a_hung_probe_is_replaced_when_its_lease_ends() {
    let clock = ManualClock::new();
    let config = BreakerConfig::new()
        .trip_after(1)
        .lease(secs(5))
        .clock(clock.clock());
    let cms = BreakerHandle::new("cms", config);
    fail(&cms, 1);
    clock.advance(secs(30));
    let _hung = cms.try_acquire().unwrap();
    let refused = cms.try_acquire().unwrap_err();
    assert_eq!(
        (refused.cause(), refused.retry_after()),
        (Cause::Probing, Some(secs(5)))
    );
    clock.advance(secs(5));
    cms.try_acquire().unwrap().success();
    assert_eq!(cms.state(), State::Closed);
}

/// 6. seatbelt asks the service inside before it looks at the circuit, and so
///    hangs where it should refuse.
#[tokio::test]
async fn an_open_circuit_refuses_though_the_service_inside_is_not_ready() {
    #[derive(Clone)]
    struct NotReady;
    impl Service<()> for NotReady {
        type Response = ();
        type Error = ();
        type Future = std::future::Ready<Result<(), ()>>;
        fn poll_ready(
            &mut self,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), ()>> {
            std::task::Poll::Pending
        }
        fn call(&mut self, (): ()) -> Self::Future {
            unreachable!("it is never ready")
        }
    }
    let layer = BreakerLayer::new("cms", BreakerConfig::new());
    fail(layer.handle(), 3);
    let mut service = task::spawn(layer.layer(NotReady));
    assert_ready_ok!(service.enter(|cx, mut service| {
        <Breaker<NotReady, AnyError> as Service<()>>::poll_ready(&mut *service, cx)
    }));
    assert!(
        service
            .enter(|_, mut service| service.call(()))
            .await
            .unwrap_err()
            .is_local()
    );
}

/// 7. recloser and failsafe let 1000 of 1000 concurrent calls through when
///    half-open.
#[test]
fn of_a_thousand_that_come_at_once_the_probes_pass() {
    for probes in [1, 3, 63] {
        let clock = ManualClock::new();
        let config = BreakerConfig::new().probes(probes).clock(clock.clock());
        let cms = BreakerHandle::new("cms", config);
        fail(&cms, 3);
        clock.advance(secs(30));
        let passed = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let tickets: Vec<_> = (0..250).filter_map(|_| cms.try_acquire().ok()).collect();
                    passed.fetch_add(tickets.len(), Ordering::Relaxed);
                    // A ticket that came back would let another pass.
                    tickets.into_iter().for_each(std::mem::forget);
                });
            }
        });
        assert_eq!(passed.into_inner(), usize::from(probes));
    }
}

/// 8. circuitbreaker-rs never returns the permit of a probe that is cancelled:
///    none of 100 healthy calls is let through after.
#[tokio::test(start_paused = true)]
async fn cancelled_probes_come_back() {
    let cms = BreakerHandle::new("cms", BreakerConfig::new().probes(3));
    fail(&cms, 3);
    time::advance(secs(30)).await;
    for _ in 0..100 {
        let call = cms.call(std::future::pending::<Result<(), ()>>());
        assert!(
            time::timeout(ms(1), call).await.is_err(),
            "let through, and cancelled"
        );
    }
    for _ in 0..100 {
        assert_eq!(cms.call(async { Ok::<_, ()>(1) }).await, Ok(1));
    }
    assert_eq!(cms.state(), State::Closed);
}

/// 9. tower-resilience makes a circuit for each `layer()`, so under a
///    framework that layers each request it never trips; and it reads the
///    standard clock, so a paused one does not move it.
#[tokio::test(start_paused = true)]
async fn a_layer_is_one_circuit_and_follows_tokios_clock() {
    let layer = BreakerLayer::new("cms", BreakerConfig::new());
    let service = || {
        layer.layer(service_fn(|down: bool| async move {
            if down { Err(()) } else { Ok(()) }
        }))
    };
    for _ in 0..3 {
        let _ = service().oneshot(true).await;
    }
    assert!(service().oneshot(false).await.unwrap_err().is_local());
    time::advance(secs(60)).await;
    assert_eq!(service().oneshot(false).await, Ok(()));
    assert_eq!(layer.handle().state(), State::Closed);
}

/// 10. tower's `TpsBudget` grants 100 % for 0.6 and 33 % for 0.3, and after
///     30 idle days its first deposit spins for 79 ms under a lock.
#[test]
fn a_budget_is_exact_and_idle_time_is_arithmetic() {
    let clock = ManualClock::new();
    for (ratio, granted) in [(0.6, 600), (0.3, 300)] {
        let budget = budget(ratio, 0, 10_000, clock);
        (0..1000).for_each(|_| budget.deposit());
        assert_eq!((0..1000).filter(|_| budget.withdraw()).count(), granted);
    }
    let budget = budget(0.0, 10, 100, clock);
    clock.advance(secs(30 * 24 * 3600));
    budget.deposit();
    assert_eq!((0..1000).filter(|_| budget.withdraw()).count(), 100);
}

/// 11. With retries around a breaker and the usual numbers, "five retries" are
///     two, and the others meet an open circuit. Here the refusal ends them at
///     once, says when to come back, and has cost nothing: whoever waits that
///     long has all his tries.
#[tokio::test(start_paused = true)]
async fn a_refusal_by_the_circuit_uses_up_no_retry_and_no_budget() {
    let start = Instant::now();
    let tries = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&tries);
    let partner = service_fn(move |()| {
        seen.lock().unwrap().push(start.elapsed().as_secs());
        async { Err::<(), _>("down") }
    });
    let budget = budget(3.0, 0, 100, ManualClock::new());
    let service = Stack::new()
        .retry(RetryLayer::new(Backoff::new()).budget(budget.clone()))
        .breaker(BreakerLayer::new("cms", BreakerConfig::new()))
        .service(partner);
    let error = service.oneshot(()).await.unwrap_err();
    // After 0, 2 and 6 s it is open; the try at 14 s is refused, not made.
    assert_eq!(*tries.lock().unwrap(), [0, 2, 6]);
    assert_eq!(start.elapsed(), secs(14));
    assert_eq!(error.retry_after(), Some(secs(22)));
    assert!(error.refused().unwrap().is_circuit());
    // The call paid for three retries, and two were made: the one that was refused is paid back.
    assert_eq!([(); 2].map(|()| budget.withdraw()), [true, false]);
}
