//! The side that calls.

mod driver;
mod link;
mod mux;
mod options;
mod snapshot;
mod ticket;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, oneshot};
use tokio::time::{Instant, timeout_at};

use self::link::{DRAINS_MAX, Dialer, Lane, Links};
pub use self::options::Options;
pub use self::snapshot::Snapshot;
use self::snapshot::{Counters, Waiting};
use self::ticket::{Outgoing, Reply, Ticket, Waiter};
use super::control::{self, Fault};
use super::{Connect, Frame, Message, Protocol};
use crate::{CallContext, Error};

/// Many calls at a time on one connection.
///
/// ```text
///   call ──▶ window ──▶ queue ──▶ ┌────────────┐
///   call ──▶   of   ──▶           │ the task   │ ⇄ socket
///   call ──▶ the server           │ that owns  │
///    ▲                            │ the socket │
///    └──────── answer by id ───── └────────────┘
/// ```
///
/// Cheap to clone; all clones share the connection. It is opened by the first
/// call, and again by the first call after its end. A failed attempt is
/// followed by a pause in which calls are refused at once.
///
/// # What a failure means
///
/// | what happened | class |
/// |---|---|
/// | no connection, full window, withdrawn before the frame was started | not applied |
/// | the connection ended before the socket took the last byte of the frame | not applied |
/// | the server went away and named a lower id as its last | not applied |
/// | the server's ERROR | what it says |
/// | the deadline, or the end of the connection, after that | unknown |
/// | an answer that cannot be read | protocol |
///
/// # Slots of abandoned calls
///
/// A call that is dropped before its frame was started is withdrawn. After
/// that the partner works on it, so it keeps its place in the window until the
/// answer, or the end of the connection. When half the window is held by calls
/// whose deadline has passed, the connection takes no more calls: those in
/// flight may end, new ones go to a new connection.
pub struct Client<P: Protocol> {
    dialer: Arc<Dialer<P::Layout>>,
    counters: Arc<Counters>,
    /// Limits the calls that wait, so that a partner that is down does not fill our memory.
    waiting: Arc<Semaphore>,
    protocol: PhantomData<fn() -> P>,
}

/// The most connections that one call tries to get on. Each may go away just as it is handed out.
const LANES_MAX: usize = 4;

impl<P: Protocol> Client<P> {
    /// A client that has not connected yet.
    #[must_use]
    pub fn new(connect: impl Connect, options: Options) -> Self {
        let counters = Arc::new(Counters::default());
        let waiting = Arc::new(Semaphore::new(
            options.waiting_max.min(Semaphore::MAX_PERMITS),
        ));
        let dialer = Dialer {
            connect: Box::new(connect),
            layout: P::LAYOUT,
            version_min: *P::VERSIONS.start(),
            version_max: *P::VERSIONS.end(),
            code_name: P::code_name,
            links: Arc::new(Links::new(options, Arc::clone(&counters))),
            drains: Arc::new(Semaphore::new(DRAINS_MAX)),
        };
        Self {
            dialer: Arc::new(dialer),
            counters,
            waiting,
            protocol: PhantomData,
        }
    }

    /// Asks, and waits for the answer until the context's deadline.
    ///
    /// # Errors
    ///
    /// See [what a failure means](Self#what-a-failure-means).
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any point; whether it took effect is then as unknown as after a deadline.
    pub async fn call(&self, request: &P::Request, cx: &CallContext) -> Result<P::Answer, Error> {
        let (kind, payload) = request.encode().map_err(|malformed| {
            Error::rejected("the request does not fit into a frame").with_source(malformed)
        })?;
        let frame = self.exchange(kind, payload, cx.deadline).await?;
        if frame.head.kind == control::ERROR {
            let fault = Fault::decode(control::ERROR, &frame.payload).map_err(unreadable)?;
            let name = P::code_name(fault.code);
            return Err(fault.into_error(name));
        }
        P::Answer::decode(frame.head.kind, &frame.payload).map_err(unreadable)
    }

    /// Sees whether the partner answers at all.
    ///
    /// # Errors
    ///
    /// When it does not.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any point.
    pub async fn ping(&self, cx: &CallContext) -> Result<(), Error> {
        self.exchange(control::PING, Bytes::new(), cx.deadline)
            .await
            .map(drop)
    }

