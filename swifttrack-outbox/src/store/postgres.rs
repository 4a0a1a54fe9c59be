//! The outbox on Postgres.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{ConnectOptions, Connection, PgConnection, PgPool, Row as _};

use super::{BACKLOG_COUNT_MAX, Keeper, Reader, SCHEMA_VERSION, Store, Writer};
use uuid::Uuid;

use crate::error::{Doing, Error, Kind};
use crate::ops::{Backlog, BlockedKey, DeadEvent, SlotOwner};
use crate::relay::row::{Row, Shared};

mod keeper;
#[cfg(test)]
mod plans;
mod reader;
mod snapshot;
mod writer;

pub(crate) use snapshot::Snapshot;

const MIGRATIONS: [&str; SCHEMA_VERSION as usize] = [include_str!("../migrations/postgres_1.sql")];

/// Any number that others are unlikely to lock: "swifttr" in ASCII.
const MIGRATION_LOCK: i64 = 0x0073_7769_6674_7472;

/// Longer than any statement of a relay takes, short enough that a broken one ends.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(60);

/// Plans that a table's size at the first EXPLAIN cannot spoil: an ANALYZE of the empty table
/// would otherwise turn a delete by key into a scan of the whole backlog.
const PLANS: [(&str, &str); 8] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("jit", "off"),
    // A page is read in less time than workers take to start.
    ("max_parallel_workers_per_gather", "0"),
    ("default_transaction_isolation", "read committed"),
];

#[derive(Debug)]
pub(crate) struct PostgresStore {
    pool: PgPool,
}

impl PostgresStore {
    pub(crate) fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// A connection of its own, not of the pool: the settings stay on it, and dropping it in
    /// the middle of a statement poisons nothing.
    async fn connect(&self, role: &str, limit: Duration) -> Result<PgConnection, Error> {
        let options = PgConnectOptions::clone(&self.pool.connect_options())
            .application_name(&format!("outbox {role}"))
            .options(PLANS)
            .options([
                ("statement_timeout", limit.as_millis().to_string()),
                (
                    "idle_in_transaction_session_timeout",
                    limit.as_millis().to_string(),
                ),
            ]);
        options.connect().await.doing("connecting")
    }
}

