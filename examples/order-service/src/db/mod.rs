//! The service's tables, on Postgres or SQLite.
//!
//! Written by the saga's transitions ([`Projection`]) and read by the API.

mod batch;
mod read;
mod schema;
#[cfg(test)]
mod tests;
mod write;

use std::time::Duration;

pub use self::read::{Cursor, FeedEvent, Filter, OrderRecord, Summary};
pub use self::write::Projection;
use sqlx::Connection as _;
use sqlx::postgres::{PgConnection, PgPool, PgPoolOptions};
use sqlx::sqlite::SqlitePool;

/// The most connections of the API's pool.
const API_CONNECTIONS_MAX: u32 = 16;
/// How long a request waits for a connection before it is told that the database is gone.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the first connection may take.
const REACH_TIMEOUT: Duration = Duration::from_secs(10);
/// Names the advisory lock under which replicas create their tables one after the other.
const SCHEMA_LOCK: i64 = 0x5357_4f52_4445_5253;

/// The database that was chosen at the start.
#[derive(Clone, Debug)]
pub enum Db {
    /// Any number of replicas.
    Postgres {
        /// For requests about one order; may go through a pooler.
        api: PgPool,
        /// For lists and streams.
        read: PgPool,
        /// For engine and relay.
        direct: PgPool,
    },
    /// One process, one writer.
    Sqlite {
        /// The only connection that writes.
        write: SqlitePool,
        /// For everything else.
        read: SqlitePool,
    },
}

/// Runs one expression on the pool that a purpose calls for.
macro_rules! on {
    ($db:expr, $purpose:ident, $pool:ident => $body:expr) => {
        match $db {
            $crate::db::Db::Postgres {
                $purpose: $pool, ..
            } => $body,
            $crate::db::Db::Sqlite { read: $pool, .. } => $body,
        }
    };
}
pub(crate) use on;

impl Db {
    /// Sees whether Postgres can be reached: a pool would wait and then say only that it
    /// waited, while a connection says what is wrong.
    ///
    /// # Errors
    ///
    /// What is wrong.
    pub async fn reach(url: &str) -> Result<(), sqlx::Error> {
        let reached = async { PgConnection::connect(url).await?.close().await };
        match tokio::time::timeout(REACH_TIMEOUT, reached).await {
            Ok(reached) => reached,
            Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
        }
    }

    /// Connects to Postgres.
    ///
    /// # Errors
    ///
    /// When it cannot be reached.
    pub async fn postgres(
        url: &str,
        direct_url: &str,
        read_url: &str,
    ) -> Result<Self, sqlx::Error> {
        let pool = |connections: u32, url: &str| {
            let options = PgPoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(ACQUIRE_TIMEOUT);
            let url = url.to_owned();
            async move { options.connect(&url).await }
        };
        Ok(Self::Postgres {
            api: pool(API_CONNECTIONS_MAX, url).await?,
            read: pool(API_CONNECTIONS_MAX, read_url).await?,
            direct: pool(API_CONNECTIONS_MAX, direct_url).await?,
        })
    }

    /// Creates what is not there yet. Safe with several replicas at once.
    ///
    /// # Errors
    ///
    /// When the database refuses.
    pub async fn migrate(&self) -> Result<(), sqlx::Error> {
        match self {
            Self::Postgres { direct, .. } => {
                let mut tx = direct.begin().await?;
                sqlx::query("SELECT pg_advisory_xact_lock($1)")
                    .bind(SCHEMA_LOCK)
                    .execute(&mut *tx)
                    .await?;
                sqlx::raw_sql(schema::POSTGRES).execute(&mut *tx).await?;
                tx.commit().await
            }
            Self::Sqlite { write, .. } => {
                sqlx::raw_sql(schema::SQLITE).execute(write).await?;
                Ok(())
            }
        }
    }
}
