//! The peers, in the setting that they are made for.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use failsafe::CircuitBreaker as _;
use seatbelt::{RecoveryInfo, ResilienceContext};
use tower::{Layer, Service};
use tower_resilience_circuitbreaker::{
    CircuitBreakerConfigBuilder, CircuitBreakerLayer, DefaultClassifier,
};

use super::{Case, Circuit, FAIL, NoOp, RUNTIME, fail, function, service, work};

const HOUR: Duration = Duration::from_secs(3600);

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case {
            name: "failsafe, run of failures",
            equal: "ours, run of failures, plain",
            circuit: || function(failsafe(), true),
        },
        Case {
            name: "failsafe, refused",
            equal: "ours, refused, plain",
            circuit: || {
                let call = failsafe();
                assert!((0..3).all(|_| !call(FAIL)));
                function(call, false)
            },
        },
        Case {
            name: "recloser, last 100 calls",
            equal: "ours, last 100 calls, plain",
            circuit: || function(recloser(), true),
        },
        Case {
            name: "recloser, refused",
            equal: "ours, refused, plain",
            circuit: || {
                let call = recloser();
                assert!((0..=100).all(|_| !call(FAIL)));
                function(call, false)
            },
        },
        Case {
            name: "seatbelt, last 30 s",
            equal: "ours, last 30 s",
            circuit: || service(seatbelt(), true),
        },
        Case {
            name: "seatbelt, refused",
            equal: "ours, refused",
            circuit: || refused(seatbelt()),
        },
        Case {
            name: "tower-resilience, run of failures",
            equal: "ours, run of failures",
            circuit: || service(resilience(|config| config.consecutive_failures(3)), true),
        },
        Case {
            name: "tower-resilience, last 100 calls",
            equal: "ours, last 100 calls",
            circuit: || service(resilience(|config| config), true),
        },
        Case {
            name: "tower-resilience, refused",
            equal: "ours, refused",
            circuit: || refused(resilience(|config| config)),
        },
    ]
}

fn refused<S>(mut circuit: S) -> Circuit
where
    S: Service<u64, Response = u64> + Clone + Sync + 'static,
{
    fail(&mut circuit, 100);
    service(circuit, false)
}

fn failsafe() -> impl Fn(u64) -> bool + Clone + Sync + 'static {
    let backoff = failsafe::backoff::constant(HOUR);
    let policy = failsafe::failure_policy::consecutive_failures(3, backoff);
    let circuit = failsafe::Config::new().failure_policy(policy).build();
    move |request| circuit.call(|| work(request)).is_ok()
}

/// Its defaults: half of the last 100 calls.
fn recloser() -> impl Fn(u64) -> bool + Clone + Sync + 'static {
    let circuit = Arc::new(recloser::Recloser::custom().open_wait(HOUR).build());
    move |request| circuit.call(|| work(request)).is_ok()
}

/// Its defaults: a tenth of at least 100 calls in 30 seconds.
fn seatbelt() -> impl Service<u64, Response = u64> + Clone + Sync + 'static {
    static CLOCK: LazyLock<tick::Clock> =
        LazyLock::new(|| RUNTIME.block_on(async { tick::Clock::new_tokio() }));
    let context = ResilienceContext::new(&*CLOCK);
    let layer = seatbelt::breaker::Breaker::layer("bench", &context)
        .break_duration(HOUR)
        .recovery_with(|result: &Result<u64, &'static str>, _| match result {
            Ok(_) => RecoveryInfo::never(),
            Err(_) => RecoveryInfo::retry(),
        })
        .rejected_input_error(|_, _| "refused");
    Layer::layer(&layer, NoOp)
}

/// Its defaults, if not changed: half of the last 100 calls.
fn resilience(
    change: impl FnOnce(
        CircuitBreakerConfigBuilder<DefaultClassifier>,
    ) -> CircuitBreakerConfigBuilder<DefaultClassifier>,
) -> impl Service<u64, Response = u64> + Clone + Sync + 'static {
    let config = CircuitBreakerLayer::builder().wait_duration_in_open(HOUR);
    change(config)
        .build()
        .expect("a sound configuration")
        .layer(NoOp)
}
