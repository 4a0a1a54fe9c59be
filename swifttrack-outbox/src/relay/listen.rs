//! A wake from other processes: one debounced `NOTIFY` on its own connection.
//!
//! Never inside the caller's transaction: a commit with a notification takes a lock of the
//! whole instance, and a fifth of the throughput was left when it was measured.

use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::task::JoinHandle;

use super::Waker;

const CHANNEL: &str = "swifttrack_outbox";

/// Notifications that one process sends are this far apart at least.
const DEBOUNCE: Duration = Duration::from_millis(5);

/// Between two tries to listen.
const RETRY: Duration = Duration::from_secs(1);

/// Carries wakes between processes that share a Postgres: for writers without a relay of their
/// own.
///
/// Hints only, in both directions: a relay that hears nothing polls.
#[derive(Debug)]
pub struct RemoteWaker {
    tasks: [JoinHandle<()>; 2],
}

impl RemoteWaker {
    /// Passes each wake of `local` on to all other processes, at most one every 5 ms, and wakes
    /// `relay` when another process did so. Give the writers `local` and the relay `relay`;
    /// both may be clones of wakers in use. It ends when it is dropped.
    #[must_use]
    pub fn start(pool: PgPool, local: &Waker, relay: &Waker) -> Self {
        let (local, relay) = (local.clone(), relay.clone());
        let sender = pool.clone();
        let near = relay.clone();
        let send = tokio::spawn(async move {
            loop {
                local.woken().await;
                near.wake();
                if let Err(error) = sqlx::query("SELECT pg_notify($1, '')")
                    .bind(CHANNEL)
                    .execute(&sender)
                    .await
                {
                    tracing::debug!(%error, "a wake was not passed on");
                }
                tokio::time::sleep(DEBOUNCE).await;
            }
        });
        let hear = tokio::spawn(async move {
            loop {
                if let Err(error) = listen(&pool, &relay).await {
                    tracing::debug!(%error, "listening for wakes failed");
                }
                tokio::time::sleep(RETRY).await;
            }
        });
        Self {
            tasks: [send, hear],
        }
    }
}

async fn listen(pool: &PgPool, relay: &Waker) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    // What was committed before it listened.
    relay.wake();
    while listener.try_recv().await?.is_some() {
        relay.wake();
    }
    Ok(())
}

impl Drop for RemoteWaker {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}
