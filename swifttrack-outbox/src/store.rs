//! The line between the relay and SQL: what a relay asks of a database.

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use crate::error::Error;
use crate::ops::{Backlog, BlockedKey, DeadEvent, SlotOwner};
use crate::relay::row::Row;

#[cfg(feature = "postgres")]
pub(crate) mod postgres;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;
#[cfg(test)]
#[cfg(all(feature = "postgres", feature = "sqlite"))]
mod tests;

/// Version of the tables that this build makes.
pub(crate) const SCHEMA_VERSION: i64 = 1;

/// The most rows that [`Store::backlog`] counts; beyond, the answer says "at least".
pub(crate) const BACKLOG_COUNT_MAX: i64 = 1_000_000;

/// What was visible at one moment: the relay's cursor. It means nothing on another connection
/// than the one that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    #[cfg(feature = "postgres")]
    Snapshot(postgres::Snapshot),
    #[cfg(feature = "sqlite")]
    Seq(i64),
}

/// A question of the relay's reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Read<P> {
    /// Where are we? The first question on a connection.
    Begin,
    /// A page of rows that were visible at `at`, past `after`, without those of `paused`
    /// topics and blocked keys.
    Backlog {
        slots: Vec<u8>,
        paused: Vec<String>,
        at: P,
        after: i64,
    },
    /// What became visible since `since`: the first page, and where that leads.
    New { slots: Vec<u8>, since: P },
    /// A further page of what became visible from `since` to `to`.
    More {
        slots: Vec<u8>,
        since: P,
        to: P,
        after: i64,
    },
}

/// How much one answer may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageLimit {
    pub(crate) rows: u32,
    pub(crate) bytes: u64,
}

/// The answer: rows by `seq`.
#[derive(Clone, Debug)]
pub(crate) struct Page<P> {
    pub(crate) rows: Vec<Row>,
    /// There may be further rows after the last one of these.
    pub(crate) more: bool,
    /// Of `Begin` and `New`: where the cursor stands after this.
    pub(crate) to: Option<P>,
}

/// Who a relay is, to its database.
#[derive(Clone, Debug)]
pub(crate) struct Lessee {
    /// One life of its lease.
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) fencing: &'static str,
    pub(crate) ttl: Duration,
    /// Slots are taken in groups of this many.
    pub(crate) unit: u8,
}

/// What a relay holds after a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holding {
    /// All slots of this relay with their epochs.
    pub(crate) slots: Vec<(u8, i64)>,
    /// Relays that live, this one included.
    pub(crate) relays: u32,
    /// Keys that may not be published, of these slots.
    pub(crate) blocked: Vec<(String, String)>,
    /// Dead rows of these slots that are to be published again.
    pub(crate) replays: Vec<Row>,
}

/// A row to be moved to the dead ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Burial {
    pub(crate) seq: i64,
    pub(crate) slot: u8,
    pub(crate) epoch: i64,
    pub(crate) reason: String,
    pub(crate) blocks: bool,
    /// Topic and key, for the relay that asked.
    pub(crate) key: (std::sync::Arc<str>, String),
}

/// One database.
#[async_trait]
pub(crate) trait Store: Send + Sync + 'static {
    fn name(&self) -> &'static str;
    async fn migrate(&self) -> Result<(), Error>;
    /// Fails when a live relay uses another kind of fencing.
    async fn check_fencing(&self, fencing: &str) -> Result<(), Error>;
    async fn identity(&self) -> Result<Uuid, Error>;
    /// `only`: a snapshot, of whose rows nothing else is read.
    async fn reader(&self, only: Option<&str>) -> Result<Box<dyn Reader>, Error>;
    async fn writer(&self) -> Result<Box<dyn Writer>, Error>;
    async fn keeper(&self, ttl: Duration) -> Result<Box<dyn Keeper>, Error>;

    async fn backlog(&self) -> Result<Backlog, Error>;
    async fn dead(&self, after: i64, limit: u32) -> Result<Vec<DeadEvent>, Error>;
    async fn dead_count(&self) -> Result<u64, Error>;
    async fn replay(&self, seq: i64) -> Result<bool, Error>;
    async fn drop_dead(&self, seq: i64) -> Result<bool, Error>;
    async fn blocked(&self, limit: u32) -> Result<Vec<BlockedKey>, Error>;
    async fn slots(&self) -> Result<Vec<SlotOwner>, Error>;
    async fn expire(&self, keys: Duration, inbox: Duration, limit: u32) -> Result<u64, Error>;
}

