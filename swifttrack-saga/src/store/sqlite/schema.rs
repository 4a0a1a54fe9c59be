//! The tables, and how they come to be.

use sqlx::SqliteConnection;

use super::error::{Phase, store_error};
use crate::store::StoreError;

/// What each version of the schema adds. Never changed once released; only appended to.
const MIGRATIONS: [&str; 1] = [include_str!("schema.sql")];

/// Brings the schema to this binary's version, inside the caller's transaction.
pub(super) async fn migrate(conn: &mut SqliteConnection) -> Result<(), StoreError> {
    let failed = |error| store_error(error, Phase::Before);
    sqlx::raw_sql("CREATE TABLE IF NOT EXISTS saga_schema (version INTEGER PRIMARY KEY)")
        .execute(&mut *conn)
        .await
        .map_err(failed)?;
    let found: i64 = sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM saga_schema")
        .fetch_one(&mut *conn)
        .await
        .map_err(failed)?;
    let known = MIGRATIONS.len();
    let found = usize::try_from(found).unwrap_or(usize::MAX);
    if found > known {
        return Err(StoreError::schema(format!(
            "the schema is at version {found}, this binary knows {known}"
        )));
    }
    for (version, sql) in MIGRATIONS.iter().enumerate().skip(found) {
        sqlx::raw_sql(*sql)
            .execute(&mut *conn)
            .await
            .map_err(failed)?;
        sqlx::query("INSERT INTO saga_schema (version) VALUES (?)")
            .bind(i64::try_from(version + 1).unwrap_or(i64::MAX))
            .execute(&mut *conn)
            .await
            .map_err(failed)?;
    }
    Ok(())
}
