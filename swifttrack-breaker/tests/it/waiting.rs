//! The ordered wait for a circuit.

use std::sync::Arc;
use std::sync::Mutex;

use swifttrack_breaker::{BreakerConfig, BreakerHandle, Cause, State};
use tokio::time::{self, Instant};
use tokio_test::{assert_pending, assert_ready_ok, task};

use crate::support::{fail, ms, secs};

#[tokio::test(start_paused = true)]
async fn a_closed_circuit_makes_nobody_wait() {
    let cms = BreakerHandle::new("cms", BreakerConfig::new());
    assert_ready_ok!(task::spawn(cms.acquire()).poll()).success();
}

#[tokio::test(start_paused = true)]
async fn probes_go_first_and_the_rest_follow_oldest_first() {
    let cms = BreakerHandle::new("cms", BreakerConfig::new().probes(2).ramp(100));
    fail(&cms, 3);
    let start = Instant::now();
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for waiter in 0..20 {
        let (cms, order) = (cms.clone(), Arc::clone(&order));
        tasks.push(tokio::spawn(async move {
            let ticket = cms.acquire().await.unwrap();
            order
                .lock()
                .unwrap()
                .push((waiter, start.elapsed(), cms.state()));
            time::sleep(secs(1)).await;
            ticket.success();
        }));
        tokio::task::yield_now().await;
    }
    for task in tasks {
        task.await.unwrap();
    }
    let order = order.lock().unwrap();
    let waiters: Vec<u32> = order.iter().map(|(waiter, ..)| *waiter).collect();
    assert_eq!(waiters, (0..20).collect::<Vec<_>>());
    for (waiter, at, state) in order.iter() {
        if *waiter < 2 {
            assert_eq!(
                (*at, *state),
                (secs(30), State::HalfOpen),
                "waiter {waiter}"
            );
        } else {
            assert!(
                secs(31) <= *at && *state == State::Closed,
                "waiter {waiter} at {at:?}"
            );
        }
    }
    assert!(
        ms(31_150) <= order[19].1,
        "along the ramp, not at once: {:?}",
        order[19].1
    );
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_goes_makes_room_for_the_next() {
    let cms = BreakerHandle::new("cms", BreakerConfig::new().trip_after(1));
    fail(&cms, 1);
    let mut first = task::spawn(cms.acquire());
    let mut second = task::spawn(cms.acquire());
    assert_pending!(first.poll());
    assert_pending!(second.poll());
    assert_eq!(cms.snapshot().waiting, 2);
    drop(first);
    time::sleep(ms(30_010)).await;
    let probe = assert_ready_ok!(second.poll());
    assert_eq!(cms.state(), State::HalfOpen);
    probe.success();
}

#[tokio::test(start_paused = true)]
async fn a_ticket_that_was_on_its_way_to_one_who_left_goes_to_the_next() {
    let cms = BreakerHandle::new("cms", BreakerConfig::new().trip_after(1));
    fail(&cms, 1);
    let mut first = task::spawn(cms.acquire());
    let mut second = task::spawn(cms.acquire());
    assert_pending!(first.poll());
    assert_pending!(second.poll());
    time::sleep(ms(30_010)).await;
    assert!(first.is_woken());
    drop(first);
    time::sleep(ms(1)).await;
    assert_ready_ok!(second.poll()).success();
    assert_eq!(cms.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_reset_lets_them_go_and_a_forced_circuit_does_not() {
    let cms = BreakerHandle::new("cms", BreakerConfig::new());
    cms.force_open();
    let mut waiter = task::spawn(cms.wait());
    assert_pending!(waiter.poll());
    time::sleep(secs(86_400)).await;
    assert_pending!(waiter.poll());
    cms.reset();
    time::sleep(ms(20)).await;
    assert_ready_ok!(waiter.poll());
}

#[tokio::test(start_paused = true)]
async fn waiters_go_on_waiting_while_probes_fail() {
    let cms = BreakerHandle::new("cms", BreakerConfig::new().trip_after(1));
    fail(&cms, 1);
    let start = Instant::now();
    let mut tasks = Vec::new();
    for waiter in 0..3 {
        let cms = cms.clone();
        tasks.push(tokio::spawn(async move {
            cms.acquire().await.unwrap().failure();
            (waiter, start.elapsed())
        }));
    }
    for (waiter, task) in (0..).zip(tasks) {
        assert_eq!(task.await.unwrap(), (waiter, secs(30 * (waiter + 1))));
    }
}

#[tokio::test(start_paused = true)]
async fn the_queue_has_an_end_and_those_who_left_take_no_place_in_it() {
    let cms = BreakerHandle::new("cms", BreakerConfig::new().trip_after(1).waiters_max(2));
    fail(&cms, 1);
    let mut first = task::spawn(cms.acquire());
    let mut second = task::spawn(cms.acquire());
    assert_pending!(first.poll());
    assert_pending!(second.poll());
    let refused = cms.acquire().await.unwrap_err();
    assert_eq!(
        (refused.cause(), refused.retry_after()),
        (Cause::Full, Some(secs(30)))
    );
    drop(first);
    let mut third = task::spawn(cms.acquire());
    assert_pending!(third.poll());
}

#[test]
fn waiters_outlive_the_runtime_that_drove_them() {
    let cms = BreakerHandle::new("cms", BreakerConfig::new());
    cms.force_open();
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let mut waiter = task::spawn(cms.acquire());
    let first = runtime();
    first.block_on(async { assert_pending!(waiter.poll()) });
    drop(first);
    runtime().block_on(async {
        assert!(waiter.is_woken());
        assert_pending!(waiter.poll());
        cms.reset();
        assert!(waiter.await.is_ok());
    });
}
