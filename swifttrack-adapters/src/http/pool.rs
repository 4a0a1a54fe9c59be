//! Connections at rest.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::connection::Connection;

/// Idle connections, the one used last at the end.
#[derive(Debug, Default)]
pub(super) struct Pool {
    /// A std mutex, since nothing is awaited while it is held.
    idle: Mutex<Idle>,
}

#[derive(Debug, Default)]
struct Idle {
    connections: Vec<Connection>,
    /// Whether a task watches their age. There is none while none is idle.
    swept: bool,
}

impl Pool {
    /// A connection that is fit for use, if there is one.
    ///
    /// The one used last is tried first: it is the one least likely to be
    /// closed by its peer in this moment.
    pub(super) fn take(&self, age_max: Duration) -> Option<Connection> {
        let now = Instant::now();
        loop {
            // Dropped outside of the lock: it closes a socket.
            let connection = self.lock().connections.pop()?;
            if now - connection.idle_since < age_max && connection.is_usable() {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection for `age_max`, if there are fewer than `idle_max`.
    pub(super) fn put(
        self: &Arc<Self>,
        mut connection: Connection,
        idle_max: usize,
        age_max: Duration,
    ) {
        connection.idle_since = Instant::now();
        let mut idle = self.lock();
        if idle.connections.len() >= idle_max {
            return;
        }
        idle.connections.push(connection);
        if !idle.swept {
            idle.swept = true;
            tokio::spawn(sweep(Arc::downgrade(self), age_max));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes what was idle for too long, until nothing is left or the pool is gone.
async fn sweep(pool: Weak<Pool>, age_max: Duration) {
    loop {
        tokio::time::sleep(age_max).await;
        let Some(pool) = pool.upgrade() else { return };
        let now = Instant::now();
        let mut idle = pool.lock();
        idle.connections
            .retain(|connection| now - connection.idle_since < age_max);
        if idle.connections.is_empty() {
            idle.swept = false;
            return;
        }
    }
}
