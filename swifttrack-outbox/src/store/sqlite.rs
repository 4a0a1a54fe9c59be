//! The outbox on SQLite.
//!
//! There is one writer at a time, so the order of `seq` is the order of commits, and the
//! reader's cursor is the last `seq` that it saw. All writes go through the application's pool.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqlitePool};

use super::{BACKLOG_COUNT_MAX, Keeper, Reader, SCHEMA_VERSION, Store, Writer};
use uuid::Uuid;

use crate::error::{Doing, Error, Kind};
use crate::ops::{Backlog, BlockedKey, DeadEvent, SlotOwner};
use crate::relay::row::{Row, Shared};

mod keeper;
mod reader;
mod writer;

const MIGRATIONS: [&str; SCHEMA_VERSION as usize] = [include_str!("../migrations/sqlite_1.sql")];

/// The clock of SQLite, in milliseconds of the Unix epoch.
macro_rules! now {
    () => {
        "CAST(unixepoch('subsec') * 1000 AS INTEGER)"
    };
}
pub(crate) use now;

#[derive(Debug)]
pub(crate) struct SqliteStore {
    writer: SqlitePool,
    reader: SqlitePool,
}

impl SqliteStore {
    pub(crate) fn new(writer: SqlitePool, reader: SqlitePool) -> Self {
        Self { writer, reader }
    }
}

#[async_trait]
impl Store for SqliteStore {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    async fn migrate(&self) -> Result<(), Error> {
        let mut tx = self
            .writer
            .begin_with("BEGIN IMMEDIATE")
            .await
            .doing("beginning to migrate")?;
        sqlx::raw_sql(concat!(
            "CREATE TABLE IF NOT EXISTS outbox_schema (version INTEGER PRIMARY KEY, at INTEGER NOT NULL DEFAULT (",
            now!(),
            "))"
        ))
        .execute(&mut *tx)
        .await
        .doing("creating outbox_schema")?;
        let found: i64 = sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM outbox_schema")
            .fetch_one(&mut *tx)
            .await
            .doing("reading outbox_schema")?;
        if found > SCHEMA_VERSION {
            return Err(Kind::Newer {
                found,
                known: SCHEMA_VERSION,
            }
            .into());
        }
        for (version, sql) in (1_i64..).zip(MIGRATIONS).skip(found as usize) {
            sqlx::raw_sql(sql)
                .execute(&mut *tx)
                .await
                .doing("migrating")?;
            sqlx::query("INSERT INTO outbox_schema (version) VALUES (?1)")
                .bind(version)
                .execute(&mut *tx)
                .await
                .doing("writing outbox_schema")?;
        }
        tx.commit().await.doing("committing the migration")
    }

    async fn check_fencing(&self, fencing: &str) -> Result<(), Error> {
        let other: Option<String> = sqlx::query_scalar(concat!(
            "SELECT fencing FROM outbox_relay WHERE lease_until > ",
            now!(),
            " AND fencing <> ?1 LIMIT 1"
        ))
        .bind(fencing)
        .fetch_optional(&self.reader)
        .await
        .doing("looking at the other relays")?;
        super::one_fencing(fencing, other)
    }

    async fn identity(&self) -> Result<Uuid, Error> {
        sqlx::query_scalar("SELECT id FROM outbox_identity")
            .fetch_one(&self.reader)
            .await
            .doing("reading the outbox's identity")
    }

    async fn reader(&self, only: Option<&str>) -> Result<Box<dyn Reader>, Error> {
        if only.is_some() {
            return Err(Error::config("SQLite has no snapshots to drain"));
        }
        Ok(Box::new(reader::SqliteReader::new(self.reader.clone())))
    }

    async fn writer(&self) -> Result<Box<dyn Writer>, Error> {
        Ok(Box::new(writer::SqliteWriter::new(self.writer.clone())))
    }

    async fn keeper(&self, _ttl: Duration) -> Result<Box<dyn Keeper>, Error> {
        Ok(Box::new(keeper::SqliteKeeper::new(self.writer.clone())))
    }

    async fn backlog(&self) -> Result<Backlog, Error> {
        let row = sqlx::query(concat!(
            "SELECT (SELECT count(*) FROM (SELECT 1 FROM outbox LIMIT ?1)), \
             coalesce((SELECT ",
            now!(),
            " - created_at FROM outbox ORDER BY seq LIMIT 1), 0)"
        ))
        .bind(BACKLOG_COUNT_MAX)
        .fetch_one(&self.reader)
        .await
        .doing("counting the backlog")?;
        Ok(Backlog {
            rows: row.get::<i64, _>(0) as u64,
            oldest_age: Duration::from_millis(row.get::<i64, _>(1).max(0) as u64),
        })
    }

    async fn dead(&self, after: i64, limit: u32) -> Result<Vec<DeadEvent>, Error> {
        let rows = sqlx::query(
            "SELECT seq, id, aggregatetype, aggregateid, type, reason, blocks, replay, died_at \
             FROM outbox_dead WHERE seq > ?1 ORDER BY seq LIMIT ?2",
        )
        .bind(after)
        .bind(limit)
        .fetch_all(&self.reader)
        .await
        .doing("listing dead events")?;
        Ok(rows
            .iter()
            .map(|row| DeadEvent {
                seq: row.get(0),
                id: row.get(1),
                topic: row.get(2),
                key: row.get(3),
                event_type: row.get(4),
                reason: row.get(5),
                blocks: row.get(6),
                replaying: row.get(7),
                died_at: super::time_of(row.get(8)),
            })
            .collect())
    }

