//! Writing events in the caller's transaction.

use std::collections::HashSet;
use std::future::Future;

use crate::error::Error;
use crate::event::{EVENT_BYTES_MAX, Event};

#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

#[cfg(feature = "postgres")]
pub use postgres::{
    APPEND_SQL as POSTGRES_APPEND_SQL, APPEND_WITH_KEYS_SQL as POSTGRES_APPEND_WITH_KEYS_SQL,
};
#[cfg(feature = "sqlite")]
pub use sqlite::{APPEND_KEYS_SQL as SQLITE_APPEND_KEYS_SQL, APPEND_SQL as SQLITE_APPEND_SQL};

/// Rows in one statement; more events take more statements of the same transaction.
const CHUNK_ROWS_MAX: usize = 1_000;

/// Bytes in one statement, so that a chunk of large events does not take a gigabyte.
const CHUNK_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A connection that events can be written on: sqlx's `PgConnection` and `SqliteConnection`,
/// and so whatever dereferences to one (`&mut *tx` of a transaction, a pooled connection).
pub trait Connection: sealed::Sealed + Send {}

pub(crate) mod sealed {
    use super::{Error, Event, Future};

    #[expect(unnameable_types, reason = "a sealed trait has no public path")]
    pub trait Sealed {
        /// Writes one chunk; events with an idempotency key only if `keys`.
        fn write(
            &mut self,
            events: &[&Event],
            keys: bool,
        ) -> impl Future<Output = Result<u64, Error>> + Send;

        /// Serialises the writers of these (topic, key) pairs until the transaction ends.
        fn lock(&mut self, keys: &[(&str, &str)])
        -> impl Future<Output = Result<(), Error>> + Send;
    }
}

/// Writes one event on the caller's connection; it is published exactly if the caller commits.
///
/// Returns how many were written: 1, or 0 when the event's idempotency key was used before.
/// After the commit, [`Waker::wake`](crate::Waker::wake) spares the relay its poll.
///
/// # Errors
/// [`Error::refusal`] when the event breaks a limit; then nothing was sent to the database.
/// [`Error::is_database`] when the statement failed; a Postgres transaction is aborted then.
///
/// # Cancel safety
/// Dropping the future leaves it open whether the row is in the transaction: roll it back.
///
/// # Examples
/// ```
/// # #[cfg(feature = "sqlite")]
/// # async fn doc(pool: &sqlx::SqlitePool) -> Result<(), Box<dyn std::error::Error>> {
/// use swifttrack_outbox::{Event, append};
///
/// let mut tx = pool.begin().await?;
/// sqlx::query("UPDATE orders SET state = 'VERIFIED' WHERE id = 'ORD-001'").execute(&mut *tx).await?;
/// append(&mut *tx, &Event::new("order-events", "ORD-001", "CMS_VERIFIED", b"{}".to_vec())).await?;
/// tx.commit().await?; // both, or neither
/// # Ok(()) }
/// ```
pub async fn append<C: Connection>(conn: &mut C, event: &Event) -> Result<u64, Error> {
    Appender::new()
        .append_batch(conn, std::slice::from_ref(event))
        .await
}

/// Writes many events in their order, in one statement for each thousand.
///
/// Returns how many were written; fewer than given only where idempotency keys were used
/// before. All are checked before the first is written.
///
/// # Errors
/// As [`append`].
///
/// # Cancel safety
/// As [`append`].
pub async fn append_batch<C: Connection>(conn: &mut C, events: &[Event]) -> Result<u64, Error> {
    Appender::new().append_batch(conn, events).await
}

/// As [`append_batch`], for writers that nothing else serialises: it first takes a lock on each
/// key until the transaction ends, so that the order of commits is the order of the events.
///
/// Writers that hold a row lock on what the key names, or check its version, do not need it.
/// The locks are taken in one order, so two batches cannot deadlock on them; one connection
/// should call it once in a transaction. On SQLite writers are serialised anyway.
///
/// # Errors
/// As [`append`].
///
/// # Cancel safety
/// As [`append`].
pub async fn append_ordered<C: Connection>(conn: &mut C, events: &[Event]) -> Result<u64, Error> {
    Appender::new().append_ordered(conn, events).await
}

/// [`append_batch`] with limits of its own, for brokers that were told to take more.
///
/// # Defaults
/// `event_bytes_max` is [`EVENT_BYTES_MAX`].
#[derive(Clone, Copy, Debug)]
pub struct Appender {
    event_bytes_max: usize,
}

