//! What a server says to clients that keep the rules, and to those that do not.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::BytesMut;
use swifttrack_adapters::framed::control::{self, Fault, GoAway, Hello, HelloAck};
use swifttrack_adapters::framed::{
    Codec, Handler, Head, Incoming, Message, Reply, ServerOptions, serve_connection,
};
use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::support::{Echo, LAYOUT, Peer, WORD, Word, settle, told, word};

/// Does as the word says.
pub(crate) struct Obeys;

#[async_trait]
impl Handler<Echo> for Obeys {
    async fn hello(&self, hello: &Hello) -> Result<(), Fault> {
        match hello.token.as_str() {
            "wrong" => Err(Fault::unauthorized("not you")),
            _ => Ok(()),
        }
    }

    async fn handle(&self, request: Word, _: Incoming) -> Reply {
        let answer = Reply::answer(&request).unwrap();
        match request.0.as_str() {
            "panic" => panic!("as told"),
            "twice" => answer.twice(),
            "half" => answer.half(),
            "garbage" => Reply::garbage(&b"nonsense"[..]),
            "reset" => Reply::reset(),
            "never" => std::future::pending().await,
            wait => {
                if let Some(ms) = wait.strip_prefix("wait ") {
                    sleep(Duration::from_millis(ms.parse().unwrap())).await;
                }
                answer
            }
        }
    }
}

struct Served {
    peer: Peer<DuplexStream>,
    shutdown: Option<oneshot::Sender<()>>,
    serving: JoinHandle<()>,
}

fn options() -> ServerOptions {
    ServerOptions::new()
        .window(2)
        .heartbeat(Duration::from_secs(10))
        .payload_bytes_max(1000)
}

fn raw() -> Served {
    let (ours, theirs) = duplex(64 * 1024);
    let (shutdown, down) = oneshot::channel();
    let serving = tokio::spawn(async move {
        let down = told(down);
        serve_connection::<Echo, _, _>(theirs, Arc::new(Obeys), options(), down).await;
    });
    Served {
        peer: Peer::new(ours),
        shutdown: Some(shutdown),
        serving,
    }
}

async fn greeted() -> Served {
    let mut served = raw();
    let ack = served.peer.hello("right").await;
    let ack = HelloAck::decode(ack.head.kind, &ack.payload).unwrap();
    assert_eq!(
        (
            ack.version,
            ack.window,
            ack.heartbeat_ms,
            ack.payload_bytes_max
        ),
        (1, 2, 10_000, 1000)
    );
    served
}

#[tokio::test(start_paused = true)]
async fn answers_go_out_as_they_are_ready() {
    let Served { mut peer, .. } = greeted().await;
    peer.say(2, &word("wait 100")).await;
    peer.say(3, &word("at once")).await;
    assert_eq!(peer.expect("at once").await, 3);
    assert_eq!(peer.expect("wait 100").await, 2);
}

#[tokio::test(start_paused = true)]
async fn beyond_the_window_nothing_is_read_and_nothing_is_refused() {
    let Served { mut peer, .. } = greeted().await;
    let start = Instant::now();
    for id in 2..8 {
        peer.say(id, &word("wait 1000")).await;
    }
    for id in 2..8 {
        assert_eq!(peer.expect("wait 1000").await, id);
    }
    assert_eq!(start.elapsed().as_secs(), 3, "two at a time");
}

#[tokio::test(start_paused = true)]
async fn while_the_window_is_full_the_silence_of_the_client_does_not_count() {
    let Served { mut peer, .. } = greeted().await;
    for id in 2..5 {
        peer.say(id, &word("wait 100000")).await;
    }
    for id in 2..5 {
        assert_eq!(peer.expect("wait 100000").await, id);
    }
}

#[tokio::test(start_paused = true)]
async fn what_breaks_a_message_is_answered_with_400_and_the_id() {
    let Served { mut peer, .. } = greeted().await;
    peer.send(0x66, 2, b"").await;
    peer.send(WORD, 3, b"\0\x01a?").await;
    peer.send(WORD, 4, b"\0\x01\xff").await;
    peer.send(control::HELLO, 5, b"").await;
    peer.send(WORD, 0, b"\0\x01a").await;
    for id in [2, 3, 4, 5, 0] {
        assert_eq!(peer.fault().await, (id, 400));
    }
    peer.say(6, &word("still here")).await;
    assert_eq!(peer.expect("still here").await, 6);
    peer.say(6, &word("again")).await;
    assert_eq!(peer.fault().await, (6, 400));
    peer.say(7, &word("never")).await;
    peer.say(7, &word("which")).await;
    assert!(peer.is_closed().await, "no answer could be told apart");
}

#[tokio::test(start_paused = true)]
async fn what_breaks_a_frame_closes_without_an_answer() {
    let mut good = BytesMut::new();
    let head = Head {
        kind: WORD,
        id: 2,
        deadline_ms: 0,
    };
    Codec::new(LAYOUT)
        .write(head, b"\0\x01a", &mut good)
        .unwrap();
    for (field, at) in [
        ("magic", 0),
        ("version", 4),
        ("flags", 7),
        ("length", 20),
        ("crc", 27),
    ] {
        let Served {
            mut peer, serving, ..
        } = greeted().await;
        let mut bad = good.clone();
        bad[at] ^= 1;
        peer.frames.get_mut().write_all(&bad).await.unwrap();
        assert!(peer.is_closed().await, "{field}");
        drop(peer);
        serving.await.unwrap();
    }
}

