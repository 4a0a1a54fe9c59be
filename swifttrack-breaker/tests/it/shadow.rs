//! Policies that only watch.

use swifttrack_breaker::{
    BreakerConfig, BreakerHandle, ManualClock, Outcome, Policy, Reason, SHADOWS_MAX, Shadow, State,
    Tally, Window,
};

use crate::support::{fail, next, secs};

#[test]
fn a_live_shadow_says_when_it_would_have_opened() {
    let clock = ManualClock::new();
    let config = BreakerConfig::new().clock(clock.clock());
    let cms = BreakerHandle::new("cms", config.trip_after(100));
    let rate = Policy::failure_rate(0.5, Window::calls(10).min_calls(4));
    let strict = cms.shadow("strict", config.trip_after(2)).unwrap();
    let rated = cms.shadow("rated", config.policy(rate)).unwrap();
    for second in 1..=8 {
        clock.advance(secs(1));
        let outcome = if second % 2 == 0 {
            Outcome::Failure
        } else {
            Outcome::Success
        };
        cms.try_acquire().unwrap().finish(outcome);
    }
    assert_eq!(strict.trips(), [], "never two in a row");
    let trips = rated.trips();
    assert_eq!(trips.len(), 1, "then it would have been open");
    assert_eq!(
        (trips[0].at, trips[0].reason),
        (secs(4), Reason::FailureRate)
    );
    assert_eq!(
        (trips[0].rate, trips[0].open_for),
        (Some(Tally { bad: 2, total: 4 }), secs(30))
    );
    assert_eq!(cms.state(), State::Closed);
}

#[test]
fn shadows_are_few_and_end_when_they_are_dropped() {
    let cms = BreakerHandle::new("cms", BreakerConfig::new());
    let shadows: Vec<_> = (0..SHADOWS_MAX)
        .map(|_| cms.shadow("one", BreakerConfig::new()).unwrap())
        .collect();
    assert!(cms.shadow("more", BreakerConfig::new()).is_none());
    drop(shadows);
    assert!(cms.shadow("more", BreakerConfig::new()).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_flight_record_can_be_replayed_under_another_policy() {
    let cms = BreakerHandle::new("cms", BreakerConfig::new().trip_after(5));
    let mut events = cms.subscribe();
    for _ in 0..5 {
        fail(&cms, 1);
        tokio::time::advance(secs(10)).await;
    }
    let flight = next(&mut events).await.flight;
    assert_eq!(flight.len(), 5);
    let stricter = Shadow::replay(BreakerConfig::new().trip_after(2), &flight);
    assert_eq!(
        stricter.iter().map(|trip| trip.at).collect::<Vec<_>>(),
        [secs(10)],
        "open at the third and fourth; the fifth begins anew"
    );
    assert_eq!(
        Shadow::replay(BreakerConfig::new().trip_after(6), &flight),
        []
    );
}

#[test]
fn a_slow_rule_sees_how_long_the_calls_took() {
    let policy = Policy::slow_rate(0.5, secs(2), Window::calls(4).min_calls(2));
    let mut shadow = Shadow::new(BreakerConfig::new().policy(policy));
    assert_eq!(shadow.feed(secs(10), Outcome::Success, Some(secs(1))), None);
    let trip = shadow
        .feed(secs(20), Outcome::Success, Some(secs(3)))
        .unwrap();
    assert_eq!((trip.at, trip.reason), (secs(20), Reason::SlowRate));
}
