//! Where sagas live: what the engine asks of a database.
//!
//! A store keeps rows and fences; it decides nothing. What a row means is the
//! business of the core, what to do next that of the engine.

#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod batch;
pub mod memory;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod schema;
#[cfg(feature = "sqlite")]
pub mod sqlite;
mod types;
#[cfg(all(
    test,
    feature = "conformance",
    any(feature = "postgres", feature = "sqlite")
))]
mod words_test;

use std::any::Any;

use async_trait::async_trait;

pub use self::types::{
    Alive, Change, Command, Found, Head, Journal, Listed, Loaded, NewSaga, Outcome, Page, Request,
    Row, Shape, ShardLease, Sighting, SignalOutcome, Standing, StoreError, StoredSignal, Survey,
    Timestamp, WorkerId,
};

/// A database that keeps sagas.
///
/// # Laws
///
/// 1. [`commit`](Self::commit) is one transaction: every change that is
///    [`Outcome::Committed`] and everything its hook wrote is durable together, or
///    none of it is. A change whose `seq` or `ctl` moved, or whose shard is no
///    longer owned at that epoch, changes nothing and does not fail the others.
/// 2. Times are the database's: leases and `wake_at` are compared with its clock only.
/// 3. A takeover raises the shard's epoch in a transaction that waits for every
///    flush that had checked the old one.
/// 4. A start is arbitrated by `(definition, id)`: the same input twice is one saga,
///    another input is [`Outcome::Exists`] with `same_input: false`.
/// 5. A request or a signal that was accepted is found by the owner: it sets `wake_at` to
///    now and raises `ctl`, so that the owner's next commit conflicts instead of writing
///    over a `wake_at` that it has not seen.
/// 6. The shape of a definition is kept as it was first seen, and is never replaced.
#[async_trait]
pub trait Store: Any + Send + Sync {
    /// Returns, in the same order, what is kept of each definition: the text that was there
    /// before, or else its own, which is kept from now on if `keep` says so.
    async fn describe(&self, shapes: &[Shape], keep: bool) -> Result<Vec<String>, StoreError>;

    /// Adds this process's row and returns the database's time.
    async fn register(
        &self,
        worker: WorkerId,
        definitions: &[(String, u32)],
        lease: std::time::Duration,
    ) -> Result<Timestamp, StoreError>;

    /// Renews the row. [`StoreError::is_fenced`] when it is gone or has expired.
    async fn heartbeat(
        &self,
        worker: WorkerId,
        lease: std::time::Duration,
    ) -> Result<Timestamp, StoreError>;

    /// Who lives and who holds what, for the fair share. One read.
    async fn survey(&self, groups: &[String]) -> Result<Survey, StoreError>;

    /// Takes up to `max` shards of `group` whose owner is none or has expired, epoch + 1.
    /// An expired owner's row counts as an unclean end for the sagas that had a step in flight.
    async fn claim(
        &self,
        worker: WorkerId,
        group: &str,
        max: u32,
    ) -> Result<Vec<ShardLease>, StoreError>;

    /// Raises the epoch of shards that this worker owns: the way out of an ambiguous commit.
    async fn reclaim(
        &self,
        worker: WorkerId,
        shards: &[ShardLease],
    ) -> Result<Vec<ShardLease>, StoreError>;

    /// Gives shards back cleanly.
    async fn release(&self, worker: WorkerId, shards: &[ShardLease]) -> Result<(), StoreError>;

    /// Ends the worker's row; what it still owned is free.
    async fn deregister(&self, worker: WorkerId) -> Result<(), StoreError>;

    /// The sagas of a shard that wait for nothing (`wake_at IS NULL`), by id, after `after`.
    async fn load_active(
        &self,
        group: &str,
        shard: u16,
        after: Option<uuid::Uuid>,
        limit: u32,
    ) -> Result<Vec<Loaded>, StoreError>;

    /// The sagas of these shards that are due (`wake_at <= now()`), oldest first. One
    /// statement whatever the number of groups: this is all that an idle worker sends.
    async fn load_due(&self, shards: &[ShardLease], limit: u32) -> Result<Vec<Loaded>, StoreError>;

    /// Sagas by id, whatever they wait for; those that have ended are left out.
    async fn load(&self, sagas: &[uuid::Uuid]) -> Result<Vec<Loaded>, StoreError>;

    /// Commits changes; the outcomes are in the order of `changes`. Changes are sorted by
    /// saga and no saga stands twice.
    ///
    /// # Errors
    ///
    /// [`StoreError::is_ambiguous`] when the connection was lost during COMMIT: the engine
    /// must reclaim its shards and read back. Any other error means that nothing happened;
    /// [`StoreError::is_retriable`] says that halves may succeed.
    async fn commit(
        &self,
        worker: WorkerId,
        changes: &[Change],
    ) -> Result<Vec<Outcome>, StoreError>;

    /// Whether somebody reads [`Change::transitions`]. If not, they are left out.
    fn has_hook(&self) -> bool {
        true
    }

    /// Asks the owner of a running saga for something (cancel, pause, an operator's verb).
    /// One statement: accepted is a promise.
    async fn request(&self, request: Request) -> Result<Sighting, StoreError>;

    /// Puts a signal into the saga's inbox; the same `dedupe` key twice is one signal.
    async fn signal(&self, signal: StoredSignal) -> Result<SignalOutcome, StoreError>;

    /// Finds a saga by its own id, running or ended.
    async fn find(&self, definition: &str, id: &str) -> Result<Option<Found>, StoreError>;

    /// Lists running sagas by keyset, oldest first.
    async fn list(&self, page: Page) -> Result<Vec<Listed>, StoreError>;

    /// A saga's journal after `seq`.
    async fn history(
        &self,
        saga: uuid::Uuid,
        after: u32,
        limit: u32,
    ) -> Result<Vec<Row>, StoreError>;

    /// Blanks the payloads of a saga that has ended, those of its signals too: each is then
    /// absent. Facts, times and the key stay. False, and nothing done, while it runs.
    async fn erase(&self, saga: uuid::Uuid) -> Result<bool, StoreError>;

    /// Deletes up to `limit` ended sagas whose end is older than `age`: journal and key.
    async fn prune(&self, age: std::time::Duration, limit: u32) -> Result<u64, StoreError>;
}
