//! What an operator, a health check and a plot ask of an outbox.

use std::time::{Duration, SystemTime};

use uuid::Uuid;

use crate::db::Database;
use crate::error::Error;

/// How much waits to be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backlog {
    /// Committed rows that are not known to be published; at most 1,000,000 are counted.
    pub rows: u64,
    /// Age of the oldest of them, by the database's clock; zero when there is none.
    pub oldest_age: Duration,
}

/// A row that the broker refused for itself.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DeadEvent {
    /// Its number in the outbox, by which the verbs take it.
    pub seq: i64,
    /// The event's id.
    pub id: Uuid,
    /// Where it was to go.
    pub topic: String,
    /// Its key.
    pub key: String,
    /// Its type.
    pub event_type: String,
    /// What the broker said.
    pub reason: String,
    /// Later events of the key wait for it.
    pub blocks: bool,
    /// Its replay was asked for and is not done yet.
    pub replaying: bool,
    /// When it was moved here.
    pub died_at: SystemTime,
}

/// A key that publishes nothing until its dead event is replayed or dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlockedKey {
    /// The topic.
    pub topic: String,
    /// The key.
    pub key: String,
    /// The dead event that blocks it.
    pub seq: i64,
    /// Rows that wait behind it; at most 1,000 are counted.
    pub waiting: u64,
}

/// Who publishes a slot's events.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlotOwner {
    /// 0 to 63.
    pub slot: u8,
    /// How often it changed hands.
    pub epoch: i64,
    /// The relay that holds it, by the name it was given; none: it is free.
    pub relay: Option<String>,
    /// The lease's rest by the database's clock; zero when it has run out.
    pub lease: Duration,
}

const LIST_MAX: u32 = 1_000;

/// Rows that wait and the age of the oldest: what a health check compares with its limits.
///
/// # Errors
/// [`Error::is_database`].
///
/// # Cancel safety
/// It only reads.
pub async fn backlog(database: impl Into<Database>) -> Result<Backlog, Error> {
    database.into().store.backlog().await
}

/// Dead events past `after`, oldest first, at most `limit` (and 1,000) of them.
///
/// # Errors
/// [`Error::is_database`].
///
/// # Cancel safety
/// It only reads.
pub async fn dead_events(
    database: impl Into<Database>,
    after: i64,
    limit: u32,
) -> Result<Vec<DeadEvent>, Error> {
    database.into().store.dead(after, limit.min(LIST_MAX)).await
}

/// How many dead events there are.
///
/// # Errors
/// [`Error::is_database`].
///
/// # Cancel safety
/// It only reads.
pub async fn dead_count(database: impl Into<Database>) -> Result<u64, Error> {
    database.into().store.dead_count().await
}

/// Asks the relay that owns the event's slot to publish it again. Only when the broker has
/// acknowledged it is the dead row deleted and its key released, so the order stands. False:
/// there is no such event.
///
/// # Errors
/// [`Error::is_database`].
///
/// # Cancel safety
/// One statement; dropping the future leaves it open whether it took effect.
pub async fn replay(database: impl Into<Database>, seq: i64) -> Result<bool, Error> {
    database.into().store.replay(seq).await
}

/// Gives a dead event up: it is deleted and its key goes on without it. False: there is no such
/// event, or its replay has been asked for.
///
/// # Errors
/// [`Error::is_database`].
///
/// # Cancel safety
/// One statement; dropping the future leaves it open whether it took effect.
pub async fn drop_dead(database: impl Into<Database>, seq: i64) -> Result<bool, Error> {
    database.into().store.drop_dead(seq).await
}

/// Keys that are blocked, at most `limit` (and 1,000) of them.
///
/// # Errors
/// [`Error::is_database`].
///
/// # Cancel safety
/// It only reads.
pub async fn blocked_keys(
    database: impl Into<Database>,
    limit: u32,
) -> Result<Vec<BlockedKey>, Error> {
    database.into().store.blocked(limit.min(LIST_MAX)).await
}

/// All 64 slots and their owners.
///
/// # Errors
/// [`Error::is_database`].
///
/// # Cancel safety
/// It only reads.
pub async fn slot_owners(database: impl Into<Database>) -> Result<Vec<SlotOwner>, Error> {
    database.into().store.slots().await
}

/// What [`expire`] forgets.
///
/// # Defaults
/// Idempotency keys are kept for 24 hours, inbox ids for 7 days.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    keys: Duration,
    inbox: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self::new()
    }
}

impl Retention {
    /// The defaults.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            keys: Duration::from_secs(24 * 3_600),
            inbox: Duration::from_secs(7 * 24 * 3_600),
        }
    }

    /// How long an idempotency key is honoured.
    #[must_use]
    pub const fn keys(mut self, age: Duration) -> Self {
        self.keys = age;
        self
    }

    /// How long a consumer remembers an event's id: longer than anything may be delivered
    /// again.
    #[must_use]
    pub const fn inbox(mut self, age: Duration) -> Self {
        self.inbox = age;
        self
    }
}

/// Rows that one call of [`expire`] deletes from a table at the most.
pub const EXPIRE_ROWS_MAX: u32 = 5_000;

/// Deletes idempotency keys and inbox ids that are older than they need to be, at most
/// [`EXPIRE_ROWS_MAX`] from each table, and says how many. Call it again while that is many. A
/// relay does it by itself once a minute.
///
/// # Errors
/// [`Error::is_database`].
///
/// # Cancel safety
/// Each statement is whole by itself.
pub async fn expire(database: impl Into<Database>, retention: Retention) -> Result<u64, Error> {
    database
        .into()
        .store
        .expire(retention.keys, retention.inbox, EXPIRE_ROWS_MAX)
        .await
}
