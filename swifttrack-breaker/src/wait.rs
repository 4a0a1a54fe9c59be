//! An ordered wait for a circuit.
//!
//! Waiters queue; one task, which lives as long as anybody waits, hands out
//! tickets. When the open time is over it gives away exactly the probes, to
//! the oldest; when the circuit closes it lets the rest go along a ramp. So a
//! partner that comes back meets neither a herd nor a queue in disorder.
//!
//! ```text
//!   let go
//!     │                                 ╭─   rate · t · (1 + t),  t in seconds
//!     │                            ╭────╯    since the circuit closed
//!     │                    ╭───────╯
//!     │  probes ●──────────╯
//!     └──────── until ──── closed ─────────▶ time
//! ```

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::error::{Cause, Refused};
use crate::state::State;
use crate::tenant::Tenant;
use crate::ticket::Ticket;

/// The ramp lets waiters go in steps of this length.
const STEP: Duration = Duration::from_millis(10);

#[derive(Debug, Default)]
pub(crate) struct Waiting {
    /// A std mutex, since nothing is awaited while it is held.
    queue: Mutex<Queue>,
    /// The queue's length, to be read without the lock.
    len: AtomicUsize,
    /// Something changed that may let a waiter go.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    waiters: VecDeque<oneshot::Sender<Ticket>>,
    driven: bool,
}

impl Waiting {
    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::SeqCst)
    }

    /// Tells the driver, if there is one, to look again.
    pub(crate) fn nudge(&self) {
        // Either this sees the waiter, or the waiter's driver sees what changed.
        fence(Ordering::SeqCst);
        if self.len() != 0 {
            self.changed.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(self: &Arc<Self>, tenant: &Arc<Tenant>) -> Option<oneshot::Receiver<Ticket>> {
        let max = tenant.slot().core.config().waiters_max as usize;
        let (sender, receiver) = oneshot::channel();
        let mut queue = self.lock();
        if max <= queue.waiters.len() {
            queue.waiters.retain(|waiter| !waiter.is_closed());
        }
        if max <= queue.waiters.len() {
            return None;
        }
        queue.waiters.push_back(sender);
        self.len.store(queue.waiters.len(), Ordering::SeqCst);
        if !queue.driven {
            queue.driven = true;
            let driver = Driver(Some(Arc::clone(self)));
            tokio::spawn(drive(Arc::downgrade(tenant), Arc::clone(self), driver));
        }
        Some(receiver)
    }

    /// Gives the ticket to the oldest who still waits; gives it back if there is none.
    fn give(&self, mut ticket: Ticket) -> Option<Ticket> {
        loop {
            let waiter = {
                let mut queue = self.lock();
                let waiter = queue.waiters.pop_front();
                self.len.store(queue.waiters.len(), Ordering::SeqCst);
                waiter
            };
            match waiter?.send(ticket) {
                Ok(()) => return None,
                Err(unused) => ticket = unused,
            }
        }
    }

    /// Forgets those at the head who have gone; if that was all, the driver is released.
    fn is_idle(&self) -> bool {
        let mut queue = self.lock();
        while queue
            .waiters
            .front()
            .is_some_and(oneshot::Sender::is_closed)
        {
            queue.waiters.pop_front();
        }
        self.len.store(queue.waiters.len(), Ordering::SeqCst);
        queue.driven = !queue.waiters.is_empty();
        fence(Ordering::SeqCst);
        !queue.driven
    }
}

/// Waits for leave to call. See [`BreakerHandle::acquire`](crate::BreakerHandle::acquire).
pub(crate) async fn acquire(tenant: &Arc<Tenant>) -> Result<Ticket, Refused> {
    loop {
        let waiting = tenant.waiting();
        let refused = if waiting.len() == 0 {
            match tenant.slot().admit() {
                Ok(ticket) => return Ok(ticket),
                Err(refused) => Some(refused),
            }
        } else {
            tenant.slot().refusal()
        };
        let Some(turn) = waiting.enter(tenant) else {
            return Err(refused.map_or(Refused::now(Cause::Full), |refused| {
                refused.because(Cause::Full)
            }));
        };
        if let Ok(ticket) = turn.await {
            return Ok(ticket);
        }
        // The runtime that drove the queue has ended. This one goes on.
    }
}

/// Held by the task that drives the queue. Should it die with its runtime, the
/// waiters are sent back to queue again, and the first brings a new driver.
#[derive(Debug)]
struct Driver(Option<Arc<Waiting>>);

impl Drop for Driver {
    fn drop(&mut self) {
        let Some(waiting) = self.0.take() else { return };
        let mut queue = waiting.lock();
        queue.driven = false;
        let waiters = std::mem::take(&mut queue.waiters);
        waiting.len.store(0, Ordering::SeqCst);
        drop(queue);
        drop(waiters);
    }
}

async fn drive(tenant: Weak<Tenant>, waiting: Arc<Waiting>, mut driver: Driver) {
    let mut ramp = None;
    loop {
        let pause = {
            let Some(tenant) = tenant.upgrade() else {
                return;
            };
            if waiting.is_idle() {
                driver.0 = None;
                return;
            }
            step(&tenant, &waiting, &mut ramp)
        };
        match pause {
            Pause::None => {}
            Pause::Change => waiting.changed.notified().await,
            Pause::Until(then) => {
                // Whichever comes first; both are looked at again.
                let _ = timeout_at(then, waiting.changed.notified()).await;
            }
        }
    }
}

enum Pause {
    None,
    Until(Instant),
    Change,
}

/// Lets one waiter go, or says what to wait for.
fn step(tenant: &Tenant, waiting: &Waiting, ramp: &mut Option<Ramp>) -> Pause {
    let slot = tenant.slot();
    if matches!(
        slot.core.word().state(),
        State::Closed | State::Observe | State::Disabled
    ) {
        let now = Instant::now();
        let ramp = ramp.get_or_insert_with(|| Ramp::new(now, slot.core.config().ramp));
        if !ramp.lets_go(now) {
            return Pause::Until(now + STEP);
        }
    } else {
        *ramp = None;
    }
    match slot.admit() {
        Ok(ticket) => {
            drop(waiting.give(ticket));
            Pause::None
        }
        Err(refused) => refused.until().map_or(Pause::Change, Pause::Until),
    }
}

#[derive(Debug)]
struct Ramp {
    start: Instant,
    rate: u64,
    gone: u64,
}

impl Ramp {
    fn new(start: Instant, rate: u32) -> Self {
        Self {
            start,
            rate: u64::from(rate),
            gone: 0,
        }
    }

    fn lets_go(&mut self, now: Instant) -> bool {
        let free = self.gone < allowed(self.rate, now - self.start);
        self.gone += u64::from(free);
        free
    }
}

/// `rate · t · (1 + t)`, `t` in seconds.
fn allowed(rate: u64, since: Duration) -> u64 {
    let ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    rate.saturating_mul(ms)
        .saturating_mul(ms.saturating_add(1000))
        / 1_000_000
}
