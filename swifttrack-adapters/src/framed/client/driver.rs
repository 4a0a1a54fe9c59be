//! The task that owns a connection.

use std::pin::{Pin, pin};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::select;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, Sleep, sleep_until};

use super::link::{Links, Record};
use super::mux::Mux;
use super::snapshot::{Counters, count};
use super::ticket::{Outgoing, Reply, Waiter};
use crate::framed::connect::Duplex;
use crate::framed::control::{self, GoAway, millis_rounded_up};
use crate::framed::ended::Ended;
use crate::framed::transport::{Event, Transport};
use crate::framed::{Frame, Head, Layout, Message};

/// Everything about one connection, in one task.
pub(super) struct Driver<L> {
    pub(super) transport: Transport<Box<dyn Duplex>, L>,
    pub(super) mux: Mux<Waiter>,
    pub(super) queue: mpsc::Receiver<Outgoing>,
    pub(super) slots: Arc<Semaphore>,
    pub(super) links: Weak<Links>,
    pub(super) counters: Arc<Counters>,
    pub(super) record: Record,
    /// Limits how many connections may drain side by side.
    pub(super) drains: Arc<Semaphore>,
    pub(super) drain_max: Duration,
    pub(super) drain: Option<Drain>,
    pub(super) overdue_counted: usize,
}

/// No more calls are taken; those in flight may end until then.
#[derive(Debug)]
pub(super) struct Drain {
    until: Instant,
    _permit: OwnedSemaphorePermit,
}

impl<L: Layout> Driver<L> {
    /// Carries calls until the connection ends, and tells each what is known of it.
    pub(super) async fn run(mut self) {
        let ended = Arc::new(self.until_the_end().await);
        tracing::debug!(reason = %ended, "connection ended");
        count(&self.counters.ended);
        // First the way to a new connection, then the bad news: who is told may call again at once.
        self.take_no_more(Some(&ended));
        self.mux.handed_over(self.transport.handed_over());
        self.counters
            .overdue
            .fetch_sub(self.overdue_counted as u64, Relaxed);
        for left in self.mux.end() {
            // Where no checksum guards the whole, the first byte decides; the
            // multiplexer was told offsets accordingly.
            let counter = if left.sent {
                &self.counters.unknown
            } else {
                &self.counters.not_applied
            };
            count(counter);
            let why = Arc::clone(&ended);
            left.waiter.tell(Reply::Lost {
                sent: left.sent,
                why,
            });
        }
        self.transport.shutdown().await;
    }

    async fn until_the_end(&mut self) -> Ended {
        let mut expiry = pin!(sleep_until(Instant::now()));
        let mut armed = false;
        loop {
            if let Some(drain) = &self.drain {
                if self.mux.is_drained() && self.transport.is_flushed() {
                    return Ended::Drained;
                }
                if Instant::now() >= drain.until {
                    return Ended::DrainTooLong;
                }
            }
            let drained_at = self.drain.as_ref().map(|drain| drain.until);
            arm(
                expiry.as_mut(),
                &mut armed,
                self.mux.next_deadline(),
                drained_at,
            );
            let room = self.drain.is_none() && self.transport.has_room();
            let turn = select! {
                // Time first and the peer last, so that no flood from it holds up the rest.
                biased;
                () = expiry.as_mut(), if armed => {
                    armed = false;
                    self.expire()
                }
                outgoing = self.queue.recv(), if room => match outgoing {
                    Some(outgoing) => self.start(outgoing),
                    None => Err(Ended::Unused),
                },
                event = self.transport.next(true) => event.and_then(|event| self.on(event)),
            };
            if let Err(ended) = turn {
                return ended;
            }
        }
    }

    fn start(&mut self, outgoing: Outgoing) -> Result<(), Ended> {
        let left = outgoing.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || outgoing.waiter.reply.is_closed() || !outgoing.ticket.start() {
            count(&self.counters.withdrawn);
            return Ok(());
        }
        let id = self.mux.take_id();
        let head = Head {
            kind: outgoing.kind,
            id,
            deadline_ms: millis_rounded_up(left),
        };
        if self.mux.in_flight() > 0 {
            // Others may start too: callers who were answered together often call again together.
            self.transport.gather();
        }
        let start = self.transport.queued();
        let end = self.transport.queue(head, &outgoing.payload)?;
        // What counts as sent: all of it under a checksum, else the first byte.
        let sent_at = if L::CHECKED { end } else { start + 1 };
        self.mux
            .start(id, outgoing.waiter, outgoing.deadline, sent_at);
        count(&self.counters.started);
        Ok(())
    }

