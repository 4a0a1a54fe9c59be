//! A tiny protocol, and a partner that does what a test tells it.

use std::io;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use swifttrack_adapters::CallContext;
use swifttrack_adapters::framed::control::{self, Fault, GoAway, Hello, HelloAck};
use swifttrack_adapters::framed::{
    Checked, Client, Codec, Connect, Duplex, Frame, Head, Layout, Malformed, Message, Options,
    Protocol, Reader, Writer,
};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, duplex};
use tokio::sync::{mpsc, oneshot};
use tokio_util::codec::Framed;

/// Says a word, and hears it again.
#[derive(Debug)]
pub(crate) struct Echo;

impl Protocol for Echo {
    type Layout = Checked;
    type Request = Word;
    type Answer = Word;
    const LAYOUT: Checked = LAYOUT;

    fn code_name(code: u16) -> Option<&'static str> {
        (code == 404).then_some("NO_SUCH_WORD")
    }
}

/// The same, as if its frames had no checksum.
#[derive(Debug)]
pub(crate) struct Unchecked;

impl Protocol for Unchecked {
    type Layout = Trusting;
    type Request = Word;
    type Answer = Word;
    const LAYOUT: Trusting = Trusting;
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Trusting;

impl Layout for Trusting {
    const HEADER_BYTES: usize = Checked::HEADER_BYTES;
    const CHECKED: bool = false;
    const PAYLOAD_BYTES_MAX: usize = 950;

    fn read(&self, header: &[u8]) -> Result<(Head, u32), Malformed> {
        LAYOUT.read(header)
    }

    fn verify(&self, _: &[u8], _: &[u8]) -> Result<(), Malformed> {
        Ok(())
    }

    fn write(&self, head: Head, payload: &[u8], header: &mut [u8]) {
        LAYOUT.write(head, payload, header);
    }
}

pub(crate) const LAYOUT: Checked = Checked::new(*b"ECHO");
pub(crate) const WORD: u8 = 0x10;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Word(pub(crate) String);

impl Message for Word {
    fn kind(&self) -> u8 {
        WORD
    }

    fn write(&self, to: &mut Writer) -> Result<(), Malformed> {
        to.str(&self.0)
    }

    fn read(kind: u8, from: &mut Reader<'_>) -> Result<Self, Malformed> {
        if kind != WORD {
            return Err(Malformed::unknown_kind(kind));
        }
        Ok(Self(from.str()?.to_owned()))
    }
}

pub(crate) fn word(text: &str) -> Word {
    Word(text.to_owned())
}

pub(crate) fn within(ms: u64) -> CallContext {
    CallContext::new("key", Duration::from_millis(ms))
}

/// Hands the other end of each new connection to the test.
#[derive(Debug)]
pub(crate) struct Pipe {
    buffer_bytes: usize,
    peers: mpsc::UnboundedSender<DuplexStream>,
}

#[async_trait]
impl Connect for Pipe {
    async fn connect(&self) -> io::Result<Box<dyn Duplex>> {
        let (ours, theirs) = duplex(self.buffer_bytes);
        self.peers
            .send(theirs)
            .map_err(|_| io::ErrorKind::ConnectionRefused)?;
        Ok(Box::new(ours))
    }
}

pub(crate) struct Peers(mpsc::UnboundedReceiver<DuplexStream>);

impl Peers {
    /// The next connection, not greeted yet; `None` once the client is gone.
    pub(crate) async fn accept(&mut self) -> Option<Peer<DuplexStream>> {
        self.0.recv().await.map(Peer::new)
    }

    /// The next connection, greeted.
    pub(crate) async fn greet(&mut self, window: u16) -> Peer<DuplexStream> {
        let mut peer = self.accept().await.unwrap();
        peer.greet(window).await;
        peer
    }

