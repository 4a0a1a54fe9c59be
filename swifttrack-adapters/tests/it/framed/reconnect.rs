//! The way to a connection, and to the next one.

use std::error::Error as _;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use async_trait::async_trait;
use swifttrack_adapters::framed::control::{Fault, HelloAck};
use swifttrack_adapters::framed::{Client, Connect, Duplex, Options};
use tokio::time::{Instant, advance, sleep};

use super::support::{Echo, pipe, settle, within, word};

/// Fails as often as it is asked.
#[derive(Debug, Clone, Default)]
struct Dead(Arc<AtomicUsize>, bool);

#[async_trait]
impl Connect for Dead {
    async fn connect(&self) -> io::Result<Box<dyn Duplex>> {
        self.0.fetch_add(1, SeqCst);
        assert!(!self.1, "a connector that breaks");
        Err(io::ErrorKind::ConnectionRefused.into())
    }
}

fn options() -> Options {
    Options::new().backoff(Duration::from_millis(100), Duration::from_secs(10))
}

#[tokio::test(start_paused = true)]
async fn a_failed_connect_is_the_partners_and_the_pause_after_it_is_ours() {
    let dead = Dead::default();
    let client = Client::<Echo>::new(dead.clone(), options());
    let (context, ask) = (within(1000), word("ask"));
    let (first, second) = tokio::join!(client.call(&ask, &context), client.call(&ask, &context));
    for result in [first, second] {
        let error = result.unwrap_err();
        assert!(error.is_not_applied() && !error.is_local());
        assert!(
            error
                .source()
                .unwrap()
                .to_string()
                .contains("connecting failed")
        );
    }
    assert_eq!(dead.0.load(SeqCst), 1, "one attempt for all who wait");

    let refused = client.call(&ask, &context).await.unwrap_err();
    assert!(refused.is_not_applied() && refused.is_local());
    let pause = refused.retry_after().unwrap();
    assert!(pause <= Duration::from_millis(100), "{pause:?}");
    assert_eq!(dead.0.load(SeqCst), 1);

    advance(pause).await;
    assert!(!client.call(&ask, &context).await.unwrap_err().is_local());
    assert_eq!(dead.0.load(SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn pauses_grow_to_their_limit() {
    let dead = Dead::default();
    let client = Client::<Echo>::new(dead.clone(), options());
    let ask = word("ask");
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(600) {
        let error = client.call(&ask, &within(1000)).await.unwrap_err();
        sleep(error.retry_after().unwrap()).await;
    }
    let attempts = dead.0.load(SeqCst);
    assert!((60..=140).contains(&attempts), "{attempts}");
}

#[tokio::test(start_paused = true)]
async fn a_greeting_that_is_refused_says_why() {
    let (client, mut peers) = pipe(options());
    let (context, ask) = (within(1000), word("ask"));
    let (result, ()) = tokio::join!(client.call(&ask, &context), async {
        let mut peer = peers.accept().await.unwrap();
        peer.next().await;
        peer.say(1, &Fault::unauthorized("who are you")).await;
    });
    let error = result.unwrap_err();
    assert!(error.is_not_applied() && !error.is_local());
    assert_eq!(error.code(), Some("401"));
}

#[tokio::test(start_paused = true)]
async fn a_greeting_that_means_nothing_is_no_connection() {
    let good = HelloAck {
        version: 1,
        payload_bytes_max: 1000,
        window: 1,
        heartbeat_ms: 1000,
    };
    for ack in [
        HelloAck { version: 2, ..good },
        HelloAck { window: 0, ..good },
        HelloAck {
            heartbeat_ms: 0,
            ..good
        },
    ] {
        let (client, mut peers) = pipe(options());
        let (context, ask) = (within(1000), word("ask"));
        let (result, ()) = tokio::join!(client.call(&ask, &context), async {
            let mut peer = peers.accept().await.unwrap();
            peer.next().await;
            peer.say(1, &ack).await;
        });
        assert!(result.unwrap_err().is_not_applied(), "{ack:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_greeting_that_is_not_answered_has_an_end() {
    let (client, mut peers) = pipe(options().connect_timeout(Duration::from_secs(2)));
    let (soon, late, ask) = (within(500), within(60_000), word("ask"));
    let start = Instant::now();
    let (first, second, _peer) = tokio::join!(
        client.call(&ask, &soon),
        client.call(&ask, &late),
        peers.accept()
    );
    assert!(first.unwrap_err().is_not_applied());
    assert!(second.unwrap_err().is_not_applied());
    assert_eq!(start.elapsed(), Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn a_connector_that_panics_leaves_nobody_waiting() {
    let client = Client::<Echo>::new(Dead(Arc::default(), true), options());
    let error = client.call(&word("ask"), &within(1000)).await.unwrap_err();
    assert!(error.is_not_applied());
    assert!(error.source().unwrap().to_string().contains("broken off"));
}

#[tokio::test(start_paused = true)]
async fn the_first_caller_may_leave_the_others_waiting() {
    let (client, mut peers) = pipe(options());
    let first = tokio::spawn({
        let client = client.clone();
        async move { client.call(&word("first"), &within(1000)).await }
    });
    settle().await;
    let second = tokio::spawn({
        let client = client.clone();
        async move { client.call(&word("second"), &within(1000)).await }
    });
    settle().await;
    first.abort();
    let mut peer = peers.greet(4).await;
    let id = peer.expect("second").await;
    peer.say(id, &word("served")).await;
    assert_eq!(second.await.unwrap().unwrap(), word("served"));
    assert!(peers.none_waits());
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_replaced_at_once_unless_two_in_a_row_were_worthless() {
    let (client, mut peers) = pipe(options());
    let (context, ask) = (within(1000), word("ask"));
    for _ in 0..3 {
        let (answer, ()) = tokio::join!(client.call(&ask, &context), async {
            let mut peer = peers.greet(4).await;
            let id = peer.expect("ask").await;
            peer.say(id, &word("good")).await;
        });
        answer.unwrap();
        settle().await;
    }
    for _ in 0..2 {
        let (lost, ()) = tokio::join!(client.call(&ask, &context), async {
            peers.greet(4).await.expect("ask").await;
        });
        assert!(lost.unwrap_err().is_unknown());
        settle().await;
    }
    assert!(client.call(&ask, &context).await.unwrap_err().is_local());
}
