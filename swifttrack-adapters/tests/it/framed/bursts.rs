//! What many calls at once cost.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};

use async_trait::async_trait;
use futures_util::future::join_all;
use swifttrack_adapters::framed::control;
use swifttrack_adapters::framed::{
    Client, Connect, Duplex, Handler, Incoming, Options, Reply, ServerOptions, serve_connection,
};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::sync::Barrier;

use super::support::{Echo, Word, connected, within, word};

const CALLS: usize = 32;

/// Counts the writes of one end of a pipe.
struct Counted {
    io: DuplexStream,
    writes: Arc<AtomicUsize>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writes.fetch_add(1, Relaxed);
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Connects to a server of its own, and counts the writes of both ends.
#[derive(Clone, Debug, Default)]
struct Served {
    client: Arc<AtomicUsize>,
    server: Arc<AtomicUsize>,
}

impl Served {
    /// The writes of the client and of the server since this was asked last.
    fn writes(&self) -> (usize, usize) {
        (self.client.swap(0, Relaxed), self.server.swap(0, Relaxed))
    }
}

#[async_trait]
impl Connect for Served {
    async fn connect(&self) -> io::Result<Box<dyn Duplex>> {
        let (ours, theirs) = duplex(64 * 1024);
        let theirs = Counted {
            io: theirs,
            writes: Arc::clone(&self.server),
        };
        let options = ServerOptions::new().window(u16::try_from(CALLS).unwrap());
        tokio::spawn(serve_connection::<Echo, _, _>(
            theirs,
            Arc::new(Together(Barrier::new(CALLS))),
            options,
            std::future::pending(),
        ));
        Ok(Box::new(Counted {
            io: ours,
            writes: Arc::clone(&self.client),
        }))
    }
}

/// Answers no call before all of a burst are there.
struct Together(Barrier);

#[async_trait]
impl Handler<Echo> for Together {
    async fn handle(&self, request: Word, _: Incoming) -> Reply {
        if request == word("together") {
            self.0.wait().await;
        }
        Reply::answer(&request).unwrap()
    }
}

// Not on one thread alone: there a task that was woken waits its turn anyway.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_burst_of_calls_is_written_together_both_ways() {
    const BURSTS: usize = 10;
    let served = Served::default();
    let client = Client::<Echo>::new(served.clone(), Options::new());
    client.ping(&within(60_000)).await.unwrap();
    served.writes();
    let callers = (0..CALLS).map(|_| {
        let client = client.clone();
        tokio::spawn(async move {
            for _ in 0..BURSTS {
                let call = client.call(&word("together"), &within(60_000)).await;
                assert_eq!(call.unwrap(), word("together"));
            }
        })
    });
    for done in join_all(callers).await {
        done.unwrap();
    }
    let (client, server) = served.writes();
    assert!(
        client <= 5 * BURSTS && server <= 5 * BURSTS,
        "{client} and {server} writes for {BURSTS} bursts of {CALLS}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_lone_call_is_written_at_once() {
    let served = Served::default();
    let client = Client::<Echo>::new(served.clone(), Options::new());
    client.ping(&within(1000)).await.unwrap();
    served.writes();
    for _ in 0..10 {
        client.call(&word("now"), &within(1000)).await.unwrap();
    }
    assert_eq!(served.writes(), (10, 10));
}

/// A peer that talks without a pause holds up no call.
#[tokio::test(start_paused = true)]
async fn a_flood_of_frames_holds_up_no_burst() {
    let (client, _peers, mut peer) = connected(Options::new(), 8).await;
    let callers = (0..8).map(|_| {
        let client = client.clone();
        tokio::spawn(async move { client.call(&word("hear me"), &within(1000)).await })
    });
    let callers: Vec<_> = callers.collect();
    let mut ids = Vec::new();
    while ids.len() < 8 {
        for _ in 0..1000 {
            peer.send(control::PONG, 1_000_000, b"").await;
        }
        ids.push(peer.expect("hear me").await);
    }
    for id in ids {
        peer.say(id, &word("heard")).await;
    }
    for caller in join_all(callers).await {
        assert_eq!(caller.unwrap().unwrap(), word("heard"));
    }
}
