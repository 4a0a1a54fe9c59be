//! The consumer's side: handling an event twice has the effect of handling it once.

use std::fmt;

use uuid::Uuid;

use crate::error::Error;

#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

/// Ids in one statement; more take more statements of the same transaction.
const CHUNK_IDS_MAX: usize = 5_000;

/// Whether an event was handled now or before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Once<T> {
    /// The handler ran, and this is what it returned.
    Handled(T),
    /// It was handled before; the handler did not run.
    Repeated,
}

/// Where a consumer group stands in a partition: the next offset that it has not handled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The cluster's id: offsets of another cluster mean nothing.
    pub cluster: String,
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The next offset.
    pub next: i64,
}

/// Remembers which events a consumer has handled, in the consumer's own transaction.
///
/// The ids are inserted before the handler runs, in one round trip for a whole batch; what the
/// statement returns is new. A concurrent duplicate waits for the first transaction and then
/// finds its id. The handler's effects, the ids and the offsets commit together.
///
/// Ids are forgotten after 7 days by default (see [`expire`](crate::expire)), offsets never.
///
/// # Examples
/// ```
/// # #[cfg(feature = "sqlite")]
/// # async fn doc(pool: &sqlx::SqlitePool, id: uuid::Uuid) -> Result<(), Box<dyn std::error::Error>> {
/// use swifttrack_outbox::Inbox;
///
/// let inbox = Inbox::new("billing");
/// let mut tx = pool.begin().await?;
/// if inbox.is_new(&mut *tx, id).await? {
///     sqlx::query("INSERT INTO invoices (order_id) VALUES ('ORD-1')").execute(&mut *tx).await?;
/// }
/// tx.commit().await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Inbox {
    consumer: String,
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Inbox").field(&self.consumer).finish()
    }
}

/// A connection that an inbox works on: sqlx's `PgConnection` and `SqliteConnection`.
pub trait InboxConnection: sealed::Sealed + Send {}

pub(crate) mod sealed {
    use std::future::Future;

    use uuid::Uuid;

    use super::{Error, Progress};

    #[expect(unnameable_types, reason = "a sealed trait has no public path")]
    pub trait Sealed {
        fn take(
            &mut self,
            consumer: &str,
            ids: &[Uuid],
        ) -> impl Future<Output = Result<Vec<Uuid>, Error>> + Send;

        fn write(
            &mut self,
            consumer: &str,
            progress: &[Progress],
        ) -> impl Future<Output = Result<(), Error>> + Send;

        fn read(
            &mut self,
            consumer: &str,
            topic: &str,
        ) -> impl Future<Output = Result<Vec<Progress>, Error>> + Send;
    }
}

impl Inbox {
    /// The inbox of one consumer: usually its group's id.
    #[must_use]
    pub fn new(consumer: impl Into<String>) -> Self {
        Self {
            consumer: consumer.into(),
        }
    }

    /// The consumer's name.
    #[must_use]
    pub fn consumer(&self) -> &str {
        &self.consumer
    }

    /// Remembers the id; false if it was remembered before.
    ///
    /// # Errors
    /// [`Error::is_database`]. Under REPEATABLE READ and above Postgres may answer 40001, which
    /// is to be tried again.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it open whether the id is in the transaction: roll it back.
    pub async fn is_new<C: InboxConnection>(&self, conn: &mut C, id: Uuid) -> Result<bool, Error> {
        Ok(!self.new_ones(conn, &[id]).await?.is_empty())
    }

    /// Remembers all of these ids in one round trip and returns those that are new, each once,
    /// in the order in which they were given.
    ///
    /// # Errors
    /// As [`is_new`](Self::is_new).
    ///
    /// # Cancel safety
    /// As [`is_new`](Self::is_new).
    pub async fn new_ones<C: InboxConnection>(
        &self,
        conn: &mut C,
        ids: &[Uuid],
    ) -> Result<Vec<Uuid>, Error> {
        // Sorted, so that two consumers with the same ids wait for each other in one order.
        let mut sorted = ids.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let mut fresh = std::collections::HashSet::new();
        for chunk in sorted.chunks(CHUNK_IDS_MAX) {
            fresh.extend(conn.take(&self.consumer, chunk).await?);
        }
        // `remove`, so that a second occurrence in the batch is a repeat.
        Ok(ids.iter().copied().filter(|id| fresh.remove(id)).collect())
    }

    /// Runs `handle` if the id is new, on the same connection.
    ///
    /// # Errors
    /// What `handle` returned, or [`is_new`](Self::is_new)'s errors made into it. The caller
    /// rolls back then, and the id is forgotten with the effects.
    ///
    /// # Cancel safety
    /// As [`is_new`](Self::is_new).
    pub async fn process_once<C, T, E, F>(
        &self,
        conn: &mut C,
        id: Uuid,
        handle: F,
    ) -> Result<Once<T>, E>
    where
        C: InboxConnection,
        E: From<Error>,
        F: AsyncFnOnce(&mut C) -> Result<T, E>,
    {
        if !self.is_new(conn, id).await? {
            return Ok(Once::Repeated);
        }
        Ok(Once::Handled(handle(conn).await?))
    }

    /// Runs `handle` once with the new ones of a polled batch, then stores how far the group
    /// has come. One round trip finds the new ones, one stores all offsets.
    ///
    /// `id_of` tells a message's event id: the header `id`.
    ///
    /// # Errors
    /// As [`process_once`](Self::process_once). A batch that fails is rolled back by the caller
    /// and handled message by message, so that one bad message does not stop the others.
    ///
    /// # Cancel safety
    /// As [`is_new`](Self::is_new).
    pub async fn process_batch<C, M, E, F>(
        &self,
        conn: &mut C,
        messages: &[M],
        id_of: impl Fn(&M) -> Uuid,
        progress: &[Progress],
        handle: F,
    ) -> Result<usize, E>
    where
        C: InboxConnection,
        E: From<Error>,
        F: AsyncFnOnce(&mut C, Vec<&M>) -> Result<(), E>,
    {
        let ids: Vec<Uuid> = messages.iter().map(&id_of).collect();
        let fresh = self.new_ones(conn, &ids).await?;
        let mut left: std::collections::HashSet<Uuid> = fresh.into_iter().collect();
        let fresh: Vec<&M> = messages
            .iter()
            .filter(|message| left.remove(&id_of(message)))
            .collect();
        let count = fresh.len();
        if count > 0 {
            handle(conn, fresh).await?;
        }
        self.store(conn, progress).await?;
        Ok(count)
    }

    /// Stores how far the group has come; an offset never goes back.
    ///
    /// # Errors
    /// [`Error::is_database`].
    ///
    /// # Cancel safety
    /// As [`is_new`](Self::is_new).
    pub async fn store<C: InboxConnection>(
        &self,
        conn: &mut C,
        progress: &[Progress],
    ) -> Result<(), Error> {
        if progress.is_empty() {
            return Ok(());
        }
        conn.write(&self.consumer, progress).await
    }

    /// How far the group has come in a topic.
    ///
    /// # Errors
    /// [`Error::is_database`].
    ///
    /// # Cancel safety
    /// It only reads.
    pub async fn progress<C: InboxConnection>(
        &self,
        conn: &mut C,
        topic: &str,
    ) -> Result<Vec<Progress>, Error> {
        conn.read(&self.consumer, topic).await
    }
}