    async fn dead_count(&self) -> Result<u64, Error> {
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM outbox_dead")
            .fetch_one(&self.reader)
            .await
            .doing("counting dead events")?;
        Ok(count as u64)
    }

    async fn replay(&self, seq: i64) -> Result<bool, Error> {
        let done = sqlx::query("UPDATE outbox_dead SET replay = 1 WHERE seq = ?1")
            .bind(seq)
            .execute(&self.writer)
            .await
            .doing("asking for a replay")?;
        Ok(done.rows_affected() == 1)
    }

    async fn drop_dead(&self, seq: i64) -> Result<bool, Error> {
        let done = sqlx::query("DELETE FROM outbox_dead WHERE seq = ?1 AND NOT replay")
            .bind(seq)
            .execute(&self.writer)
            .await
            .doing("dropping a dead event")?;
        Ok(done.rows_affected() == 1)
    }

    async fn blocked(&self, limit: u32) -> Result<Vec<BlockedKey>, Error> {
        let rows = sqlx::query(
            "SELECT d.aggregatetype, d.aggregateid, d.seq, \
             (SELECT count(*) FROM (SELECT 1 FROM outbox o \
              WHERE o.aggregatetype = d.aggregatetype AND o.aggregateid = d.aggregateid LIMIT 1000)) \
             FROM outbox_dead d WHERE d.blocks ORDER BY d.seq LIMIT ?1",
        )
        .bind(limit)
        .fetch_all(&self.reader)
        .await
        .doing("listing blocked keys")?;
        Ok(rows
            .iter()
            .map(|row| BlockedKey {
                topic: row.get(0),
                key: row.get(1),
                seq: row.get(2),
                waiting: row.get::<i64, _>(3) as u64,
            })
            .collect())
    }

    async fn slots(&self) -> Result<Vec<SlotOwner>, Error> {
        let rows = sqlx::query(concat!(
            "SELECT s.slot, s.epoch, r.name, coalesce(r.lease_until - ",
            now!(),
            ", 0) FROM outbox_slot s LEFT JOIN outbox_relay r ON r.id = s.owner ORDER BY s.slot"
        ))
        .fetch_all(&self.reader)
        .await
        .doing("listing slots")?;
        Ok(rows
            .iter()
            .map(|row| SlotOwner {
                slot: row.get(0),
                epoch: row.get(1),
                relay: row.get(2),
                lease: Duration::from_millis(row.get::<i64, _>(3).max(0) as u64),
            })
            .collect())
    }

    async fn expire(&self, keys: Duration, inbox: Duration, limit: u32) -> Result<u64, Error> {
        let mut deleted = 0;
        for (sql, age) in [
            (
                concat!(
                    "DELETE FROM outbox_key WHERE key IN (SELECT key FROM outbox_key WHERE at < ",
                    now!(),
                    " - ?1 ORDER BY at LIMIT ?2)"
                ),
                keys,
            ),
            (
                concat!(
                    "DELETE FROM inbox WHERE (consumer, id) IN (SELECT consumer, id FROM inbox WHERE at < ",
                    now!(),
                    " - ?1 ORDER BY at LIMIT ?2)"
                ),
                inbox,
            ),
        ] {
            let done = sqlx::query(sql)
                .bind(age.as_millis() as i64)
                .bind(limit)
                .execute(&self.writer)
                .await
                .doing("expiring keys")?;
            deleted += done.rows_affected();
        }
        Ok(deleted)
    }
}

/// The columns of a [`Row`], from `outbox` or `outbox_dead`.
macro_rules! row_columns {
    () => {
        "seq, id, aggregatetype, aggregateid, type, payload, headers, tracingspancontext, slot, created_at"
    };
}
pub(crate) use row_columns;

/// Decodes [`row_columns`] beginning at column `at`.
fn decode(row: &SqliteRow, at: usize, shared: &mut Shared) -> Result<Row, sqlx::Error> {
    Ok(Row {
        seq: row.try_get(at)?,
        id: row.try_get(at + 1)?,
        topic: shared.text(row.try_get(at + 2)?),
        key: row.try_get(at + 3)?,
        kind: shared.text(row.try_get(at + 4)?),
        payload: row
            .try_get::<Option<&[u8]>, _>(at + 5)?
            .map(|bytes| shared.payload(bytes)),
        headers: row.try_get(at + 6)?,
        trace: row.try_get(at + 7)?,
        slot: row.try_get(at + 8)?,
        created_ms: row.try_get(at + 9)?,
        replayed: false,
    })
}

/// A list as SQLite takes it: one JSON text for `json_each`.
fn json<T: serde::Serialize>(list: &[T]) -> String {
    serde_json::to_string(list).unwrap_or_else(|_| "[]".to_owned())
}
