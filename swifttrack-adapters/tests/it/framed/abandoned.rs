//! Calls that nobody waits for any more.

use std::time::Duration;

use swifttrack_adapters::framed::Options;
use tokio::time::{sleep, timeout};

use super::support::{pipe, settle, within, word};

#[tokio::test(start_paused = true)]
async fn a_call_dropped_before_its_frame_is_withdrawn() {
    let (client, mut peers) = pipe(Options::new());
    let first = tokio::spawn({
        let client = client.clone();
        async move { client.call(&word("first"), &within(10_000)).await }
    });
    let mut peer = peers.greet(1).await;
    let id = peer.expect("first").await;
    let (context, never, third) = (within(10_000), word("never"), word("third"));
    timeout(Duration::from_millis(5), client.call(&never, &context))
        .await
        .unwrap_err();
    let (answer, ()) = tokio::join!(client.call(&third, &context), async {
        peer.say(id, &word("1")).await;
        let id = peer.expect("third").await;
        peer.say(id, &word("3")).await;
    });
    assert_eq!(answer.unwrap(), word("3"));
    first.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_call_dropped_after_its_frame_keeps_its_place_until_the_answer() {
    let (client, mut peers) = pipe(Options::new());
    let dropped = tokio::spawn({
        let client = client.clone();
        async move { client.call(&word("dropped"), &within(10_000)).await }
    });
    let mut peer = peers.greet(1).await;
    let id = peer.expect("dropped").await;
    dropped.abort();
    settle().await;
    assert_eq!(client.snapshot().in_flight, 1);
    let waits = client.call(&word("late"), &within(100)).await.unwrap_err();
    assert!(waits.is_local());

    peer.say(id, &word("too late")).await;
    settle().await;
    assert_eq!(client.snapshot().in_flight, 0);
    let (context, next) = (within(100), word("next"));
    let (answer, ()) = tokio::join!(client.call(&next, &context), async {
        let id = peer.expect("next").await;
        peer.say(id, &word("fine")).await;
    });
    assert_eq!(answer.unwrap(), word("fine"));
    assert_eq!(client.snapshot().connected, 1);
}

#[tokio::test(start_paused = true)]
async fn half_a_window_of_overdue_calls_moves_new_ones_to_a_new_connection() {
    let (client, mut peers) = pipe(Options::new());
    let call = |text: &'static str, ms| {
        let client = client.clone();
        tokio::spawn(async move { client.call(&word(text), &within(ms)).await })
    };
    let patient = call("patient", 10_000);
    let mut old = peers.greet(4).await;
    let patient_id = old.expect("patient").await;
    for _ in 0..2 {
        let swallowed = call("swallowed", 50).await.unwrap().unwrap_err();
        assert!(swallowed.is_unknown());
    }
    settle().await;
    assert_eq!(client.snapshot().clogged, 1);
    assert_eq!(client.snapshot().overdue, 2);

    let fresh = call("fresh", 1000);
    let mut new = peers.greet(4).await;
    let id = new.expect("fresh").await;
    new.say(id, &word("at once")).await;
    assert_eq!(fresh.await.unwrap().unwrap(), word("at once"));

    old.expect("swallowed").await;
    old.expect("swallowed").await;
    old.say(patient_id, &word("still")).await;
    assert_eq!(patient.await.unwrap().unwrap(), word("still"));
    assert!(old.is_closed().await, "once nobody waits on it");
    settle().await;
    let seen = client.snapshot();
    assert_eq!((seen.in_flight, seen.overdue, seen.ended), (0, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn answers_swallowed_for_ever_cost_neither_memory_nor_the_way_to_call() {
    let (client, mut peers) = pipe(Options::new());
    let swallower = tokio::spawn(async move {
        let mut connections = 0;
        while let Some(mut peer) = peers.accept().await {
            peer.greet(4).await;
            connections += 1;
            tokio::spawn(async move { while peer.any().await.is_some() {} });
        }
        connections
    });
    for _ in 0..200 {
        let error = client.call(&word("gone"), &within(20)).await.unwrap_err();
        assert!(error.is_unknown() || error.is_not_applied(), "{error:?}");
        sleep(error.retry_after().unwrap_or_default()).await;
        let seen = client.snapshot();
        assert!(seen.in_flight <= 3 * 4, "{seen:?}");
        assert!(seen.waiting == 0, "{seen:?}");
    }
    let seen = client.snapshot();
    assert!(seen.clogged >= 5, "{seen:?}");
    assert!(seen.connected - seen.ended <= 1, "{seen:?}");
    drop(client);
    assert_eq!(swallower.await.unwrap(), seen.connected);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_cancelled_calls_hold_no_more_than_the_window() {
    let (client, mut peers) = pipe(Options::new());
    let first = tokio::spawn({
        let client = client.clone();
        async move { client.call(&word("live"), &within(60_000)).await }
    });
    let mut peer = peers.greet(8).await;
    let live = peer.expect("live").await;
    let long = within(60_000);
    for _ in 0..10_000 {
        let cancelled = word("cancelled");
        let mut call = Box::pin(client.call(&cancelled, &long));
        tokio::select! {
            biased;
            result = &mut call => panic!("nobody answers it: {result:?}"),
            () = tokio::task::yield_now() => {}
        }
        tokio::task::yield_now().await;
        drop(call);
        let seen = client.snapshot();
        assert!(seen.in_flight <= 8 && seen.waiting == 0, "{seen:?}");
    }
    peer.say(live, &word("unharmed")).await;
    assert_eq!(first.await.unwrap().unwrap(), word("unharmed"));
    let started = client.snapshot().started;
    assert_eq!(
        started, 8,
        "one live, and seven that hold the rest of the window"
    );
}
