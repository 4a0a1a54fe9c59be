//! The circuit by itself.

use swifttrack_breaker::{
    BreakerConfig, BreakerHandle, Cause, Error, ManualClock, Outcome, Policy, Reason, State, Window,
};
use tokio::time;

use crate::support::{fail, ms, secs};

fn on(clock: ManualClock) -> BreakerConfig {
    BreakerConfig::new().clock(clock.clock())
}

#[tokio::test(start_paused = true)]
async fn opens_at_the_third_failure_for_thirty_seconds_by_default() {
    let cms = BreakerHandle::new("cms", BreakerConfig::new());
    fail(&cms, 2);
    cms.try_acquire().unwrap().success();
    fail(&cms, 2);
    assert_eq!(cms.state(), State::Closed);
    assert_eq!(cms.snapshot().consecutive_failures, 2);
    fail(&cms, 1);

    let refused = cms.try_acquire().unwrap_err();
    assert_eq!(refused.cause(), Cause::Open);
    assert_eq!(refused.retry_after(), Some(secs(30)));
    let until = refused.until().unwrap() - time::Instant::now();
    assert!(secs(30) - until < ms(1), "to the millisecond");
    time::advance(secs(10)).await;
    assert_eq!(
        refused.retry_after(),
        Some(secs(20)),
        "the clock is read when asked"
    );
    assert_eq!(cms.retry_after(), Some(secs(20)));

    time::advance(ms(19_999)).await;
    assert!(cms.try_acquire().is_err());
    time::advance(ms(1)).await;
    let probe = cms.try_acquire().unwrap();
    assert_eq!(cms.state(), State::HalfOpen);
    assert_eq!(cms.try_acquire().unwrap_err().cause(), Cause::Probing);
    probe.success();
    assert_eq!(cms.state(), State::Closed);
    assert_eq!(cms.snapshot().consecutive_failures, 0);
}

#[test]
fn a_failed_probe_opens_again_and_every_probe_must_succeed() {
    let clock = ManualClock::new();
    let wms = BreakerHandle::new("wms", on(clock).trip_after(1).probes(3));
    fail(&wms, 1);
    clock.advance(secs(30));
    let probes: Vec<_> = (0..3).map(|_| wms.try_acquire().unwrap()).collect();
    assert!(wms.try_acquire().is_err(), "exactly three");
    for probe in probes.into_iter().skip(1) {
        probe.success();
    }
    assert_eq!(
        wms.state(),
        State::HalfOpen,
        "the first was dropped, and says nothing"
    );
    fail(&wms, 1);
    assert_eq!(wms.state(), State::Open);
    assert_eq!(wms.retry_after(), Some(secs(30)));
}

#[test]
fn what_the_service_shows_is_in_the_snapshot() {
    let clock = ManualClock::new();
    let ros = BreakerHandle::new("ros", on(clock));
    assert_eq!(ros.snapshot().last_failure, None);
    fail(&ros, 3);
    let snapshot = ros.snapshot();
    assert_eq!(
        (
            &*snapshot.name,
            snapshot.state,
            snapshot.consecutive_failures
        ),
        ("ros", State::Open, 3)
    );
    assert!(
        snapshot
            .last_failure
            .is_some_and(|at| at.elapsed().unwrap() < secs(60))
    );
    assert_eq!(snapshot.retry_after, Some(secs(30)));
    assert!(!snapshot.is_available());

    clock.advance(secs(30));
    assert!(ros.snapshot().is_available(), "a probe may go");
    fail(&ros, 1);
    assert_eq!(ros.snapshot().consecutive_failures, 4);
    assert_eq!(ros.snapshot().counts.failures, 4);
}

#[test]
fn operators_are_obeyed_in_every_state() {
    let clock = ManualClock::new();
    let cms = BreakerHandle::new("cms", on(clock).trip_after(1));
    let old = cms.try_acquire().unwrap();
    cms.force_open();
    let refused = cms.try_acquire().unwrap_err();
    assert_eq!(
        (refused.cause(), refused.retry_after()),
        (Cause::ForcedOpen, None)
    );
    clock.advance(secs(86_400));
    assert!(cms.try_acquire().is_err(), "no time opens it");

    cms.disable();
    fail(&cms, 10);
    assert_eq!(cms.state(), State::Disabled);

    cms.observe();
    fail(&cms, 10);
    assert_eq!(cms.state(), State::Observe);

    cms.reset();
    old.failure();
    assert_eq!(
        cms.state(),
        State::Closed,
        "a ticket from before the reset counts no more"
    );
    assert_eq!(cms.snapshot().counts.stale, 1);
    fail(&cms, 1);
    assert_eq!(cms.state(), State::Open);
    cms.reset();
    assert!(cms.try_acquire().is_ok());
}

#[test]
fn open_time_grows_and_starts_again_after_closing() {
    let clock = ManualClock::new();
    let cms = BreakerHandle::new(
        "cms",
        on(clock)
            .trip_after(1)
            .open_for(secs(10))
            .growth(2.0, secs(60)),
    );
    fail(&cms, 1);
    for wait in [10, 20, 40, 60, 60] {
        assert_eq!(cms.retry_after(), Some(secs(wait)));
        clock.advance(secs(wait));
        fail(&cms, 1);
    }
    clock.advance(secs(60));
    cms.try_acquire().unwrap().success();
    fail(&cms, 1);
    assert_eq!(cms.retry_after(), Some(secs(10)));
}