#[async_trait]
impl Store for PostgresStore {
    fn name(&self) -> &'static str {
        "postgres"
    }

    async fn migrate(&self) -> Result<(), Error> {
        let options = PgConnectOptions::clone(&self.pool.connect_options());
        let mut conn = options.connect().await.doing("connecting to migrate")?;
        let mut tx = conn.begin().await.doing("beginning to migrate")?;
        sqlx::query("SELECT pg_advisory_xact_lock($1)")
            .bind(MIGRATION_LOCK)
            .execute(&mut *tx)
            .await
            .doing("waiting for another migration")?;
        sqlx::raw_sql(
            "CREATE TABLE IF NOT EXISTS outbox_schema (version bigint PRIMARY KEY, \
             at timestamptz NOT NULL DEFAULT clock_timestamp())",
        )
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
        for (version, sql) in (1..).zip(MIGRATIONS).skip(found as usize) {
            sqlx::raw_sql(sql)
                .execute(&mut *tx)
                .await
                .doing("migrating")?;
            sqlx::query("INSERT INTO outbox_schema (version) VALUES ($1)")
                .bind(version as i64)
                .execute(&mut *tx)
                .await
                .doing("writing outbox_schema")?;
        }
        tx.commit().await.doing("committing the migration")
    }

    async fn check_fencing(&self, fencing: &str) -> Result<(), Error> {
        let other: Option<String> = sqlx::query_scalar(
            "SELECT fencing FROM outbox_relay \
             WHERE lease_until > clock_timestamp() AND fencing <> $1 LIMIT 1",
        )
        .bind(fencing)
        .fetch_optional(&self.pool)
        .await
        .doing("looking at the other relays")?;
        super::one_fencing(fencing, other)
    }

    async fn identity(&self) -> Result<Uuid, Error> {
        sqlx::query_scalar("SELECT id FROM outbox_identity")
            .fetch_one(&self.pool)
            .await
            .doing("reading the outbox's identity")
    }

    async fn reader(&self, only: Option<&str>) -> Result<Box<dyn Reader>, Error> {
        let conn = self.connect("reader", STATEMENT_TIMEOUT).await?;
        Ok(Box::new(reader::PostgresReader::new(conn, only)?))
    }

    async fn writer(&self) -> Result<Box<dyn Writer>, Error> {
        let conn = self.connect("writer", STATEMENT_TIMEOUT).await?;
        Ok(Box::new(writer::PostgresWriter::new(conn)))
    }

    async fn keeper(&self, ttl: Duration) -> Result<Box<dyn Keeper>, Error> {
        let conn = self.connect("lease", ttl / 4).await?;
        Ok(Box::new(keeper::PostgresKeeper::new(conn)))
    }

    async fn backlog(&self) -> Result<Backlog, Error> {
        let row = sqlx::query(
            "SELECT (SELECT count(*) FROM (SELECT 1 FROM outbox LIMIT $1) c), \
             coalesce((SELECT (extract(epoch FROM (clock_timestamp() AT TIME ZONE 'utc') - created_at) * 1000)::bigint \
             FROM outbox ORDER BY seq LIMIT 1), 0)",
        )
        .bind(BACKLOG_COUNT_MAX)
        .fetch_one(&self.pool)
        .await
        .doing("counting the backlog")?;
        Ok(Backlog {
            rows: row.get::<i64, _>(0) as u64,
            oldest_age: Duration::from_millis(row.get::<i64, _>(1).max(0) as u64),
        })
    }

    async fn dead(&self, after: i64, limit: u32) -> Result<Vec<DeadEvent>, Error> {
        let rows = sqlx::query(
            "SELECT seq, id, aggregatetype, aggregateid, type, reason, blocks, replay, \
             (extract(epoch FROM died_at) * 1000)::bigint \
             FROM outbox_dead WHERE seq > $1 ORDER BY seq LIMIT $2",
        )
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
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
            .fetch_one(&self.pool)
            .await
            .doing("counting dead events")?;
        Ok(count as u64)
    }

    async fn replay(&self, seq: i64) -> Result<bool, Error> {
        let done = sqlx::query("UPDATE outbox_dead SET replay = true WHERE seq = $1")
            .bind(seq)
            .execute(&self.pool)
            .await
            .doing("asking for a replay")?;
        Ok(done.rows_affected() == 1)
    }

    async fn drop_dead(&self, seq: i64) -> Result<bool, Error> {
        let done = sqlx::query("DELETE FROM outbox_dead WHERE seq = $1 AND NOT replay")
            .bind(seq)
            .execute(&self.pool)
            .await
            .doing("dropping a dead event")?;
        Ok(done.rows_affected() == 1)
    }

    async fn blocked(&self, limit: u32) -> Result<Vec<BlockedKey>, Error> {
        let rows = sqlx::query(
            "SELECT d.aggregatetype, d.aggregateid, d.seq, \
             (SELECT count(*) FROM (SELECT 1 FROM outbox o \
              WHERE o.aggregatetype = d.aggregatetype AND o.aggregateid = d.aggregateid LIMIT 1000) w) \
             FROM outbox_dead d WHERE d.blocks ORDER BY d.seq LIMIT $1",
        )
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
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
        let rows = sqlx::query(
            "SELECT s.slot, s.epoch, r.name, \
             coalesce((extract(epoch FROM r.lease_until - clock_timestamp()) * 1000)::bigint, 0) \
             FROM outbox_slot s LEFT JOIN outbox_relay r ON r.id = s.owner ORDER BY s.slot",
        )
        .fetch_all(&self.pool)
        .await
        .doing("listing slots")?;
        Ok(rows
            .iter()
            .map(|row| SlotOwner {
                slot: row.get::<i16, _>(0) as u8,
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
                "DELETE FROM outbox_key WHERE key IN (SELECT key FROM outbox_key \
                 WHERE at < clock_timestamp() - $1 * interval '1 millisecond' \
                 ORDER BY at LIMIT $2 FOR UPDATE SKIP LOCKED)",
                keys,
            ),
            (
                "DELETE FROM inbox WHERE (consumer, id) IN (SELECT consumer, id FROM inbox \
                 WHERE at < clock_timestamp() - $1 * interval '1 millisecond' \
                 ORDER BY at LIMIT $2 FOR UPDATE SKIP LOCKED)",
                inbox,
            ),
        ] {
            let done = sqlx::query(sql)
                .bind(age.as_millis() as i64)
                .bind(i64::from(limit))
                .execute(&self.pool)
                .await
                .doing("expiring keys")?;
            deleted += done.rows_affected();
        }
        Ok(deleted)
    }
}

/// The columns of a [`Row`], from `outbox` or `outbox_dead`. `date_part`, since `extract` reckons
/// in `numeric`.
macro_rules! row_columns {
    () => {
        "seq, id, aggregatetype, aggregateid, type, payload, headers::text AS headers, \
         tracingspancontext, slot, (date_part('epoch', created_at) * 1000)::bigint AS created"
    };
}
pub(crate) use row_columns;

/// Decodes [`row_columns`] beginning at column `at`.
fn decode(row: &PgRow, at: usize, shared: &mut Shared) -> Result<Row, sqlx::Error> {
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
        slot: row.try_get::<i16, _>(at + 8)? as u8,
        created_ms: row.try_get(at + 9)?,
        replayed: false,
    })
}

/// The slots as Postgres takes them.
fn smallints(slots: &[u8]) -> Vec<i16> {
    slots.iter().map(|slot| i16::from(*slot)).collect()
}
