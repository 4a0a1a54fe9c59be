//! The database that holds the outbox.

use std::fmt;
use std::sync::Arc;

use crate::error::Error;
use crate::store::Store;

/// Where the outbox is: a Postgres pool, or SQLite's one writer with readers apart.
///
/// It is cheap to clone. Which of the two it is can be decided at run time.
///
/// On Postgres the relay opens a few connections of its own with the pool's options, because a
/// cursor lives and dies with its connection; the pool must point at Postgres itself, not at a
/// transaction-pooling proxy. On SQLite all writes go through the pool that the application
/// gave, which must have exactly one connection.
#[derive(Clone)]
pub struct Database {
    pub(crate) store: Arc<dyn Store>,
}

impl Database {
    /// Postgres 15 or later. Tables are found by the connections' `search_path`.
    #[cfg(feature = "postgres")]
    #[must_use]
    pub fn postgres(pool: sqlx::PgPool) -> Self {
        Self {
            store: Arc::new(crate::store::postgres::PostgresStore::new(pool)),
        }
    }

    /// SQLite: `writer` is the application's pool of one, which all writers of the process
    /// share; `reader` may be the same pool, or one that only reads.
    #[cfg(feature = "sqlite")]
    #[must_use]
    pub fn sqlite(writer: sqlx::SqlitePool, reader: sqlx::SqlitePool) -> Self {
        Self {
            store: Arc::new(crate::store::sqlite::SqliteStore::new(writer, reader)),
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Database").field(&self.store.name()).finish()
    }
}

#[cfg(feature = "postgres")]
impl From<sqlx::PgPool> for Database {
    fn from(pool: sqlx::PgPool) -> Self {
        Self::postgres(pool)
    }
}

#[cfg(feature = "postgres")]
impl From<&sqlx::PgPool> for Database {
    fn from(pool: &sqlx::PgPool) -> Self {
        Self::postgres(pool.clone())
    }
}

#[cfg(feature = "sqlite")]
impl From<sqlx::SqlitePool> for Database {
    fn from(pool: sqlx::SqlitePool) -> Self {
        Self::sqlite(pool.clone(), pool)
    }
}

#[cfg(feature = "sqlite")]
impl From<&sqlx::SqlitePool> for Database {
    fn from(pool: &sqlx::SqlitePool) -> Self {
        Self::from(pool.clone())
    }
}

impl From<&Self> for Database {
    fn from(database: &Self) -> Self {
        database.clone()
    }
}

/// Creates the tables, or brings those of an older version up to date.
///
/// It may be called by every process at its start: a lock lets one of them do the work and the
/// others find it done. The version is in a table of the outbox's own (`outbox_schema`), so the
/// application's own migrations are not touched.
///
/// # Errors
/// [`Error::is_config`] when the tables are newer than this build, [`Error::is_database`] when
/// a statement failed; nothing is half done then.
///
/// # Cancel safety
/// Dropping the future rolls the migration back.
pub async fn migrate(database: impl Into<Database>) -> Result<(), Error> {
    database.into().store.migrate().await
}
