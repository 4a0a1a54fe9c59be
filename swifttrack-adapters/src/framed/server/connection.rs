//! One client of a server.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::select;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::inbox::Inbox;
use super::reply::{Manner, Reply};
use super::{Handler, Incoming, ServerOptions};
use crate::framed::control::{self, Fault, GoAway, Hello, HelloAck, millis_rounded_up};
use crate::framed::ended::Ended;
use crate::framed::transport::{Event, Transport};
use crate::framed::{Codec, Frame, Head, Message, Protocol};

/// Everything about one connection, in one task.
pub(super) struct Connection<P: Protocol, H, Io> {
    transport: Transport<Io, P::Layout>,
    handler: Arc<H>,
    options: ServerOptions,
    greeted: bool,
    leaving: bool,
    /// A request that came while the window was full. Nothing is read until it is started.
    parked: Option<(Head, P::Request, Instant)>,
    inbox: Inbox,
    tasks: JoinSet<()>,
    replies: mpsc::Receiver<(u64, Reply)>,
    answerer: mpsc::Sender<(u64, Reply)>,
}

/// How a connection ended, and whether it must look like a crash.
pub(super) struct Over<Io> {
    pub(super) io: Io,
    pub(super) reset: bool,
}

enum Verdict {
    GoOn,
    /// Once all is written.
    Close,
    Reset,
}

