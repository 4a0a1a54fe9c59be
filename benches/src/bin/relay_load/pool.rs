//! The database, and what is put into it.

use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{PgPool, SqlitePool};
use swifttrack_outbox::{Database, Event, append_batch, migrate};

use super::Error;

const PAYLOAD_BYTES: usize = 200;
const KEYS: u64 = 10_000;
pub(crate) const SOURCE: &str = "/swifttrack/order-service";
pub(crate) const TYPE: &str = "CMS_VERIFIED";
pub(crate) const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Rows of one transaction of a backlog.
const CHUNK_ROWS: u64 = 1_000;

#[derive(Clone, Debug)]
pub(crate) enum Pool {
    Postgres(PgPool),
    Sqlite(SqlitePool),
}

impl Pool {
    pub(crate) async fn open(url: &str, connections: u32) -> Result<Self, Error> {
        let pool = if let Some(path) = url.strip_prefix("sqlite://") {
            let options = SqliteConnectOptions::new()
                .filename(path)
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full);
            let pool = SqlitePoolOptions::new().max_connections(1);
            Self::Sqlite(pool.connect_with(options).await?)
        } else {
            let pool = PgPoolOptions::new().max_connections(connections);
            Self::Postgres(pool.connect(url).await?)
        };
        migrate(pool.database()).await?;
        Ok(pool)
    }

    pub(crate) fn database(&self) -> Database {
        match self {
            Self::Postgres(pool) => pool.into(),
            Self::Sqlite(pool) => pool.into(),
        }
    }

    pub(crate) fn postgres(&self) -> Result<&PgPool, Error> {
        match self {
            Self::Postgres(pool) => Ok(pool),
            Self::Sqlite(_) => Err("this mode needs Postgres: SQLite has one writer".into()),
        }
    }

    pub(crate) async fn append(&self, events: &[Event]) -> Result<(), Error> {
        match self {
            Self::Postgres(pool) => {
                let mut tx = pool.begin().await?;
                append_batch(&mut *tx, events).await?;
                tx.commit().await?;
            }
            Self::Sqlite(pool) => {
                let mut tx = pool.begin().await?;
                append_batch(&mut *tx, events).await?;
                tx.commit().await?;
            }
        }
        Ok(())
    }

    /// Many rows in many transactions, on a table without the last round's dead rows.
    pub(crate) async fn fill(&self, topic: &str, rows: u64) -> Result<(), Error> {
        if let Self::Postgres(pool) = self {
            sqlx::query("VACUUM outbox").execute(pool).await?;
        }
        for from in (0..rows).step_by(CHUNK_ROWS as usize) {
            self.append(&events(topic, from..rows.min(from + CHUNK_ROWS)))
                .await?;
        }
        Ok(())
    }

    /// The last row's number; 0 when there is none.
    pub(crate) async fn last(&self) -> Result<i64, Error> {
        let sql = "SELECT coalesce(max(seq), 0) FROM outbox";
        Ok(match self {
            Self::Postgres(pool) => sqlx::query_scalar(sql).fetch_one(pool).await?,
            Self::Sqlite(pool) => sqlx::query_scalar(sql).fetch_one(pool).await?,
        })
    }

    /// Whether the end of the table is empty. Counting all of it again and again would take the
    /// processor from what is measured.
    pub(crate) async fn is_empty_after(&self, seq: i64) -> Result<bool, Error> {
        let sql = "SELECT NOT EXISTS (SELECT 1 FROM outbox WHERE seq > $1)";
        Ok(match self {
            Self::Postgres(pool) => sqlx::query_scalar(sql).bind(seq).fetch_one(pool).await?,
            Self::Sqlite(pool) => sqlx::query_scalar(sql).bind(seq).fetch_one(pool).await?,
        })
    }
}

pub(crate) fn key(n: u64) -> String {
    format!("ORD-{}", n % KEYS)
}

pub(crate) fn payload() -> Vec<u8> {
    vec![b'x'; PAYLOAD_BYTES]
}

pub(crate) fn event(topic: &str, n: u64) -> Event {
    Event::new(topic.to_owned(), key(n), TYPE, payload()).traceparent(TRACE)
}

pub(crate) fn events(topic: &str, numbers: std::ops::Range<u64>) -> Vec<Event> {
    numbers.map(|n| event(topic, n)).collect()
}