    pub(crate) fn none_waits(&mut self) -> bool {
        self.0.try_recv().is_err()
    }
}

pub(crate) fn pipe(options: Options) -> (Client<Echo>, Peers) {
    pipe_of(64 * 1024, options)
}

pub(crate) fn pipe_of<P: Protocol>(buffer_bytes: usize, options: Options) -> (Client<P>, Peers) {
    let (peers, receiver) = mpsc::unbounded_channel();
    let pipe = Pipe {
        buffer_bytes,
        peers,
    };
    (Client::new(pipe, options), Peers(receiver))
}

/// A client whose connection has been greeted and has answered once.
pub(crate) async fn connected(
    options: Options,
    window: u16,
) -> (Client<Echo>, Peers, Peer<DuplexStream>) {
    let (client, mut peers) = pipe(options);
    let context = within(1000);
    let (pong, peer) = tokio::join!(client.ping(&context), async {
        let mut peer = peers.greet(window).await;
        let ping = peer.any().await.unwrap();
        peer.send(control::PONG, ping.head.id, b"").await;
        peer
    });
    pong.unwrap();
    (client, peers, peer)
}

/// The heartbeat of a [`Peer`].
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(10);

/// The other side, frame by frame.
pub(crate) struct Peer<Io> {
    pub(crate) frames: Framed<Io, Codec<Checked>>,
}

impl<Io: AsyncRead + AsyncWrite + Unpin> Peer<Io> {
    pub(crate) fn new(io: Io) -> Self {
        Self {
            frames: Framed::new(io, Codec::new(LAYOUT)),
        }
    }

    /// Answers a client's greeting.
    pub(crate) async fn greet(&mut self, window: u16) {
        let hello = self.next().await;
        assert_eq!((hello.head.kind, hello.head.id), (control::HELLO, 1));
        Hello::decode(control::HELLO, &hello.payload).unwrap();
        let ack = HelloAck {
            version: 1,
            payload_bytes_max: 1000,
            window,
            heartbeat_ms: u32::try_from(HEARTBEAT.as_millis()).unwrap(),
        };
        self.say(1, &ack).await;
    }

    /// Greets a server.
    pub(crate) async fn hello(&mut self, token: &str) -> Frame {
        let hello = Hello {
            version_min: 1,
            version_max: 1,
            client: "test".to_owned(),
            token: token.to_owned(),
        };
        self.say(1, &hello).await;
        self.next().await
    }

    /// The next frame, whatever it is; `None` at the end.
    pub(crate) async fn any(&mut self) -> Option<Frame> {
        self.frames.next().await?.ok()
    }

    /// The next frame that is not a heartbeat.
    pub(crate) async fn next(&mut self) -> Frame {
        loop {
            let frame = self.any().await.expect("a frame, and not the end");
            match frame.head.kind {
                control::PING => self.send(control::PONG, frame.head.id, b"").await,
                control::PONG => {}
                _ => return frame,
            }
        }
    }

    /// The next frame, which is this word; its id.
    pub(crate) async fn expect(&mut self, text: &str) -> u64 {
        let frame = self.next().await;
        assert_eq!(
            Word::decode(frame.head.kind, &frame.payload).unwrap(),
            word(text)
        );
        frame.head.id
    }

    /// Whether the other side has closed.
    pub(crate) async fn is_closed(&mut self) -> bool {
        while let Some(frame) = self.any().await {
            assert!(
                matches!(frame.head.kind, control::PING | control::PONG),
                "{frame:?}"
            );
        }
        true
    }

    pub(crate) async fn say(&mut self, id: u64, message: &impl Message) {
        let (kind, payload) = message.encode().unwrap();
        self.send(kind, id, &payload).await;
    }

    pub(crate) async fn send(&mut self, kind: u8, id: u64, payload: &[u8]) {
        let head = Head {
            kind,
            id,
            deadline_ms: 0,
        };
        let payload = Bytes::copy_from_slice(payload);
        self.frames.send(Frame { head, payload }).await.unwrap();
    }

    pub(crate) async fn go_away(&mut self, last_accepted_id: u64) {
        let reason = "a test says so".to_owned();
        self.say(
            0,
            &GoAway {
                last_accepted_id,
                reason,
            },
        )
        .await;
    }

    /// The next frame, which is a fault; its id and code.
    pub(crate) async fn fault(&mut self) -> (u64, u16) {
        let frame = self.next().await;
        let fault = Fault::decode(frame.head.kind, &frame.payload).unwrap();
        (frame.head.id, fault.code)
    }
}

/// Lets every task do what it can without time passing.
pub(crate) async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

/// Ends when it is told to, and not when the teller is gone.
pub(crate) async fn told(down: oneshot::Receiver<()>) {
    if down.await.is_err() {
        std::future::pending::<()>().await;
    }
}
