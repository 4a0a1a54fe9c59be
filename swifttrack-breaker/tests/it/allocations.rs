//! What a call takes from the heap.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use allocation_counter::measure;
use swifttrack_breaker::stack::Stack;
use swifttrack_breaker::{
    Backoff, BreakerConfig, BreakerLayer, Budget, Policy, RetryLayer, Window,
};
use tower::{Layer, Service};

use crate::support::{fail, secs};

#[derive(Clone)]
struct NoOp;

impl Service<()> for NoOp {
    type Response = ();
    type Error = Infallible;
    type Future = Ready<Result<(), Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        ready(Ok(()))
    }
}

/// How many allocations a thousand calls make, after the first.
fn allocations(mut service: impl Service<()>, passes: bool) -> u64 {
    let mut call = || {
        let mut cx = Context::from_waker(Waker::noop());
        assert!(matches!(service.poll_ready(&mut cx), Poll::Ready(Ok(()))));
        let Poll::Ready(answer) = pin!(service.call(())).poll(&mut cx) else {
            panic!("the service inside answers at once");
        };
        assert_eq!(answer.is_ok(), passes);
    };
    call();
    measure(|| (0..1000).for_each(|_| call())).count_total
}

fn configs() -> [BreakerConfig; 4] {
    let rate = |window| Policy::failure_rate(0.5, window);
    [
        BreakerConfig::new(),
        BreakerConfig::new().policy(rate(Window::calls(200))),
        BreakerConfig::new().policy(rate(Window::time(secs(10)))),
        BreakerConfig::new()
            .policy(Policy::slow_rate(0.5, secs(1), Window::time(secs(10))))
            .count_successes(true),
    ]
}

#[test]
fn a_call_through_a_closed_circuit_allocates_nothing() {
    for config in configs() {
        let layer = BreakerLayer::new("cms", config);
        assert_eq!(allocations(layer.layer(NoOp), true), 0, "{config:?}");
    }
}

#[test]
fn a_refusal_allocates_nothing() {
    for config in configs() {
        let layer = BreakerLayer::new("cms", config.policy(Policy::default()));
        fail(layer.handle(), 3);
        assert_eq!(allocations(layer.layer(NoOp), false), 0, "{config:?}");
    }
}

#[test]
fn neither_do_the_layers_beside_it_that_keep_no_time() {
    let stack = Stack::new()
        .retry(RetryLayer::new(Backoff::new()).budget(Budget::new()))
        .breaker(BreakerLayer::new("cms", BreakerConfig::new()))
        .bulkhead(8);
    assert_eq!(allocations(stack.service(NoOp), true), 0);
}
