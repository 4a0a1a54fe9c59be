//! The connection that calls take now, and the way to the next one.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{Instant, timeout, timeout_at};

use super::driver::Driver;
use super::mux::Mux;
use super::options::Options;
use super::snapshot::{Counters, count};
use super::ticket::Outgoing;
use crate::Error;
use crate::framed::connect::{Connect, Duplex};
use crate::framed::control::{self, Fault, Hello, HelloAck};
use crate::framed::ended::Ended;
use crate::framed::transport::{Event, Transport};
use crate::framed::{Codec, Head, Layout, Malformed, Message};

/// A live connection, as its calls see it.
#[derive(Debug)]
pub(super) struct Lane {
    serial: u64,
    pub(super) queue: mpsc::Sender<Outgoing>,
    /// The window.
    pub(super) slots: Arc<Semaphore>,
    pub(super) payload_bytes_max: usize,
}

/// What a connection was worth, to judge when to try the next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    serial: u64,
    failures: u32,
    since: Instant,
    heartbeat: Duration,
    pub(super) answered: bool,
}

#[derive(Clone, Debug)]
enum Link {
    Down {
        /// In a row.
        failures: u32,
        until: Option<Instant>,
        why: Option<Arc<Refused>>,
    },
    Dialing,
    Up(Arc<Lane>),
}

impl Link {
    /// Nothing is known against the next attempt.
    const IDLE: Self = Self::Down {
        failures: 0,
        until: None,
        why: None,
    };
}

