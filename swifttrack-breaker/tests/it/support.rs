//! What the tests share.

use std::time::Duration;

use swifttrack_breaker::{BreakerHandle, Budget, Event, ManualClock, Transition, Transitions};

pub(crate) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(crate) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Reports that many failures.
pub(crate) fn fail(circuit: &BreakerHandle, times: u32) {
    for _ in 0..times {
        circuit.try_acquire().expect("let through").failure();
    }
}

pub(crate) async fn next(transitions: &mut Transitions) -> Transition {
    match transitions.next().await {
        Some(Event::Changed(transition)) => transition,
        other => panic!("expected a transition, got {other:?}"),
    }
}

/// A budget on a clock that moves by hand.
pub(crate) fn budget(ratio: f64, reserve: u32, saved_max: u32, clock: ManualClock) -> Budget {
    Budget::new()
        .ratio(ratio)
        .reserve(reserve)
        .saved_max(saved_max)
        .clock(clock.clock())
}
