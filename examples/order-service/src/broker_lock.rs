//! The right to have the in-process broker: on Postgres, where others could run beside it, only
//! one process may have one, since two would split the events between them.

use sqlx::{Connection as _, PgConnection};
use tokio::sync::Mutex;
use tokio::time::timeout;

/// Names the advisory lock.
const LOCK: i64 = 0x5357_4b41_464b_4131;
/// A database that takes longer is gone.
const ANSWER_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(3);

/// An advisory lock, held by a connection of its own: it ends with the process, however that ends.
#[derive(Debug)]
pub struct BrokerLock {
    url: String,
    /// None while it is lost, with the database for example.
    connection: Mutex<Option<PgConnection>>,
}

impl BrokerLock {
    /// Takes the lock; none if another process has it.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn take(url: &str) -> Result<Option<Self>, sqlx::Error> {
        Ok(acquire(url).await?.map(|connection| Self {
            url: url.to_owned(),
            connection: Mutex::new(Some(connection)),
        }))
    }

    /// Whether the lock is still held, taking it again if its connection was lost.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the lock may be lost; the next call takes it again.
    pub async fn is_held(&self) -> bool {
        let mut slot = self.connection.lock().await;
        // Out of its place meanwhile: one that does not answer is closed.
        if let Some(mut connection) = slot.take()
            && let Ok(Ok(())) = timeout(ANSWER_TIMEOUT, connection.ping()).await
        {
            *slot = Some(connection);
        } else if let Ok(Ok(taken)) = timeout(ANSWER_TIMEOUT, acquire(&self.url)).await {
            *slot = taken;
        }
        slot.is_some()
    }
}

async fn acquire(url: &str) -> Result<Option<PgConnection>, sqlx::Error> {
    let mut connection = PgConnection::connect(url).await?;
    let (alone,): (bool,) = sqlx::query_as("SELECT pg_try_advisory_lock($1)")
        .bind(LOCK)
        .fetch_one(&mut connection)
        .await?;
    Ok(alone.then_some(connection))
}
