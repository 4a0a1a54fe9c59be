//! The tables, and how they come to be.

use sqlx::{Connection, PgConnection};

use super::error::{Phase, store_error};
use super::rows::int;
use super::{PgStore, failed};
use crate::store::schema::not_newer;
use crate::store::{Shape, StoreError};

/// What each version of the schema adds. Never changed once released; only appended to.
const MIGRATIONS: [&str; 2] = [include_str!("schema.sql"), include_str!("schema_2.sql")];

const VERSION: &str = "SELECT coalesce(max(version), 0)::bigint FROM saga_schema";

/// Any number that nobody else takes for a lock: "saga" and "mig1" in ASCII.
const MIGRATION_LOCK: i64 = 0x7361_6761_6d69_6731;

/// Brings the schema to this binary's version; of several starters one does it.
pub(super) async fn migrate(conn: &mut PgConnection) -> Result<(), StoreError> {
    let unavailable = |error| store_error(error, Phase::Before);
    let mut tx = conn.begin().await.map_err(unavailable)?;
    // The lock waits for another starter's transaction, which creates eight tables: not long,
    // but longer than a flusher's lock may be waited for.
    sqlx::raw_sql("SET LOCAL lock_timeout = '30s'; SET LOCAL statement_timeout = '60s'")
        .execute(&mut *tx)
        .await
        .map_err(unavailable)?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(MIGRATION_LOCK)
        .execute(&mut *tx)
        .await
        .map_err(unavailable)?;
    sqlx::raw_sql("CREATE TABLE IF NOT EXISTS saga_schema (version int PRIMARY KEY)")
        .execute(&mut *tx)
        .await
        .map_err(unavailable)?;
    let found = sqlx::query_scalar(VERSION)
        .fetch_one(&mut *tx)
        .await
        .map_err(unavailable)?;
    let found = match not_newer(found, MIGRATIONS.len()) {
        Ok(found) => found,
        Err(newer) => {
            tx.rollback().await.map_err(unavailable)?;
            return Err(newer);
        }
    };
    for (version, sql) in MIGRATIONS.iter().enumerate().skip(found) {
        sqlx::raw_sql(*sql)
            .execute(&mut *tx)
            .await
            .map_err(unavailable)?;
        sqlx::query("INSERT INTO saga_schema (version) VALUES ($1)")
            .bind(i32::try_from(version + 1).unwrap_or(i32::MAX))
            .execute(&mut *tx)
            .await
            .map_err(unavailable)?;
    }
    tx.commit().await.map_err(unavailable)
}

/// Refuses tables that a newer binary made, before anything is written to them.
pub(super) async fn check(store: &PgStore) -> Result<(), StoreError> {
    let found = sqlx::query_scalar(VERSION)
        .fetch_one(&store.pool)
        .await
        .map_err(failed)?;
    not_newer(found, MIGRATIONS.len()).map(drop)
}

/// Keeps the shapes that are new, if it is to, and reads what is kept of all.
pub(super) async fn describe(
    store: &PgStore,
    shapes: &[Shape],
    keep: bool,
) -> Result<Vec<String>, StoreError> {
    check(store).await?;
    let mut kept = Vec::with_capacity(shapes.len());
    for shape in shapes {
        // Two statements, since the second must see what another starter kept meanwhile.
        if keep {
            keep_new(store, shape).await?;
        }
        let text = sqlx::query_scalar(
            "SELECT d.shape FROM saga_definition d JOIN saga_name n ON n.n = d.definition
             WHERE n.name = $1 AND d.version = $2",
        )
        .bind(&shape.definition)
        .bind(int(shape.version))
        .fetch_optional(&store.pool)
        .await
        .map_err(failed)?;
        kept.push(text.unwrap_or_else(|| shape.text.clone()));
    }
    Ok(kept)
}

async fn keep_new(store: &PgStore, shape: &Shape) -> Result<(), StoreError> {
    let definition = store.definition(&shape.definition).await?;
    sqlx::query(
        "INSERT INTO saga_definition (definition, version, shape) VALUES ($1, $2, $3)
         ON CONFLICT DO NOTHING",
    )
    .bind(definition)
    .bind(int(shape.version))
    .bind(&shape.text)
    .execute(&store.pool)
    .await
    .map(drop)
    .map_err(failed)
}