impl Default for Appender {
    fn default() -> Self {
        Self::new()
    }
}

impl Appender {
    /// The defaults.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            event_bytes_max: EVENT_BYTES_MAX,
        }
    }

    /// The largest event in bytes, headers included. The broker's and the topic's
    /// `max.message.bytes` and the publisher's `message.max.bytes` must allow it.
    #[must_use]
    pub const fn event_bytes_max(mut self, bytes: usize) -> Self {
        self.event_bytes_max = bytes;
        self
    }

    /// As the function [`append_batch`].
    ///
    /// # Errors
    /// As [`append`].
    ///
    /// # Cancel safety
    /// As [`append`].
    pub async fn append_batch<C: Connection>(
        &self,
        conn: &mut C,
        events: &[Event],
    ) -> Result<u64, Error> {
        for event in events {
            event.check(self.event_bytes_max)?;
        }
        let mut written = 0;
        for chunk in Chunks::of(events) {
            written += conn.write(&chunk.events, chunk.keys).await?;
        }
        metrics::counter!("outbox_appended_total").increment(written);
        Ok(written)
    }

    /// As the function [`append_ordered`].
    ///
    /// # Errors
    /// As [`append`].
    ///
    /// # Cancel safety
    /// As [`append`].
    pub async fn append_ordered<C: Connection>(
        &self,
        conn: &mut C,
        events: &[Event],
    ) -> Result<u64, Error> {
        for event in events {
            event.check(self.event_bytes_max)?;
        }
        let mut keys: Vec<_> = events.iter().map(|e| (e.topic(), e.key())).collect();
        keys.sort_unstable();
        keys.dedup();
        conn.lock(&keys).await?;
        self.append_batch(conn, events).await
    }
}

/// One statement's worth.
struct Chunk<'a> {
    events: Vec<&'a Event>,
    keys: bool,
}

/// Cuts a batch by rows and bytes, and drops the second use of an idempotency key in it.
struct Chunks<'a> {
    rest: std::slice::Iter<'a, Event>,
    held: Option<&'a Event>,
    seen: HashSet<&'a str>,
}

impl<'a> Chunks<'a> {
    fn of(events: &'a [Event]) -> Self {
        Self {
            rest: events.iter(),
            held: None,
            seen: HashSet::new(),
        }
    }

    fn next_event(&mut self) -> Option<&'a Event> {
        if let Some(event) = self.held.take() {
            return Some(event);
        }
        loop {
            let event = self.rest.next()?;
            match &event.idempotency_key {
                Some(key) if !self.seen.insert(key) => {}
                _ => return Some(event),
            }
        }
    }
}

impl<'a> Iterator for Chunks<'a> {
    type Item = Chunk<'a>;

    fn next(&mut self) -> Option<Chunk<'a>> {
        let mut chunk = Chunk {
            events: Vec::new(),
            keys: false,
        };
        let mut bytes = 0;
        while chunk.events.len() < CHUNK_ROWS_MAX {
            let Some(event) = self.next_event() else {
                break;
            };
            bytes += event.bytes();
            if bytes > CHUNK_BYTES_MAX && !chunk.events.is_empty() {
                self.held = Some(event);
                break;
            }
            chunk.keys |= event.idempotency_key.is_some();
            chunk.events.push(event);
        }
        (!chunk.events.is_empty()).then_some(chunk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(events: &[Event]) -> Vec<usize> {
        Chunks::of(events).map(|c| c.events.len()).collect()
    }

    #[test]
    fn a_batch_is_cut_by_rows_and_by_bytes() {
        let small = Event::new("t", "k", "T", b"x".to_vec());
        assert_eq!(
            sizes(&vec![small.clone(); CHUNK_ROWS_MAX]),
            [CHUNK_ROWS_MAX]
        );
        assert_eq!(sizes(&vec![small; CHUNK_ROWS_MAX + 1]), [CHUNK_ROWS_MAX, 1]);
        let large = Event::new("t", "k", "T", vec![0; CHUNK_BYTES_MAX / 2]);
        assert_eq!(sizes(&vec![large; 3]), [1, 1, 1]);
        assert!(sizes(&[]).is_empty());
    }

    #[test]
    fn a_key_used_twice_in_a_batch_counts_once() {
        let event = |key: &str| Event::new("t", "k", "T", vec![]).idempotency_key(key);
        assert_eq!(sizes(&[event("a"), event("b"), event("a")]), [2]);
    }
}