/// A connection that reads; the cursor's life.
#[async_trait]
pub(crate) trait Reader: Send {
    async fn read(
        &mut self,
        read: &Read<Position>,
        limit: PageLimit,
    ) -> Result<Page<Position>, Error>;
}

/// A connection that takes published rows away.
#[async_trait]
pub(crate) trait Writer: Send {
    /// Deletes rows of `outbox` and of the replayed dead.
    async fn delete(&mut self, seqs: &[i64]) -> Result<(), Error>;
    /// Deletes dead rows that were published again, which releases their keys.
    async fn delete_dead(&mut self, seqs: &[i64]) -> Result<(), Error>;
    /// Deletes those of (seq, end of id) that are still there, the dead ones that were published
    /// again too; used when a marker told that they were published.
    async fn delete_marked(&mut self, rows: &[(i64, u32)]) -> Result<(), Error>;
    /// Moves a row if the epoch still stands; false if it does not.
    async fn bury(&mut self, owner: Uuid, burial: &Burial) -> Result<bool, Error>;
}

/// A connection that keeps the lease.
#[async_trait]
pub(crate) trait Keeper: Send {
    /// Registers or renews, takes free slots up to the fair share, tells what is held. None:
    /// this life of the lease has ended.
    async fn keep(&mut self, me: &Lessee, first: bool) -> Result<Option<Holding>, Error>;
    /// Gives slots back.
    async fn release(&mut self, owner: Uuid, slots: &[u8]) -> Result<(), Error>;
    /// Ends this life: all slots are free.
    async fn leave(&mut self, owner: Uuid) -> Result<(), Error>;
}

/// All relays of an outbox must agree on what fences them.
pub(crate) fn one_fencing(mine: &str, other: Option<String>) -> Result<(), Error> {
    match other {
        Some(other) => Err(Error::config(format!(
            "a relay that runs on this outbox uses the fencing {other}, this one {mine}"
        ))),
        None => Ok(()),
    }
}

/// A moment from milliseconds of the Unix epoch.
pub(crate) fn time_of(ms: i64) -> std::time::SystemTime {
    std::time::UNIX_EPOCH + Duration::from_millis(ms.max(0) as u64)
}

/// Of the rows of a marker, those that are really the ones that were published: a database
/// that was restored from a backup gives numbers out again.
pub(crate) fn marked(marker: &[(i64, u32)], there: &[(i64, Uuid)]) -> Vec<i64> {
    let marker: std::collections::HashSet<_> = marker.iter().copied().collect();
    there
        .iter()
        .filter(|(seq, id)| marker.contains(&(*seq, id_mark(*id))))
        .map(|(seq, _)| *seq)
        .collect()
}

/// The random end of an id, by which a marker tells a row from another of the same number.
pub(crate) fn id_mark(id: Uuid) -> u32 {
    let bytes = id.as_bytes();
    u32::from_be_bytes([bytes[12], bytes[13], bytes[14], bytes[15]])
}

/// Blocked keys that a heartbeat reads: more than 64 relays can make, since each stops at
/// `BLOCKED_KEYS_MAX` of its own.
pub(crate) const BLOCKED_MAX: i64 = 1_000_000;

/// Dead rows that are published again between two heartbeats.
pub(crate) const REPLAYS_MAX: i64 = 100;

/// How many units of slots each of so many relays may hold.
pub(crate) fn share(relays: u32, unit: u8) -> u32 {
    let units = u32::from(crate::slot::SLOTS / unit);
    units.div_ceil(relays.max(1))
}
