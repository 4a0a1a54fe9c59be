//! The database's time, read off the process's own monotonic clock.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::store::Timestamp;

/// An estimate of the database's clock that is never ahead of it, and the end of our lease.
#[derive(Debug)]
pub(crate) struct Clock {
    origin: Instant,
    /// The database's time minus the time since `origin`, in microseconds.
    offset: AtomicI64,
    /// Until when we may act, in microseconds since `origin`.
    lease: AtomicI64,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self {
            origin: Instant::now(),
            offset: AtomicI64::new(0),
            lease: AtomicI64::new(0),
        }
    }

    /// Takes in the database's time as it was received just now: the true time is later by
    /// the way of the answer, so timers fire late, never early.
    pub(crate) fn read(&self, database: Timestamp) {
        let offset = database.0 - self.since_origin(Instant::now());
        self.offset.store(offset, Ordering::Relaxed);
    }

    /// We may act until then.
    pub(crate) fn renew(&self, until: Instant) {
        let until = self.since_origin(until);
        self.lease.store(until, Ordering::Relaxed);
    }

    /// We may not act any more.
    pub(crate) fn stop(&self) {
        self.lease.store(i64::MIN, Ordering::Relaxed);
    }

    pub(crate) fn may_act(&self) -> bool {
        self.since_origin(Instant::now()) < self.lease.load(Ordering::Relaxed)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.at(Instant::now())
    }

    pub(crate) fn at(&self, instant: Instant) -> Timestamp {
        Timestamp(self.since_origin(instant) + self.offset.load(Ordering::Relaxed))
    }

    /// The first instant at which `at` has passed.
    pub(crate) fn instant(&self, at: Timestamp) -> Instant {
        let wait = at.since(self.now());
        // A day is far enough to look again.
        Instant::now() + wait.min(Duration::from_hours(24))
    }

    fn since_origin(&self, instant: Instant) -> i64 {
        let since = instant.saturating_duration_since(self.origin);
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    }
}