/// The answer waits for others that may be about to follow, and finds the garbage meanwhile.
#[tokio::test(start_paused = true)]
async fn what_was_answered_before_a_frame_that_breaks_is_written() {
    let Served { mut peer, .. } = greeted().await;
    let mut bytes = BytesMut::new();
    // Two fill the window, so that what comes behind the third is not looked at before an answer.
    for (id, text) in [(2, "wait 10"), (3, "never"), (4, "never")] {
        let (kind, payload) = word(text).encode().unwrap();
        let head = Head {
            kind,
            id,
            deadline_ms: 0,
        };
        let codec = Codec::new(LAYOUT);
        codec.write(head, &payload, &mut bytes).unwrap();
    }
    bytes.extend_from_slice(&[0xff; 64]);
    peer.frames.get_mut().write_all(&bytes).await.unwrap();
    assert_eq!(peer.expect("wait 10").await, 2);
    assert!(peer.is_closed().await);
}

#[tokio::test(start_paused = true)]
async fn hello_comes_first_and_soon() {
    let start = Instant::now();
    let mut served = raw();
    served.peer.say(1, &word("eager")).await;
    assert_eq!(served.peer.fault().await, (1, 400));
    assert!(served.peer.is_closed().await);
    assert_eq!(start.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn no_common_version_and_a_wrong_token_close_with_their_codes() {
    let mut served = raw();
    let hello = Hello {
        version_min: 2,
        version_max: 9,
        client: String::new(),
        token: String::new(),
    };
    served.peer.say(1, &hello).await;
    assert_eq!(served.peer.fault().await, (1, 505));
    assert!(served.peer.is_closed().await);

    let mut served = raw();
    let refused = served.peer.hello("wrong").await;
    let fault = Fault::decode(refused.head.kind, &refused.payload).unwrap();
    assert_eq!(fault.code, 401);
    assert!(served.peer.is_closed().await);
}

#[tokio::test(start_paused = true)]
async fn a_ping_is_answered_and_a_silent_client_is_left() {
    let Served { mut peer, .. } = greeted().await;
    let start = Instant::now();
    peer.send(control::PING, 2, b"").await;
    let pong = peer.any().await.unwrap().head;
    assert_eq!((pong.kind, pong.id), (control::PONG, 2));
    let mut pings = 0;
    while let Some(frame) = peer.any().await {
        assert_eq!((frame.head.kind, frame.head.id), (control::PING, 0));
        pings += 1;
    }
    assert_eq!((pings, start.elapsed().as_secs()), (2, 30));
}

#[tokio::test(start_paused = true)]
async fn a_frame_must_be_complete_within_a_heartbeat() {
    let Served { mut peer, .. } = greeted().await;
    let start = Instant::now();
    peer.frames.get_mut().write_all(b"ECHO").await.unwrap();
    assert!(peer.is_closed().await);
    assert_eq!(start.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_has_passed_before_work_began_is_busy() {
    let Served { mut peer, .. } = greeted().await;
    for id in 2..4 {
        peer.say(id, &word("wait 1000")).await;
    }
    let head = Head {
        kind: WORD,
        id: 4,
        deadline_ms: 500,
    };
    let (_, payload) = word("late").encode().unwrap();
    let mut bytes = BytesMut::new();
    Codec::new(LAYOUT)
        .write(head, &payload, &mut bytes)
        .unwrap();
    peer.frames.get_mut().write_all(&bytes).await.unwrap();
    peer.expect("wait 1000").await;
    let (next, code) = loop {
        let frame = peer.next().await;
        if let Ok(fault) = Fault::decode(frame.head.kind, &frame.payload) {
            break (frame.head.id, fault.code);
        }
    };
    assert_eq!((next, code), (4, 429));
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_panics_leaves_its_effect_unknown() {
    let Served { mut peer, .. } = greeted().await;
    peer.say(2, &word("panic")).await;
    assert_eq!(peer.fault().await, (2, 500));
}

#[tokio::test(start_paused = true)]
async fn going_away_names_the_last_that_was_started_and_lets_it_end() {
    let mut served = greeted().await;
    let peer = &mut served.peer;
    for id in 2..5 {
        peer.say(id, &word("wait 1000")).await;
    }
    settle().await;
    served.shutdown.take().unwrap().send(()).unwrap();
    let frame = peer.next().await;
    let goaway = GoAway::decode(frame.head.kind, &frame.payload).unwrap();
    assert_eq!((frame.head.id, goaway.last_accepted_id), (0, 3));
    peer.say(5, &word("too late")).await;
    assert_eq!(peer.expect("wait 1000").await, 2);
    assert_eq!(peer.expect("wait 1000").await, 3);
    assert!(peer.is_closed().await);
    served.serving.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_answer_can_go_wrong_on_purpose() {
    for (how, bytes) in [("half", 17), ("garbage", 8), ("reset", 0)] {
        let Served { mut peer, .. } = greeted().await;
        peer.say(2, &word(how)).await;
        let mut rest = Vec::new();
        let mut io = peer.frames.into_inner();
        tokio::io::AsyncReadExt::read_to_end(&mut io, &mut rest)
            .await
            .unwrap();
        assert_eq!(rest.len(), bytes, "{how}");
    }
    let Served { mut peer, .. } = greeted().await;
    peer.say(2, &word("twice")).await;
    assert_eq!(peer.expect("twice").await, 2);
    assert_eq!(peer.expect("twice").await, 2);
}