    /// What it has done so far.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.counters.snapshot()
    }

    async fn exchange(&self, kind: u8, payload: Bytes, deadline: Instant) -> Result<Frame, Error> {
        if deadline <= Instant::now() {
            return Err(Error::local("the deadline was spent before the call"));
        }
        for lanes in 0..LANES_MAX {
            let (lane, permit) = self.place(payload.len(), deadline, lanes > 0).await?;
            let ticket = Arc::new(Ticket::default());
            let (reply, answer) = oneshot::channel();
            let outgoing = Outgoing {
                kind,
                payload: payload.clone(),
                deadline,
                ticket: Arc::clone(&ticket),
                waiter: Waiter::new(reply, permit, Arc::clone(&self.counters)),
            };
            if lane.queue.try_send(outgoing).is_err() {
                continue;
            }
            // Once the client is gone, nothing may keep the connection.
            drop(lane);
            return match timeout_at(deadline, answer).await {
                Ok(Ok(Reply::MoveOn)) => continue,
                Ok(Ok(reply)) => settled(reply),
                // Dropped untold: withdrawn by the driver, unless that died.
                Ok(Err(_)) | Err(_) if ticket.withdraw() => Err(Error::not_applied(
                    "the frame was not started by the deadline",
                )),
                Ok(Err(_)) => Err(Error::unknown("the connection was dropped")),
                Err(_) => Err(Error::unknown("there was no answer by the deadline")),
            };
        }
        Err(went_away())
    }

    /// A place in the window of a connection; `moved` if another one has gone from under the call.
    async fn place(
        &self,
        payload_bytes: usize,
        deadline: Instant,
        moved: bool,
    ) -> Result<(Arc<Lane>, OwnedSemaphorePermit), Error> {
        let mut queued = None;
        for lanes in 0..LANES_MAX {
            let lane = match self.dialer.ready() {
                Some(lane) => lane,
                None => {
                    self.wait(&mut queued)?;
                    self.dialer.lane(deadline, moved || lanes > 0).await?
                }
            };
            if payload_bytes > lane.payload_bytes_max {
                return Err(Error::rejected(format!(
                    "a request of {payload_bytes} bytes is above the limit of {}",
                    lane.payload_bytes_max
                )));
            }
            match Arc::clone(&lane.slots).try_acquire_owned() {
                Ok(permit) => return Ok((lane, permit)),
                Err(TryAcquireError::Closed) => continue,
                Err(TryAcquireError::NoPermits) => self.wait(&mut queued)?,
            }
            let slots = Arc::clone(&lane.slots);
            match timeout_at(deadline, slots.acquire_owned()).await {
                Ok(Ok(permit)) => return Ok((lane, permit)),
                // It takes no more calls: on to the next.
                Ok(Err(_)) => {}
                Err(_) => {
                    return Err(Error::local("the window stayed full until the deadline"));
                }
            }
        }
        Err(went_away())
    }

    /// Counts the call among those that wait.
    fn wait(&self, queued: &mut Option<(OwnedSemaphorePermit, Waiting)>) -> Result<(), Error> {
        if queued.is_none() {
            let permit = Arc::clone(&self.waiting)
                .try_acquire_owned()
                .map_err(|_| Error::local("too many calls wait for the partner"))?;
            *queued = Some((permit, Waiting::new(Arc::clone(&self.counters))));
        }
        Ok(())
    }
}

fn went_away() -> Error {
    Error::not_applied("every connection went away at once")
}

fn settled(reply: Reply) -> Result<Frame, Error> {
    match reply {
        Reply::Frame(frame) => Ok(frame),
        Reply::MoveOn => Err(went_away()),
        Reply::GoneAway => Err(Error::not_applied("the partner went away before the call")),
        Reply::Lost { sent: true, why } => {
            Err(Error::unknown("the connection ended before the answer").with_source(why))
        }
        Reply::Lost { sent: false, why } => Err(Error::not_applied(
            "the connection ended before the request was sent whole",
        )
        .with_source(why)),
    }
}

fn unreadable(malformed: super::Malformed) -> Error {
    Error::protocol("the answer cannot be read").with_source(malformed)
}

impl<P: Protocol> Clone for Client<P> {
    fn clone(&self) -> Self {
        Self {
            dialer: Arc::clone(&self.dialer),
            counters: Arc::clone(&self.counters),
            waiting: Arc::clone(&self.waiting),
            protocol: PhantomData,
        }
    }
}

impl<P: Protocol> fmt::Debug for Client<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("connect", &self.dialer.connect)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}
