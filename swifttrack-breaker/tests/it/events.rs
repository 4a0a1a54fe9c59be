//! Transitions, as those who listen hear them.

use swifttrack_breaker::{
    BreakerConfig, BreakerHandle, EVENTS_MAX, Event, FLIGHT_MAX, Outcome, Policy, Reason, State,
    Tally, Window,
};
use tokio::time;

use crate::support::{fail, next, secs};

#[tokio::test(start_paused = true)]
async fn every_transition_comes_once_in_order_with_its_reason_and_counts() {
    let cms = BreakerHandle::new("cms", BreakerConfig::new());
    let mut events = cms.subscribe();
    fail(&cms, 3);
    time::advance(secs(30)).await;
    fail(&cms, 1);
    time::advance(secs(30)).await;
    cms.try_acquire().unwrap().success();
    cms.reset();
    let heard = [
        (State::Closed, State::Open, Reason::ConsecutiveFailures, 3),
        (State::Open, State::HalfOpen, Reason::OpenTimeOver, 3),
        (State::HalfOpen, State::Open, Reason::ProbeFailed, 4),
        (State::Open, State::HalfOpen, Reason::OpenTimeOver, 4),
        (State::HalfOpen, State::Closed, Reason::ProbesSucceeded, 4),
        (State::Closed, State::Closed, Reason::Reset, 0),
    ];
    for (seq, (from, to, reason, failures)) in (1..).zip(heard) {
        let event = next(&mut events).await;
        assert_eq!(
            (event.seq, event.from, event.to, event.reason),
            (seq, from, to, reason)
        );
        assert_eq!(
            (&*event.name, event.consecutive_failures),
            ("cms", failures)
        );
        assert_eq!(event.open_for, (to == State::Open).then_some(secs(30)));
    }
    drop(cms);
    assert!(events.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_trip_brings_the_outcomes_that_led_to_it() {
    let policy = Policy::failure_rate(0.5, Window::calls(10).min_calls(4));
    let cms = BreakerHandle::new("cms", BreakerConfig::new().policy(policy));
    let mut events = cms.subscribe();
    for good in [true, false, true, false] {
        let outcome = if good {
            Outcome::Success
        } else {
            Outcome::Failure
        };
        cms.try_acquire().unwrap().finish(outcome);
        time::advance(secs(1)).await;
    }
    let event = next(&mut events).await;
    assert_eq!(event.reason, Reason::FailureRate);
    assert_eq!(event.rate, Some(Tally { bad: 2, total: 4 }));
    let outcomes: Vec<_> = event.flight.iter().map(|flight| flight.outcome).collect();
    use Outcome::{Failure, Success};
    assert_eq!(outcomes, [Success, Failure, Success, Failure]);
    assert_eq!(event.flight[1].ago, secs(2));
}

/// Good calls are not written one by one while a window is full of them, and nobody can tell.
#[tokio::test(start_paused = true)]
async fn a_trip_after_long_health_brings_the_last_64_outcomes_too() {
    for size in [10, 64, 100] {
        let policy = Policy::failure_rate(0.5, Window::calls(size));
        let cms = BreakerHandle::new("cms", BreakerConfig::new().policy(policy));
        let mut events = cms.subscribe();
        for _ in 0..3 {
            fail(&cms, 1);
            for _ in 0..500 {
                cms.try_acquire().unwrap().success();
            }
        }
        let failures = size as usize / 2;
        fail(&cms, failures as u32);
        let event = next(&mut events).await;
        assert_eq!(event.reason, Reason::FailureRate, "{size}");
        let (good, bad) = event.flight.split_at(event.flight.len() - failures);
        assert_eq!(event.flight.len(), FLIGHT_MAX, "{size}");
        assert!(good.iter().all(|flight| flight.outcome == Outcome::Success));
        assert!(bad.iter().all(|flight| flight.outcome == Outcome::Failure));
    }
}

#[tokio::test(start_paused = true)]
async fn observing_tells_and_refuses_nothing() {
    let cms = BreakerHandle::new("cms", BreakerConfig::new());
    cms.observe();
    let mut events = cms.subscribe();
    fail(&cms, 20);
    let event = next(&mut events).await;
    assert!(event.would_open);
    assert_eq!(
        (event.to, event.reason),
        (State::Observe, Reason::ConsecutiveFailures)
    );
    assert_eq!(event.open_for, Some(secs(30)));

    time::advance(secs(30)).await;
    fail(&cms, 3);
    assert_eq!(next(&mut events).await.reason, Reason::OpenTimeOver);
    assert!(next(&mut events).await.would_open);
}

#[tokio::test]
async fn a_listener_that_falls_behind_is_told() {
    let cms = BreakerHandle::new("cms", BreakerConfig::new());
    let mut events = cms.subscribe();
    for _ in 0..EVENTS_MAX + 10 {
        cms.reset();
    }
    assert!(matches!(events.next().await, Some(Event::Missed(10))));
    assert_eq!(next(&mut events).await.seq, 11);
}

#[test]
fn threads_that_race_are_told_of_in_order() {
    let cms = BreakerHandle::new("cms", BreakerConfig::new().trip_after(1));
    let mut events = cms.subscribe();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..15 {
                    cms.reset();
                    if let Ok(ticket) = cms.try_acquire() {
                        ticket.failure();
                    }
                }
            });
        }
    });
    let total = {
        cms.force_open();
        let mut last = 0;
        let mut before = State::Closed;
        while let Some(Some(Event::Changed(event))) =
            tokio_test::task::spawn(events.next()).poll().map_ready()
        {
            assert_eq!(event.seq, last + 1);
            assert_eq!(
                event.from, before,
                "each starts where the one before it ended"
            );
            (last, before) = (event.seq, event.to);
            if event.to == State::ForcedOpen {
                break;
            }
        }
        last
    };
    assert!(60 < total, "{total}");
}

trait MapReady<T> {
    fn map_ready(self) -> Option<T>;
}

impl<T> MapReady<T> for std::task::Poll<T> {
    fn map_ready(self) -> Option<T> {
        match self {
            Self::Ready(value) => Some(value),
            Self::Pending => None,
        }
    }
}