    fn on(&mut self, event: Event) -> Result<(), Ended> {
        match event {
            Event::Frame(frame) => self.take(frame),
            Event::Progress => {
                self.mux.handed_over(self.transport.handed_over());
                Ok(())
            }
            Event::Idle => {
                let id = self.mux.take_id();
                self.control(control::PING, id)
            }
        }
    }

    fn take(&mut self, frame: Frame) -> Result<(), Ended> {
        match frame.head.kind {
            control::PING => return self.control(control::PONG, frame.head.id),
            control::GOAWAY => {
                let goaway = GoAway::decode(control::GOAWAY, &frame.payload)?;
                return self.go_away(&goaway);
            }
            _ => {}
        }
        match self.mux.answer(frame.head.id) {
            Some(waiter) => {
                self.record.answered = true;
                count(&self.counters.answered);
                waiter.tell(Reply::Frame(frame));
                self.count_overdue();
            }
            // To our own heartbeat.
            None if frame.head.kind == control::PONG => {}
            None => {
                tracing::debug!(id = frame.head.id, "an answer to nothing in flight");
                count(&self.counters.strays);
            }
        }
        Ok(())
    }

    fn control(&mut self, kind: u8, id: u64) -> Result<(), Ended> {
        let head = Head {
            kind,
            id,
            deadline_ms: 0,
        };
        self.transport.queue(head, &[])?;
        Ok(())
    }

    fn go_away(&mut self, goaway: &GoAway) -> Result<(), Ended> {
        tracing::debug!(reason = goaway.reason, "the partner goes away");
        count(&self.counters.going_away);
        for waiter in self.mux.go_away(goaway.last_accepted_id) {
            count(&self.counters.not_applied);
            waiter.tell(Reply::GoneAway);
        }
        self.count_overdue();
        self.start_drain()
    }

    fn expire(&mut self) -> Result<(), Ended> {
        self.mux.expire(Instant::now());
        self.count_overdue();
        if self.mux.is_clogged() && self.drain.is_none() {
            count(&self.counters.clogged);
            return self.start_drain();
        }
        Ok(())
    }

    fn start_drain(&mut self) -> Result<(), Ended> {
        if self.drain.is_some() {
            return Ok(());
        }
        let Ok(permit) = Arc::clone(&self.drains).try_acquire_owned() else {
            return Err(Ended::DrainTooLong);
        };
        self.drain = Some(Drain {
            until: Instant::now() + self.drain_max,
            _permit: permit,
        });
        self.take_no_more(None);
        Ok(())
    }

    /// Lets the next call open a new connection, and hands back what was not started.
    fn take_no_more(&mut self, why: Option<&Arc<Ended>>) {
        if let Some(links) = self.links.upgrade() {
            links.left(self.record);
        }
        self.slots.close();
        self.queue.close();
        while let Ok(outgoing) = self.queue.try_recv() {
            outgoing.waiter.tell(match why {
                None => Reply::MoveOn,
                Some(why) => {
                    count(&self.counters.not_applied);
                    Reply::Lost {
                        sent: false,
                        why: Arc::clone(why),
                    }
                }
            });
        }
    }

    fn count_overdue(&mut self) {
        let now = self.mux.overdue();
        let before = std::mem::replace(&mut self.overdue_counted, now);
        let gauge = &self.counters.overdue;
        if now >= before {
            gauge.fetch_add((now - before) as u64, Relaxed);
        } else {
            gauge.fetch_sub((before - now) as u64, Relaxed);
        }
    }
}

/// Sets the alarm to the earlier of the two, unless it already goes off before:
/// deadlines mostly rise, so that it is rarely set at all.
fn arm(
    mut alarm: Pin<&mut Sleep>,
    armed: &mut bool,
    deadline: Option<Instant>,
    drain: Option<Instant>,
) {
    let Some(at) = deadline.into_iter().chain(drain).min() else {
        *armed = false;
        return;
    };
    if !*armed || at < alarm.deadline() {
        alarm.as_mut().reset(at);
        *armed = true;
    }
}
