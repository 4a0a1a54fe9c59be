//! What the tests share.

use std::time::Duration;

use swifttrack_breaker::{BreakerHandle, Event, Transition, Transitions};

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
