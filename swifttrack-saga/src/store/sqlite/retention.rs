//! Forgetting sagas that have ended, and what they carried.

use std::sync::PoisonError;
use std::time::Duration;

use sqlx::{AssertSqlSafe, Row, query, query_scalar};
use uuid::Uuid;

use super::rows::{hex, statement};
use super::{SqliteStore, failed, now};
use crate::guard::words;
use crate::store::StoreError;

/// How many keys one call looks at, at most: those of sagas that still run are passed over.
const LOOK_MAX: usize = 10_000;
/// Of these tables a saga's rows are deleted, the key last.
const TABLES: [&str; 4] = ["saga_event", "saga_signal", "saga_command", "saga_key"];

/// Walks the keys in the order of their sagas (uuids in time order), from where the last call
/// stopped, and from the beginning again after the end.
pub(super) async fn prune(
    store: &SqliteStore,
    age: Duration,
    limit: u32,
) -> Result<u64, StoreError> {
    let after = *store.pruned.lock().unwrap_or_else(PoisonError::into_inner);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let (mut found, mut next) = ended(store, age, limit, after).await?;
    if next.is_none() && !after.is_nil() {
        let (more, last) = ended(store, age, limit - found.len(), Uuid::nil()).await?;
        found.extend(more);
        next = last;
    }
    let sagas = hex(&found);
    store
        .transact(async |conn| {
            for table in TABLES {
                // The only part that varies is one of four names in this file.
                query(AssertSqlSafe(format!(
                    "DELETE FROM {table} WHERE saga IN (SELECT unhex(value) FROM json_each(?))"
                )))
                .bind(&sagas)
                .execute(&mut *conn)
                .await?;
            }
            Ok(())
        })
        .await?;
    *store.pruned.lock().unwrap_or_else(PoisonError::into_inner) = next.unwrap_or(Uuid::nil());
    Ok(found.len() as u64)
}

/// Ended sagas after `after` that are old enough, and where the look stopped, or nothing if it
/// saw the end. What has ended stays ended, so it may be read beside the writer.
async fn ended(
    store: &SqliteStore,
    age: Duration,
    limit: usize,
    after: Uuid,
) -> Result<(Vec<Uuid>, Option<Uuid>), StoreError> {
    let rows = statement(
        "SELECT k.saga, s.saga IS NULL AND (
             SELECT e.at FROM saga_event e WHERE e.saga = k.saga ORDER BY e.seq DESC LIMIT 1) <= ?2
         FROM saga_key k LEFT JOIN saga s ON s.saga = k.saga
         WHERE k.saga > ?1 ORDER BY k.saga LIMIT ?3",
    )
    .bind(after)
    .bind(now().saturating_sub(i64::try_from(age.as_micros()).unwrap_or(i64::MAX)))
    .bind(i64::try_from(LOOK_MAX).unwrap_or(i64::MAX))
    .fetch_all(&store.read)
    .await
    .map_err(failed)?;
    let mut found = Vec::new();
    for row in &rows {
        if found.len() == limit {
            return Ok((found, Some(row.get(0))));
        }
        if row.get::<Option<bool>, _>(1) == Some(true) {
            found.push(row.get(0));
        }
    }
    let last = rows.last().map(|row| row.get(0));
    Ok((found, last.filter(|_| rows.len() == LOOK_MAX)))
}

/// The statements of [`erase`], each for one saga.
const BLANK: [&str; 3] = [
    "UPDATE saga_event SET payload = NULL WHERE saga = ? AND payload IS NOT NULL",
    "UPDATE saga_signal SET payload = x'' WHERE saga = ?",
    "DELETE FROM saga_command WHERE saga = ?",
];

pub(super) async fn erase(store: &SqliteStore, saga: Uuid) -> Result<bool, StoreError> {
    store
        .transact(async |conn| {
            let runs: bool = query_scalar(words("SELECT count(*) > 0 FROM saga WHERE saga = ?"))
                .bind(saga)
                .fetch_one(&mut *conn)
                .await?;
            if runs {
                return Ok(false);
            }
            for blank in BLANK {
                statement(blank).bind(saga).execute(&mut *conn).await?;
            }
            Ok(true)
        })
        .await
}
