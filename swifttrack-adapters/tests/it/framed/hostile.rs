//! Partners that break the rules, or our patience.

use std::time::Duration;

use bytes::BytesMut;
use swifttrack_adapters::framed::{Codec, Head, Options};
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep};

use super::support::{HEARTBEAT, LAYOUT, WORD, connected, pipe, settle, within, word};

/// The bytes of an answer.
fn answer(id: u64, text: &str) -> BytesMut {
    let mut bytes = BytesMut::new();
    let head = Head {
        kind: WORD,
        id,
        deadline_ms: 0,
    };
    let payload = [
        &u16::try_from(text.len()).unwrap().to_be_bytes()[..],
        text.as_bytes(),
    ]
    .concat();
    Codec::new(LAYOUT)
        .write(head, &payload, &mut bytes)
        .unwrap();
    bytes
}

/// A call whose partner sends these bytes ends as unknown, for this reason, and the next call works.
async fn ends_with(bytes: impl Fn(u64) -> Vec<u8>, reason: &str) {
    let (client, mut peers) = pipe(Options::new());
    let (context, ask) = (within(3_600_000), word("ask"));
    let script = async {
        let mut peer = peers.greet(4).await;
        let id = peer.expect("ask").await;
        let mut io = peer.frames.into_inner();
        io.write_all(&bytes(id)).await.unwrap();
        io
    };
    let (result, io) = tokio::join!(client.call(&ask, &context), script);
    let error = result.unwrap_err();
    assert!(error.is_unknown(), "{error:?}");
    assert!(format!("{error:?}").contains(reason), "{error:?}");
    drop(io);
    sleep(HEARTBEAT).await;
    let (again, ()) = tokio::join!(client.call(&ask, &context), async {
        let mut peer = peers.greet(4).await;
        let id = peer.expect("ask").await;
        peer.say(id, &word("well")).await;
        settle().await;
    });
    assert_eq!(again.unwrap(), word("well"));
}

#[tokio::test(start_paused = true)]
async fn a_wrong_checksum_ends_the_connection() {
    let flip = |id| {
        let mut bytes = answer(id, "well").to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        bytes
    };
    ends_with(flip, "Checksum").await;
}

#[tokio::test(start_paused = true)]
async fn a_frame_without_end_ends_the_connection_at_its_header() {
    let endless = |id| {
        let mut bytes = answer(id, "well").to_vec();
        bytes[20..24].copy_from_slice(&u32::MAX.to_be_bytes());
        bytes
    };
    ends_with(endless, "Length").await;
}

#[tokio::test(start_paused = true)]
async fn half_an_answer_ends_the_connection_after_a_heartbeat() {
    let half = |id| answer(id, "well").split_to(30).to_vec();
    ends_with(half, "SlowFrame").await;
}

#[tokio::test(start_paused = true)]
async fn a_byte_a_second_ends_the_connection_after_a_heartbeat_and_harms_no_other_call() {
    let (client, _peers, mut peer) = connected(Options::new(), 4).await;
    let start = Instant::now();
    let call = |text: &'static str| {
        let client = client.clone();
        tokio::spawn(async move { client.call(&word(text), &within(3_600_000)).await })
    };
    let (slow, quick) = (call("slow"), call("quick"));
    let id = peer.expect("slow").await;
    let other = peer.expect("quick").await;
    peer.say(other, &word("at once")).await;
    assert_eq!(quick.await.unwrap().unwrap(), word("at once"));
    let mut io = peer.frames.into_inner();
    for byte in answer(id, "never") {
        if io.write_all(&[byte]).await.is_err() {
            break;
        }
        sleep(Duration::from_secs(1)).await;
    }
    assert!(slow.await.unwrap().unwrap_err().is_unknown());
    assert!(start.elapsed() <= HEARTBEAT + Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn answers_to_nothing_in_flight_are_counted_and_discarded() {
    let (client, mut peers) = pipe(Options::new());
    let (context, ask) = (within(1000), word("ask"));
    let (answer, ()) = tokio::join!(client.call(&ask, &context), async {
        let mut peer = peers.greet(4).await;
        let id = peer.expect("ask").await;
        for stray in [0, 1, id + 1, u64::MAX] {
            peer.say(stray, &word("not yours")).await;
        }
        peer.say(id, &word("yours")).await;
        peer.say(id, &word("twice")).await;
        settle().await;
    });
    assert_eq!(answer.unwrap(), word("yours"));
    settle().await;
    assert_eq!(client.snapshot().strays, 5);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_pings_that_reads_no_pong_is_read_no_further() {
    let (client, mut peers) = pipe(Options::new());
    let (context, ask) = (within(3_600_000), word("ask"));
    let script = async {
        let mut peer = peers.greet(4).await;
        peer.expect("ask").await;
        let mut io = peer.frames.into_inner();
        let mut ping = BytesMut::new();
        let head = Head {
            kind: 3,
            id: 0,
            deadline_ms: 0,
        };
        Codec::new(LAYOUT).write(head, b"", &mut ping).unwrap();
        let mut sent = 0;
        while io.write_all(&ping).await.is_ok() {
            sent += ping.len();
        }
        sent
    };
    let (result, sent) = tokio::join!(client.call(&ask, &context), script);
    assert!(result.unwrap_err().is_unknown());
    // Two pipes, the input and the output of the client.
    assert!(sent < 1024 * 1024, "{sent} bytes were taken");
}

#[tokio::test(start_paused = true)]
async fn an_answer_before_the_request_was_sent_is_nobodys() {
    // The frame does not fit into the pipe, so that it cannot have been read whole.
    let (client, mut peers) = super::support::pipe_of::<super::support::Echo>(64, Options::new());
    let (context, ask) = (within(1000), word(&"x".repeat(900)));
    let (result, _io) = tokio::join!(client.call(&ask, &context), async {
        let peer = peers.greet(4).await;
        settle().await;
        let mut io = peer.frames.into_inner();
        io.write_all(&answer(2, "a guess")).await.unwrap();
        io
    });
    assert!(result.unwrap_err().is_unknown());
    assert_eq!(client.snapshot().strays, 1);
}
