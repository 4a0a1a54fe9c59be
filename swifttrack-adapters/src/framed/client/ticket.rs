//! One call between its caller and the task that owns the socket.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use super::snapshot::Counters;
use crate::framed::Frame;
use crate::framed::ended::Ended;

/// A request on its way to the socket.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) kind: u8,
    pub(super) payload: Bytes,
    pub(super) deadline: Instant,
    pub(super) ticket: Arc<Ticket>,
    pub(super) waiter: Waiter,
}

/// Who waits for an answer. Fills a place in the window until it is dropped.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) reply: oneshot::Sender<Reply>,
    _place: Place,
}

impl Waiter {
    pub(super) fn new(
        reply: oneshot::Sender<Reply>,
        permit: OwnedSemaphorePermit,
        counters: Arc<Counters>,
    ) -> Self {
        counters.in_flight.fetch_add(1, Ordering::Relaxed);
        let _place = Place {
            counters,
            _permit: permit,
        };
        Self { reply, _place }
    }

    /// Tells the caller, if there still is one.
    pub(super) fn tell(self, reply: Reply) {
        let _ = self.reply.send(reply);
    }
}

#[derive(Debug)]
struct Place {
    counters: Arc<Counters>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.counters.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a call is told.
#[derive(Debug)]
pub(super) enum Reply {
    /// The partner's word.
    Frame(Frame),
    /// Not started, and the connection takes no more: try the next.
    MoveOn,
    /// The partner goes away and did not apply it.
    GoneAway,
    /// The connection ended; whether the request may have reached the partner.
    Lost { sent: bool, why: Arc<Ended> },
}

/// Settles who was first: the caller giving up, or the driver starting the frame.
#[derive(Debug, Default)]
pub(super) struct Ticket(AtomicU8);

const QUEUED: u8 = 0;
const STARTED: u8 = 1;
const WITHDRAWN: u8 = 2;

impl Ticket {
    /// The driver is about to start the frame; false if the caller has withdrawn it.
    pub(super) fn start(&self) -> bool {
        self.settle(STARTED)
    }

    /// The caller gives up; false if the frame was started, so that it may take effect.
    pub(super) fn withdraw(&self) -> bool {
        self.settle(WITHDRAWN)
    }

    fn settle(&self, to: u8) -> bool {
        self.0
            .compare_exchange(QUEUED, to, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}