impl<P, H, Io> Connection<P, H, Io>
where
    P: Protocol,
    H: Handler<P>,
    Io: AsyncRead + AsyncWrite + Unpin,
{
    pub(super) fn new(io: Io, handler: Arc<H>, options: ServerOptions) -> Self {
        let codec = Codec::new(P::LAYOUT)
            .payload_bytes_max(options.payload_bytes_max.try_into().unwrap_or(usize::MAX));
        // Each request in flight answers once.
        let (answerer, replies) = mpsc::channel(options.window.into());
        Self {
            transport: Transport::new(io, codec, options.heartbeat),
            handler,
            options,
            greeted: false,
            leaving: false,
            parked: None,
            inbox: Inbox::new(options.window.into()),
            tasks: JoinSet::new(),
            replies,
            answerer,
        }
    }

    /// Serves until the connection ends. When it does, the handlers that still run are dropped.
    pub(super) async fn run(mut self, mut shutdown: watch::Receiver<bool>) -> Over<Io> {
        let reset = match self.until_the_end(&mut shutdown).await {
            Ok(Verdict::Reset) => true,
            Ok(_) => {
                self.transport.shutdown().await;
                false
            }
            Err(ended) => {
                tracing::debug!(reason = %ended, "connection ended");
                self.transport.shutdown().await;
                false
            }
        };
        Over {
            io: self.transport.into_io(),
            reset,
        }
    }

    async fn until_the_end(
        &mut self,
        shutdown: &mut watch::Receiver<bool>,
    ) -> Result<Verdict, Ended> {
        let mut limit = Instant::now() + self.options.hello_timeout;
        let mut closing = false;
        loop {
            if closing && self.transport.is_flushed() {
                return Ok(Verdict::Close);
            }
            if self.leaving && self.inbox.is_empty() && self.transport.is_flushed() {
                return Ok(Verdict::Close);
            }
            let reading = self.parked.is_none() && !closing;
            let limited = !self.greeted || self.leaving || closing;
            let verdict = select! {
                biased;
                () = sleep_until(limit), if limited => return Ok(Verdict::Close),
                () = told(shutdown), if !self.leaving && !closing => {
                    limit = Instant::now() + self.options.drain_max;
                    self.leave()?
                }
                Some((id, reply)) = self.replies.recv(), if !closing => self.reply(id, reply)?,
                event = self.transport.next(reading) => self.on(event?).await?,
            };
            match verdict {
                Verdict::GoOn => {}
                Verdict::Close => {
                    closing = true;
                    limit = Instant::now() + self.options.heartbeat;
                }
                Verdict::Reset => return Ok(Verdict::Reset),
            }
        }
    }

    async fn on(&mut self, event: Event) -> Result<Verdict, Ended> {
        match event {
            Event::Frame(frame) => self.take(frame).await,
            Event::Progress => Ok(Verdict::GoOn),
            Event::Idle => {
                self.say(control::PING, 0, &[])?;
                Ok(Verdict::GoOn)
            }
        }
    }

    async fn take(&mut self, frame: Frame) -> Result<Verdict, Ended> {
        let Head { kind, id, .. } = frame.head;
        match kind {
            control::PONG => return Ok(Verdict::GoOn),
            // No answer under an id that waits for another one: it would be taken for that.
            _ if self.inbox.is_in_flight(id) => {
                return Err(crate::framed::Malformed::value("id").into());
            }
            control::HELLO if !self.greeted => return self.greet(frame).await,
            _ if !self.greeted => return self.refuse(id, "HELLO comes first"),
            control::HELLO => return self.refuse(id, "a second HELLO"),
            _ if !self.inbox.rises(id) => return self.refuse(id, "ids must rise"),
            control::PING => {
                self.say(control::PONG, id, &[])?;
                return Ok(Verdict::GoOn);
            }
            // Not accepted, and the client was told so.
            _ if self.leaving => return Ok(Verdict::GoOn),
            _ => {}
        }
        let request = match P::Request::decode(kind, &frame.payload) {
            Ok(request) => request,
            Err(malformed) => return self.refuse(id, &malformed.to_string()),
        };
        let came = Instant::now();
        if self.inbox.is_full() {
            self.parked = Some((frame.head, request, came));
        } else {
            self.start(frame.head, request, came);
        }
        Ok(Verdict::GoOn)
    }

    async fn greet(&mut self, frame: Frame) -> Result<Verdict, Ended> {
        let id = frame.head.id;
        let hello = match Hello::decode(control::HELLO, &frame.payload) {
            Ok(hello) => hello,
            Err(malformed) => return self.refuse(id, &malformed.to_string()),
        };
        if !self.inbox.rises(id) {
            return self.refuse(id, "ids must rise");
        }
        let (ours_min, ours_max) = (*P::VERSIONS.start(), *P::VERSIONS.end());
        let version = ours_max.min(hello.version_max);
        if version < ours_min.max(hello.version_min) {
            let fault = Fault::version(format!("versions {ours_min} to {ours_max} are spoken"));
            self.fault(id, fault)?;
            return Ok(Verdict::Close);
        }
        if let Err(fault) = self.handler.hello(&hello).await {
            self.fault(id, fault)?;
            return Ok(Verdict::Close);
        }
        let ack = HelloAck {
            version,
            payload_bytes_max: self.options.payload_bytes_max,
            window: self.options.window,
            heartbeat_ms: millis_rounded_up(self.options.heartbeat),
        };
        let (kind, payload) = ack.encode()?;
        self.say(kind, id, &payload)?;
        self.greeted = true;
        Ok(Verdict::GoOn)
    }

    fn start(&mut self, head: Head, request: P::Request, came: Instant) {
        self.inbox.start(head.id);
        // Those that are done, so that the set holds no more than the window.
        while self.tasks.try_join_next().is_some() {}
        let deadline = match head.deadline_ms {
            0 => None,
            ms => Some(came + std::time::Duration::from_millis(ms.into())),
        };
        let answer = Answer {
            id: head.id,
            to: Some(self.answerer.clone()),
        };
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            answer.give(Reply::fault(Fault::busy("the deadline has passed")));
            return;
        }
        let handler = Arc::clone(&self.handler);
        let incoming = Incoming {
            id: head.id,
            deadline,
        };
        self.tasks.spawn(async move {
            let reply = handler.handle(request, incoming).await;
            answer.give(reply);
        });
    }

    fn reply(&mut self, id: u64, reply: Reply) -> Result<Verdict, Ended> {
        self.inbox.answer(id);
        if !self.inbox.is_empty() {
            // Another handler may be about to answer too.
            self.transport.gather();
        }
        let verdict = match reply.manner {
            Manner::Whole => {
                self.say(reply.kind, id, &reply.payload)?;
                Verdict::GoOn
            }
            Manner::Twice => {
                self.say(reply.kind, id, &reply.payload)?;
                self.say(reply.kind, id, &reply.payload)?;
                Verdict::GoOn
            }
            Manner::Half => {
                self.transport.queue_raw(&half::<P>(id, &reply)?);
                Verdict::Close
            }
            Manner::Garbage => {
                self.transport.queue_raw(&reply.payload);
                Verdict::Close
            }
            Manner::Reset => Verdict::Reset,
        };
        if let Some((head, request, came)) = self.parked.take() {
            self.start(head, request, came);
        }
        Ok(verdict)
    }

    /// Takes nothing more, says up to where it took, and lets what runs end.
    fn leave(&mut self) -> Result<Verdict, Ended> {
        self.parked = None;
        self.leaving = true;
        if !self.greeted {
            return Ok(Verdict::Close);
        }
        let goaway = GoAway {
            last_accepted_id: self.inbox.last_started(),
            reason: "shutting down".to_owned(),
        };
        let (kind, payload) = goaway.encode()?;
        self.say(kind, 0, &payload)?;
        Ok(Verdict::GoOn)
    }

    fn refuse(&mut self, id: u64, why: &str) -> Result<Verdict, Ended> {
        self.fault(id, Fault::malformed(why))?;
        Ok(Verdict::GoOn)
    }

    fn fault(&mut self, id: u64, fault: Fault) -> Result<(), Ended> {
        let reply = Reply::fault(fault);
        self.say(reply.kind, id, &reply.payload)
    }

    fn say(&mut self, kind: u8, id: u64, payload: &[u8]) -> Result<(), Ended> {
        let head = Head {
            kind,
            id,
            deadline_ms: 0,
        };
        self.transport.queue(head, payload)?;
        Ok(())
    }
}

/// Ends once the server goes away.
async fn told(shutdown: &mut watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|down| *down).await;
}

fn half<P: Protocol>(id: u64, reply: &Reply) -> Result<Bytes, Ended> {
    let head = Head {
        kind: reply.kind,
        id,
        deadline_ms: 0,
    };
    let mut whole = BytesMut::new();
    Codec::new(P::LAYOUT).write(head, &reply.payload, &mut whole)?;
    whole.truncate(whole.len() / 2);
    Ok(whole.freeze())
}

/// Owes one answer. A handler that panics gives one too: what it did is unknown.
struct Answer {
    id: u64,
    to: Option<mpsc::Sender<(u64, Reply)>>,
}

impl Answer {
    fn give(mut self, reply: Reply) {
        if let Some(to) = self.to.take() {
            // There is room for as many as the window lets in.
            let _ = to.try_send((self.id, reply));
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(to) = self.to.take() {
            let fault = Fault::internal("the request broke the server");
            let _ = to.try_send((self.id, Reply::fault(fault)));
        }
    }
}
