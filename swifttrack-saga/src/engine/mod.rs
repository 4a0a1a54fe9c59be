//! The engine: claims, runs, commits, waits.
//!
//! ```text
//!  start, cancel, signal            attempts (tasks, no transaction)
//!          │                              ▲      │
//!          ▼                              │      ▼
//!       ┌──────── lane 0 ─────┐  sagas, timers, one commit a batch
//!  ────▶│                     │────▶ Store
//!       └──────── lane 1 ─────┘
//!                 ▲
//!              keeper: lease, fair share of shards, sweeps
//! ```

mod ask;
pub(crate) mod attempt;
mod blocked;
mod builder;
mod clock;
mod deploy;
mod error;
mod gate;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod join;
mod keeper;
mod lane;
pub(crate) mod live;
mod meter;
mod read;
mod registry;
pub(crate) mod shared;
mod start;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::timeout;

pub use self::ask::{Answer, By, Erasure};
pub use self::builder::EngineBuilder;
pub use self::deploy::{DeployReport, Stranded};
pub use self::error::{Error, StartError};
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub use self::join::Joined;
pub use self::read::{Snapshot, Status, StepSnapshot, StepStatus, Watch};
pub use self::start::Started;

#[cfg(feature = "verify")]
pub(crate) use self::registry::Registered;
use self::shared::{Event, Shared};
use crate::store::{ShardLease, Store};

/// Runs sagas. Cheap to clone; all clones are one engine.
///
/// It goes on until [`shutdown`](Self::shutdown). Dropping it without that leaves its tasks
/// to the runtime.
#[derive(Clone)]
pub struct Engine {
    pub(crate) shared: Arc<Shared>,
}

impl Engine {
    /// Begins to set one up.
    pub fn builder(store: impl Store) -> EngineBuilder {
        EngineBuilder::new(Arc::new(store))
    }

    /// What `on` stands for has opened: attempts that were
    /// [blocked](crate::StepError::blocked) on it go on, oldest first and within the limits of
    /// their steps, and the pauses of steps that are tuned [`on`](crate::Tune::on) it end.
    /// This process only. Returns how many were blocked.
    pub fn wake(&self, on: &str) -> usize {
        let tickets = self.shared.blocked.wake(on);
        let woken = tickets.len();
        for ticket in tickets {
            self.shared.send(ticket.lane, Event::Go(ticket));
        }
        let on: Arc<str> = on.into();
        self.shared.send_all(|| Event::Wake(on.clone()));
        woken
    }

    /// How many attempts are blocked in this process, and on what.
    #[must_use]
    pub fn blocked(&self) -> Vec<(Arc<str>, usize)> {
        self.shared.blocked.count()
    }

    /// Sagas in memory.
    #[must_use]
    pub fn active(&self) -> usize {
        self.shared.active.load(Ordering::Relaxed)
    }

    /// Looks at once whether anything is due: for a notification that another process made
    /// something so. It costs one read and is never needed for correctness.
    pub fn hint(&self) {
        self.shared.hint.notify_one();
    }

    /// Takes nothing new, lets attempts end, writes what they gave, and gives the shards back.
    ///
    /// What still runs after `limit` is dropped, and counts as of unknown outcome.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it returns, the engine takes nothing new, and its shards come free with
    /// its lease.
    pub async fn shutdown(&self, limit: Duration) {
        self.shared.closing.store(true, Ordering::Relaxed);
        self.shared.hint.notify_one();
        let leases: Vec<ShardLease> = self.shared.leases().values().cloned().collect();
        self.shared.leases().clear();
        if timeout(limit, keeper::drain(&self.shared, leases))
            .await
            .is_err()
        {
            tracing::warn!(?limit, "attempts still ran when the limit was over");
        }
        self.shared.send_all(|| Event::Stop);
        let worker = self.shared.worker();
        if let Err(error) = self.shared.store.deregister(worker).await {
            tracing::warn!(%error, "the worker's row stays until its lease ends");
        }
    }
}

impl Engine {
    /// Ends at once, as a process that dies does: nothing is written, nothing is given back.
    /// For tests of what comes after.
    #[doc(hidden)]
    pub fn crash(&self) {
        self.shared.closing.store(true, Ordering::Relaxed);
        self.shared.clock.stop();
        self.shared.send_all(|| Event::Stop);
        self.shared.hint.notify_one();
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("settings", &self.shared.settings)
            .field("active", &self.active())
            .finish_non_exhaustive()
    }
}
