//! Calls, answers, and the window between them.

use std::time::Duration;

use swifttrack_adapters::Class;
use swifttrack_adapters::framed::control::Fault;
use swifttrack_adapters::framed::{Head, Options};
use tokio::time::Instant;

use super::support::{WORD, connected, pipe, settle, within, word};

#[tokio::test(start_paused = true)]
async fn answers_find_their_calls_in_any_order() {
    let (client, mut peers) = pipe(Options::new());
    let (context, one, two) = (within(1000), word("one"), word("two"));
    let script = async {
        let mut peer = peers.greet(8).await;
        let first = peer.expect("one").await;
        let second = peer.expect("two").await;
        assert!(1 < first && first < second, "ids rise from the greeting's");
        peer.say(second, &word("2")).await;
        peer.say(first, &word("1")).await;
        peer
    };
    let (one, two, _peer) = tokio::join!(
        client.call(&one, &context),
        client.call(&two, &context),
        script
    );
    assert_eq!((one.unwrap(), two.unwrap()), (word("1"), word("2")));
}

#[tokio::test(start_paused = true)]
async fn the_remaining_deadline_travels_rounded_up() {
    let (client, mut peers) = pipe(Options::new());
    let mut context = within(1000);
    context.deadline = Instant::now() + Duration::from_micros(1500);
    let word = word("hurry");
    let (result, peer) = tokio::join!(client.call(&word, &context), async {
        let mut peer = peers.greet(8).await;
        let Head {
            kind, deadline_ms, ..
        } = peer.next().await.head;
        assert_eq!((kind, deadline_ms), (WORD, 2));
        peer
    });
    assert!(result.unwrap_err().is_unknown());
    drop(peer);
}

#[tokio::test(start_paused = true)]
async fn a_fault_is_the_partners_word() {
    let (client, mut peers) = pipe(Options::new());
    let pause = Duration::from_millis(70);
    for (code, class, name) in [
        (404, Class::Rejected, "NO_SUCH_WORD"),
        (429, Class::NotApplied, "429"),
        (500, Class::Unknown, "500"),
    ] {
        let (context, ask) = (within(1000), word("ask"));
        let script = async {
            let mut peer = peers.greet(8).await;
            let id = peer.expect("ask").await;
            let fault = Fault::new(code, class, "no").retry_after(pause);
            peer.say(id, &fault).await;
            peer.go_away(id).await;
        };
        let (result, ()) = tokio::join!(client.call(&ask, &context), script);
        let error = result.unwrap_err();
        assert_eq!(error.class(), class);
        assert_eq!(error.code(), Some(name));
        assert_eq!(error.retry_after(), Some(pause));
        assert!(!error.is_local());
        settle().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_cannot_be_read_breaks_the_protocol_and_only_that_call() {
    let (client, mut peers) = pipe(Options::new());
    let (context, ask) = (within(1000), word("ask"));
    let script = async {
        let mut peer = peers.greet(8).await;
        for payload in [&b"\0\x01\xff"[..], b"\0\x01a?", b""] {
            let id = peer.expect("ask").await;
            peer.send(WORD, id, payload).await;
        }
        let id = peer.expect("ask").await;
        peer.send(0x77, id, b"").await;
        let id = peer.expect("ask").await;
        peer.say(id, &word("fine")).await;
        peer
    };
    let calls = async {
        for _ in 0..4 {
            let error = client.call(&ask, &context).await.unwrap_err();
            assert_eq!(error.class(), Class::Protocol);
        }
        client.call(&ask, &context).await.unwrap()
    };
    let (answer, _peer) = tokio::join!(calls, script);
    assert_eq!(answer, word("fine"));
    assert_eq!(client.snapshot().connected, 1);
}

#[tokio::test(start_paused = true)]
async fn the_window_is_never_exceeded() {
    let (client, _peers, mut peer) = connected(Options::new(), 2).await;
    let calls = (0..6).map(|n| {
        let client = client.clone();
        tokio::spawn(async move { client.call(&word(&n.to_string()), &within(1000)).await })
    });
    let calls: Vec<_> = calls.collect();
    for n in [0, 2, 4] {
        let first = peer.expect(&n.to_string()).await;
        let second = peer.expect(&(n + 1).to_string()).await;
        settle().await;
        assert_eq!(client.snapshot().in_flight, 2);
        peer.say(second, &word("b")).await;
        peer.say(first, &word("a")).await;
    }
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(client.snapshot().in_flight, 0);
    assert_eq!(client.snapshot().waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn a_full_window_is_our_own_refusal() {
    let (client, mut peers) = pipe(Options::new().waiting_max(1));
    let first = tokio::spawn({
        let client = client.clone();
        async move { client.call(&word("first"), &within(10_000)).await }
    });
    let mut peer = peers.greet(1).await;
    let id = peer.expect("first").await;
    let (waiting, refused) = {
        let (soon, second) = (within(100), word("second"));
        tokio::join!(client.call(&second, &soon), async {
            settle().await;
            client.call(&second, &soon).await
        })
    };
    for (result, says) in [
        (waiting, "the window stayed full until the deadline"),
        (refused, "too many calls wait for the partner"),
    ] {
        let error = result.unwrap_err();
        assert!(error.is_not_applied() && error.is_local());
        assert_eq!(error.to_string(), says);
    }
    peer.say(id, &word("done")).await;
    first.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_sent_is_rejected() {
    let (client, mut peers) = pipe(Options::new());
    let (context, long, longer) = (
        within(1000),
        word(&"x".repeat(999)),
        word(&"x".repeat(70_000)),
    );
    let (result, _peer) = tokio::join!(client.call(&long, &context), peers.greet(2));
    let error = result.unwrap_err();
    assert!(error.is_rejected(), "the peer allows 1,000 bytes");
    assert!(
        client
            .call(&longer, &context)
            .await
            .unwrap_err()
            .is_rejected()
    );
    let spent = client.call(&long, &within(0)).await.unwrap_err();
    assert!(spent.is_not_applied() && spent.is_local());
    assert_eq!(client.snapshot().started, 0);
}

#[tokio::test(start_paused = true)]
async fn a_ping_sees_whether_the_partner_lives() {
    let (client, mut peers) = pipe(Options::new());
    let context = within(1000);
    let (pong, mut peer) = tokio::join!(client.ping(&context), async {
        let mut peer = peers.greet(2).await;
        let ping = peer.any().await.unwrap().head;
        assert_eq!((ping.kind, ping.id), (0x03, 2));
        peer.send(0x83, ping.id, b"").await;
        peer
    });
    pong.unwrap();
    let (silence, _) = tokio::join!(client.ping(&context), peer.any());
    assert!(silence.unwrap_err().is_unknown());
}
