//! What calls are told when their connection ends.

use std::error::Error as _;

use swifttrack_adapters::Error;
use swifttrack_adapters::framed::{Options, Protocol, Snapshot};
use tokio::io::AsyncReadExt;
use tokio::time::Instant;

use super::support::{
    Echo, HEARTBEAT, Unchecked, Word, connected, pipe, pipe_of, settle, within, word,
};

#[tokio::test(start_paused = true)]
async fn sent_and_not_answered_is_unknown() {
    let (client, mut peers) = pipe(Options::new());
    let (context, ask) = (within(1000), word("ask"));
    let (result, ()) = tokio::join!(client.call(&ask, &context), async {
        let mut peer = peers.greet(4).await;
        peer.expect("ask").await;
    });
    let error = result.unwrap_err();
    assert!(error.is_unknown() && error.counts_against_partner());
    assert_eq!(
        error.source().unwrap().to_string(),
        "the peer closed the connection"
    );
}

/// A call whose frame was cut after 100 bytes by the end of the connection.
async fn cut<P: Protocol<Request = Word, Answer = Word>>() -> (Error, Snapshot) {
    // Room for the greeting, but not for the request.
    let (client, mut peers) = pipe_of::<P>(64, Options::new());
    let (context, ask) = (within(1000), word(&"x".repeat(900)));
    let (result, ()) = tokio::join!(client.call(&ask, &context), async {
        let peer = peers.greet(4).await;
        settle().await;
        let mut io = peer.frames.into_inner();
        let mut some = [0; 100];
        io.read_exact(&mut some).await.unwrap();
        settle().await;
    });
    (result.unwrap_err(), client.snapshot())
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_was_not_sent_whole_is_not_applied() {
    let (error, seen) = cut::<Echo>().await;
    assert!(error.is_not_applied() && !error.is_local(), "{error:?}");
    assert_eq!(seen.started, 1);
}

#[tokio::test(start_paused = true)]
async fn without_a_checksum_the_first_byte_decides() {
    let (error, _) = cut::<Unchecked>().await;
    assert!(error.is_unknown(), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_header_that_cannot_say_a_length_is_not_made_to() {
    let (client, mut peers) = pipe_of::<Unchecked>(64, Options::new());
    let (context, ask) = (within(1000), word(&"x".repeat(949)));
    let (result, _peer) = tokio::join!(client.call(&ask, &context), peers.greet(4));
    assert!(result.unwrap_err().is_rejected());
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_may_still_be_sent_is_unknown_at_its_deadline() {
    let (client, mut peers) = pipe_of::<Echo>(64, Options::new());
    let (context, ask) = (within(1000), word(&"x".repeat(900)));
    let (result, _peer) = tokio::join!(client.call(&ask, &context), peers.greet(4));
    assert!(result.unwrap_err().is_unknown());
}

#[tokio::test(start_paused = true)]
async fn going_away_names_what_was_not_applied() {
    let (client, mut peers, mut old) = connected(Options::new(), 4).await;
    let call = |text: &'static str| {
        let client = client.clone();
        tokio::spawn(async move { client.call(&word(text), &within(5000)).await })
    };
    let (accepted, refused) = (call("accepted"), call("refused"));
    let id = old.expect("accepted").await;
    let above = old.expect("refused").await;
    old.go_away(id).await;
    let error = refused.await.unwrap().unwrap_err();
    assert!(error.is_not_applied() && !error.is_local());

    let moved = call("moved");
    let mut new = peers.greet(4).await;
    let moved_id = new.expect("moved").await;
    new.say(moved_id, &word("new")).await;
    old.say(above, &word("a lie")).await;
    old.say(id, &word("old")).await;
    assert_eq!(moved.await.unwrap().unwrap(), word("new"));
    assert_eq!(accepted.await.unwrap().unwrap(), word("old"));
    assert!(old.is_closed().await);
    assert_eq!(client.snapshot().strays, 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_the_window_moves_on_when_the_partner_goes_away() {
    let (client, mut peers, mut old) = connected(Options::new(), 1).await;
    let call = |text: &'static str| {
        let client = client.clone();
        tokio::spawn(async move { client.call(&word(text), &within(5000)).await })
    };
    let (holds, waits) = (call("holds"), call("waits"));
    let id = old.expect("holds").await;
    old.go_away(id).await;
    let mut new = peers.greet(1).await;
    let moved = new.expect("waits").await;
    new.say(moved, &word("new")).await;
    old.say(id, &word("old")).await;
    assert_eq!(waits.await.unwrap().unwrap(), word("new"));
    assert_eq!(holds.await.unwrap().unwrap(), word("old"));
}

#[tokio::test(start_paused = true)]
async fn a_drain_has_an_end() {
    let (client, mut peers) = pipe(Options::new().drain_max(HEARTBEAT));
    let held = tokio::spawn({
        let client = client.clone();
        async move { client.call(&word("held"), &within(3_600_000)).await }
    });
    let mut peer = peers.greet(1).await;
    let id = peer.expect("held").await;
    peer.go_away(id).await;
    let closed = tokio::spawn(async move { peer.is_closed().await });
    assert!(held.await.unwrap().unwrap_err().is_unknown());
    assert!(closed.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_kept_by_heartbeats() {
    let (client, mut peers) = pipe(Options::new());
    let (context, ask) = (within(1000), word("ask"));
    let script = async {
        let mut peer = peers.greet(4).await;
        let id = peer.expect("ask").await;
        peer.say(id, &word("a")).await;
        peer
    };
    let (_, mut peer) = tokio::join!(client.call(&ask, &context), script);
    let mut last = 0;
    for _ in 0..20 {
        let ping = peer.any().await.unwrap().head;
        assert_eq!(ping.kind, 0x03);
        assert!(ping.id > last, "a ping takes an id of its own");
        last = ping.id;
        peer.send(0x83, ping.id, b"").await;
    }
    assert_eq!(client.snapshot().ended, 0);
}

#[tokio::test(start_paused = true)]
async fn three_heartbeats_of_silence_end_it() {
    let (client, mut peers) = pipe(Options::new());
    let start = Instant::now();
    let (context, ask) = (within(3_600_000), word("ask"));
    let (result, _peer) = tokio::join!(client.call(&ask, &context), async {
        let mut peer = peers.greet(4).await;
        peer.expect("ask").await;
        peer
    });
    let error = result.unwrap_err();
    assert!(error.is_unknown());
    assert_eq!(
        error.source().unwrap().to_string(),
        "the peer was silent for three heartbeats"
    );
    assert_eq!(start.elapsed().as_secs(), 3 * HEARTBEAT.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_ping_of_the_partner_is_answered_with_its_id() {
    let (client, mut peers) = pipe(Options::new());
    let context = within(1000);
    let (_, ()) = tokio::join!(client.ping(&context), async {
        let mut peer = peers.greet(4).await;
        peer.any().await.unwrap();
        peer.send(0x03, 0, b"").await;
        let pong = peer.any().await.unwrap();
        assert_eq!((pong.head.kind, pong.head.id), (0x83, 0));
    });
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_client_ends_the_connection() {
    let (client, mut peers) = pipe(Options::new());
    let call = tokio::spawn(async move { client.call(&word("ask"), &within(1000)).await });
    let mut peer = peers.greet(4).await;
    let id = peer.expect("ask").await;
    peer.say(id, &word("answer")).await;
    call.await.unwrap().unwrap();
    assert!(peer.is_closed().await);
}