#[test]
fn jitter_only_lengthens_and_follows_its_seed() {
    let clock = ManualClock::new();
    let waits = |seed| {
        let cms = BreakerHandle::new("cms", on(clock).trip_after(1).jitter(0.5)).seeded(seed);
        (0..20)
            .map(|_| {
                fail(&cms, 1);
                let wait = cms.retry_after().unwrap();
                cms.reset();
                wait
            })
            .collect::<Vec<_>>()
    };
    let some = waits(1);
    assert!(
        some.iter().all(|wait| (secs(30)..=secs(45)).contains(wait)),
        "{some:?}"
    );
    assert!(some.iter().any(|wait| *wait != some[0]));
    assert_ne!(some, waits(2));
}

#[test]
fn a_throttling_partner_decides_how_long_within_the_maximum() {
    let clock = ManualClock::new();
    let cms = BreakerHandle::new("cms", on(clock).trip_after(1).open_max(secs(120)));
    for (asked, waits) in [
        (None, 30),
        (Some(10), 30),
        (Some(90), 90),
        (Some(9000), 120),
    ] {
        let retry_after = asked.map(secs);
        cms.try_acquire()
            .unwrap()
            .finish(Outcome::Throttled { retry_after });
        assert_eq!(cms.retry_after(), Some(secs(waits)));
        cms.reset();
    }
    assert_eq!(cms.snapshot().counts.throttled, 4);
}

#[test]
fn a_rate_needs_its_minimum_and_slides() {
    let clock = ManualClock::new();
    let policy = Policy::failure_rate(0.5, Window::calls(20).min_calls(10));
    let cms = BreakerHandle::new("cms", on(clock).policy(policy));
    fail(&cms, 9);
    assert_eq!(cms.state(), State::Closed);
    for _ in 0..20 {
        cms.try_acquire().unwrap().success();
    }
    fail(&cms, 9);
    assert_eq!(cms.state(), State::Closed, "9 of the last 20");
    fail(&cms, 1);
    assert_eq!(cms.state(), State::Open);
}

#[test]
fn slow_answers_open_it_though_they_are_good() {
    let clock = ManualClock::new();
    let policy = Policy::consecutive(3).or(Policy::slow_rate(
        0.5,
        secs(2),
        Window::calls(10).min_calls(4),
    ));
    let cms = BreakerHandle::new("cms", on(clock).policy(policy));
    for took in [1, 1, 2, 3] {
        let ticket = cms.try_acquire().unwrap();
        clock.advance(secs(took));
        ticket.success();
    }
    assert_eq!(cms.state(), State::Open);
    assert_eq!(cms.snapshot().counts.slow, 2);

    clock.advance(secs(30));
    let probe = cms.try_acquire().unwrap();
    clock.advance(secs(2));
    probe.success();
    assert_eq!(cms.state(), State::Open, "a probe that slow has failed");
}

#[tokio::test(start_paused = true)]
async fn call_and_run_report_and_refuse() {
    let cms = BreakerHandle::new("cms", BreakerConfig::new().trip_after(2));
    assert_eq!(cms.call(async { Ok::<_, ()>(1) }).await, Ok(1));
    assert_eq!(cms.run(|| Err::<(), _>("down")), Err(Error::Inner("down")));
    let ignore = |_: Result<&(), &&str>| Outcome::Ignore;
    assert_eq!(
        cms.call_with(&ignore, async { Err("rejected") }).await,
        Err(Error::Inner("rejected"))
    );
    let rejected = cms.run_with(&ignore, || Err("rejected"));
    assert_eq!(rejected, Err(Error::Inner("rejected")));
    assert_eq!(cms.snapshot().consecutive_failures, 1);
    assert_eq!(cms.run(|| Err::<(), _>("down")), Err(Error::Inner("down")));
    let refused = cms.call(async { panic!("must not be polled") }).await;
    assert!(
        matches!(refused, Err::<(), Error<()>>(Error::Refused(refused)) if refused.is_circuit())
    );
}

#[test]
fn clones_are_one_circuit_and_others_are_others() {
    let config = BreakerConfig::new().trip_after(1);
    let (one, other) = (
        BreakerHandle::new("a", config),
        BreakerHandle::new("a", config),
    );
    fail(&one.clone(), 1);
    assert_eq!((one.state(), other.state()), (State::Open, State::Closed));
}

#[test]
fn a_slot_that_is_used_again_knows_nothing_of_its_past() {
    let clock = ManualClock::new();
    let policy =
        Policy::consecutive(5).or(Policy::failure_rate(0.5, Window::calls(10).min_calls(4)));
    let first = BreakerHandle::new("first", on(clock).policy(policy));
    fail(&first, 3);
    let late = first.try_acquire().unwrap();
    drop(first);

    let second = BreakerHandle::new("second", on(clock).policy(policy));
    late.failure();
    fail(&second, 3);
    assert_eq!(second.state(), State::Closed);
    assert_eq!(
        (
            second.snapshot().counts.failures,
            second.snapshot().consecutive_failures
        ),
        (3, 3)
    );
    fail(&second, 1);
    assert_eq!(second.state(), State::Open);
}

#[test]
fn reasons_have_names() {
    assert_eq!(Reason::OpenTimeOver.to_string(), "open_time_over");
    assert_eq!(State::HalfOpen.to_string(), "half_open");
}
