//! The tables, and how they come to be.

use sqlx::SqliteConnection;

use super::error::{Phase, store_error};
use super::{SqliteStore, failed, number};
use crate::store::schema::not_newer;
use crate::store::{Shape, StoreError};

/// What each version of the schema adds. Never changed once released; only appended to.
const MIGRATIONS: [&str; 2] = [include_str!("schema.sql"), include_str!("schema_2.sql")];

const VERSION: &str = "SELECT coalesce(max(version), 0) FROM saga_schema";

/// Brings the schema to this binary's version, inside the caller's transaction.
pub(super) async fn migrate(conn: &mut SqliteConnection) -> Result<(), StoreError> {
    let failed = |error| store_error(error, Phase::Before);
    sqlx::raw_sql("CREATE TABLE IF NOT EXISTS saga_schema (version INTEGER PRIMARY KEY)")
        .execute(&mut *conn)
        .await
        .map_err(failed)?;
    let found = sqlx::query_scalar(VERSION)
        .fetch_one(&mut *conn)
        .await
        .map_err(failed)?;
    for (version, sql) in MIGRATIONS
        .iter()
        .enumerate()
        .skip(not_newer(found, MIGRATIONS.len())?)
    {
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

/// Refuses tables that a newer binary made, before anything is written to them.
pub(super) async fn check(store: &SqliteStore) -> Result<(), StoreError> {
    let found = sqlx::query_scalar(VERSION)
        .fetch_one(&store.read)
        .await
        .map_err(failed)?;
    not_newer(found, MIGRATIONS.len()).map(drop)
}

/// Keeps the shapes that are new, if it is to, and reads what is kept of all.
pub(super) async fn describe(
    store: &SqliteStore,
    shapes: &[Shape],
    keep: bool,
) -> Result<Vec<String>, StoreError> {
    check(store).await?;
    if keep {
        let all = async |conn: &mut SqliteConnection| {
            for shape in shapes {
                let definition = number(conn, &shape.definition, false).await?;
                sqlx::query(
                    "INSERT INTO saga_definition (definition, version, shape) VALUES (?1, ?2, ?3)
                     ON CONFLICT DO NOTHING",
                )
                .bind(definition)
                .bind(shape.version)
                .bind(&shape.text)
                .execute(&mut *conn)
                .await?;
            }
            Ok(())
        };
        store.transact(all).await?;
    }
    let mut kept = Vec::with_capacity(shapes.len());
    for shape in shapes {
        let text = sqlx::query_scalar(
            "SELECT d.shape FROM saga_definition d JOIN saga_name n ON n.n = d.definition
             WHERE n.name = ?1 AND d.version = ?2",
        )
        .bind(&shape.definition)
        .bind(shape.version)
        .fetch_optional(&store.read)
        .await
        .map_err(failed)?;
        kept.push(text.unwrap_or_else(|| shape.text.clone()));
    }
    Ok(kept)
}