/// The state of the one connection that new calls take.
#[derive(Debug)]
pub(super) struct Links {
    link: watch::Sender<Link>,
    options: Options,
    counters: Arc<Counters>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("connecting took too long")]
    Late,
    #[error("connecting failed")]
    Io(#[source] std::io::Error),
    #[error("the greeting was not answered")]
    Greeting(#[source] Ended),
    #[error("the greeting was refused with {}: {}", .0.code, .0.message)]
    Fault(Fault),
    #[error("connecting was broken off")]
    BrokenOff,
    #[error("the last connection ended before it answered anything")]
    Worthless,
}

/// How a client of one protocol dials: what differs from protocol to protocol, without its type.
#[derive(Debug)]
pub(super) struct Dialer<L> {
    pub(super) connect: Box<dyn Connect>,
    pub(super) layout: L,
    pub(super) version_min: u8,
    pub(super) version_max: u8,
    pub(super) code_name: fn(u16) -> Option<&'static str>,
    pub(super) links: Arc<Links>,
    /// Connections that may drain side by side.
    pub(super) drains: Arc<Semaphore>,
}

/// The most connections that drain side by side; a further one ends at once.
pub(super) const DRAINS_MAX: usize = 2;

/// The id of the greeting.
const HELLO_ID: u64 = 1;

impl Links {
    pub(super) fn new(options: Options, counters: Arc<Counters>) -> Self {
        let (link, _) = watch::channel(Link::IDLE);
        Self {
            link,
            options,
            counters,
        }
    }

    /// A connection takes no more calls. The first one that was worth nothing
    /// is replaced at once, since the partner is there; the next is followed by
    /// a pause, like a failed attempt.
    pub(super) fn left(&self, record: Record) {
        let good = record.answered || record.since.elapsed() >= record.heartbeat;
        self.link.send_if_modified(|link| {
            let current = matches!(link, Link::Up(lane) if lane.serial == record.serial);
            if current {
                *link = match (good, record.failures) {
                    (true, _) => Link::IDLE,
                    (false, 0) => Link::Down {
                        failures: 1,
                        until: None,
                        why: None,
                    },
                    (false, failures) => self.down(failures, Refused::Worthless),
                };
            }
            current
        });
    }

    fn down(&self, failures: u32, why: Refused) -> Link {
        let failures = failures.saturating_add(1);
        let pause = self.options.pause(failures, rand::random());
        Link::Down {
            failures,
            until: Some(Instant::now() + pause),
            why: Some(Arc::new(why)),
        }
    }
}

impl<L: Layout> Dialer<L> {
    /// The connection to use now, if there is one.
    pub(super) fn ready(&self) -> Option<Arc<Lane>> {
        match &*self.links.link.borrow() {
            Link::Up(lane) => Some(Arc::clone(lane)),
            _ => None,
        }
    }

    /// The connection to use now, dialled if there is none. `moved` if the call
    /// has seen the partner fail already, so that a pause is not ours alone.
    pub(super) async fn lane(
        self: &Arc<Self>,
        deadline: Instant,
        moved: bool,
    ) -> Result<Arc<Lane>, Error> {
        let mut waited = false;
        let mut watcher = self.links.link.subscribe();
        loop {
            let link = watcher.borrow_and_update().clone();
            match link {
                Link::Up(lane) => return Ok(lane),
                Link::Down {
                    until: Some(until),
                    why: Some(why),
                    ..
                } if waited || Instant::now() < until => {
                    return Err(self.refusal(why, until, waited || moved));
                }
                Link::Down { .. } => self.dial(),
                Link::Dialing => {
                    waited = true;
                    if timeout_at(deadline, watcher.changed()).await.is_err() {
                        return Err(Error::not_applied(
                            "the connection was not up by the deadline",
                        ));
                    }
                }
            }
        }
    }

    /// Who saw it fail learns of the partner; who came in the pause after it is refused by us.
    fn refusal(&self, why: Arc<Refused>, until: Instant, saw: bool) -> Error {
        let pause = until.saturating_duration_since(Instant::now());
        let error = if saw {
            Error::not_applied("there is no connection")
        } else {
            Error::local("the pause after a failed connection is not over")
        };
        match &*why {
            Refused::Fault(fault) => {
                let code = (self.code_name)(fault.code)
                    .map_or_else(|| fault.code.to_string(), str::to_owned);
                error
                    .with_code(code)
                    .with_retry_after(Some(fault.retry_after.unwrap_or(pause).max(pause)))
            }
            _ => error.with_retry_after(Some(pause)),
        }
        .with_source(why)
    }

    /// Starts an attempt, if nobody else has.
    fn dial(self: &Arc<Self>) {
        let mut mine = None;
        self.links.link.send_if_modified(|link| {
            if let Link::Down { failures, .. } = *link {
                *link = Link::Dialing;
                mine = Some(failures);
            }
            mine.is_some()
        });
        if let Some(failures) = mine {
            // A task of its own, so that the caller who began it may leave the others waiting.
            tokio::spawn(Arc::clone(self).dial_and_drive(failures));
        }
    }

    async fn dial_and_drive(self: Arc<Self>, failures: u32) {
        let mut attempt = Attempt {
            links: Arc::clone(&self.links),
            failures,
            over: false,
        };
        let limit = self.links.options.connect_timeout;
        let greeted = timeout(limit, self.greet())
            .await
            .unwrap_or(Err(Refused::Late));
        attempt.over = true;
        let driver = match greeted {
            Ok((transport, ack)) => self.settle(transport, ack, failures),
            Err(why) => {
                tracing::debug!(%why, "no connection");
                count(&self.links.counters.connect_failures);
                let down = self.links.down(failures, why);
                self.links.link.send_replace(down);
                return;
            }
        };
        drop(attempt);
        // The connection must not keep alive the client whose end ends it.
        drop(self);
        driver.run().await;
    }

    async fn greet(&self) -> Result<(Transport<Box<dyn Duplex>, L>, HelloAck), Refused> {
        let options = &self.links.options;
        let io = self.connect.connect().await.map_err(Refused::Io)?;
        let codec = Codec::new(self.layout)
            .payload_bytes_max(options.payload_bytes_max.try_into().unwrap_or(usize::MAX));
        let mut transport = Transport::new(io, codec, options.connect_timeout);
        let hello = Hello {
            version_min: self.version_min,
            version_max: self.version_max,
            client: options.name.clone(),
            token: options.token.clone(),
        };
        self.say(&mut transport, &hello)
            .map_err(|malformed| Refused::Greeting(malformed.into()))?;
        loop {
            match transport.next(true).await.map_err(Refused::Greeting)? {
                Event::Frame(frame) => {
                    let answer = self
                        .on_greeting(&mut transport, frame.head, &frame.payload)
                        .map_err(|malformed| Refused::Greeting(malformed.into()))?;
                    match answer {
                        Some(Ok(ack)) => return Ok((transport, ack)),
                        Some(Err(fault)) => return Err(Refused::Fault(fault)),
                        None => {}
                    }
                }
                Event::Progress | Event::Idle => {}
            }
        }
    }

    fn say(
        &self,
        transport: &mut Transport<Box<dyn Duplex>, L>,
        hello: &Hello,
    ) -> Result<(), Malformed> {
        let (kind, payload) = hello.encode()?;
        let head = Head {
            kind,
            id: HELLO_ID,
            deadline_ms: 0,
        };
        transport.queue(head, &payload).map(drop)
    }

    fn on_greeting(
        &self,
        transport: &mut Transport<Box<dyn Duplex>, L>,
        head: Head,
        payload: &Bytes,
    ) -> Result<Option<Result<HelloAck, Fault>>, Malformed> {
        match (head.kind, head.id) {
            (control::PING, id) => {
                let pong = Head {
                    kind: control::PONG,
                    id,
                    deadline_ms: 0,
                };
                transport.queue(pong, &[])?;
                Ok(None)
            }
            (control::HELLO_ACK, HELLO_ID) => {
                let ack = HelloAck::decode(head.kind, payload)?;
                if !(self.version_min..=self.version_max).contains(&ack.version) {
                    return Err(Malformed::value("version"));
                }
                if ack.window == 0 {
                    return Err(Malformed::value("window"));
                }
                if ack.heartbeat_ms == 0 {
                    return Err(Malformed::value("heartbeat"));
                }
                Ok(Some(Ok(ack)))
            }
            (control::ERROR, HELLO_ID) => Ok(Some(Err(Fault::decode(head.kind, payload)?))),
            (kind, _) => Err(Malformed::unknown_kind(kind)),
        }
    }

    fn settle(
        &self,
        mut transport: Transport<Box<dyn Duplex>, L>,
        ack: HelloAck,
        failures: u32,
    ) -> Driver<L> {
        let options = &self.links.options;
        let counters = &self.links.counters;
        let heartbeat = Duration::from_millis(ack.heartbeat_ms.into());
        transport.settle(heartbeat);
        let window = usize::from(ack.window.min(options.window_max));
        let slots = Arc::new(Semaphore::new(window));
        // As long as the window: who holds a place finds room.
        let (sender, queue) = mpsc::channel(window);
        let serial = counters.connected.fetch_add(1, Relaxed);
        let payload_bytes_max = ack.payload_bytes_max.min(options.payload_bytes_max);
        let lane = Lane {
            serial,
            queue: sender,
            slots: Arc::clone(&slots),
            payload_bytes_max: usize::try_from(payload_bytes_max)
                .unwrap_or(usize::MAX)
                .min(L::PAYLOAD_BYTES_MAX),
        };
        self.links.link.send_replace(Link::Up(Arc::new(lane)));
        Driver {
            transport,
            mux: Mux::new(HELLO_ID, window),
            queue,
            slots,
            links: Arc::downgrade(&self.links),
            counters: Arc::clone(counters),
            record: Record {
                serial,
                failures,
                since: Instant::now(),
                heartbeat,
                answered: false,
            },
            drains: Arc::clone(&self.drains),
            drain_max: options.drain_max,
            drain: None,
            overdue_counted: 0,
        }
    }
}

/// Sees to it that an attempt that panics leaves nobody waiting.
#[derive(Debug)]
struct Attempt {
    links: Arc<Links>,
    failures: u32,
    over: bool,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        self.links.link.send_if_modified(|link| {
            let dialing = matches!(link, Link::Dialing);
            if dialing {
                *link = self.links.down(self.failures, Refused::BrokenOff);
            }
            dialing
        });
    }
}
