//! Forgetting sagas that have ended, and what they carried.

use std::sync::PoisonError;
use std::time::Duration;

use sqlx::Row;
use uuid::Uuid;

use super::rows::statement;
use super::{PgStore, failed, micros};
use crate::store::StoreError;

/// How many keys one call looks at, at most: those of sagas that still run are passed over.
const LOOK_MAX: i64 = 10_000;

/// Walks the keys in the order of their sagas (uuids in time order), from where the last call
/// stopped, and from the beginning again after the end.
pub(super) async fn prune(store: &PgStore, age: Duration, limit: u32) -> Result<u64, StoreError> {
    let after = *store.pruned.lock().unwrap_or_else(PoisonError::into_inner);
    let (mut deleted, last) = walk(store, age, limit, after).await?;
    let mut next = last;
    if last.is_none() && !after.is_nil() {
        // Looked at all behind `after`: go on from the beginning, in this call's bounds.
        let rest = limit.saturating_sub(u32::try_from(deleted).unwrap_or(u32::MAX));
        let (more, last) = walk(store, age, rest, Uuid::nil()).await?;
        deleted += more;
        next = last;
    }
    *store.pruned.lock().unwrap_or_else(PoisonError::into_inner) = next.unwrap_or(Uuid::nil());
    Ok(deleted)
}

/// Deletes after `after`; says where it stopped, or nothing if it saw the end.
async fn walk(
    store: &PgStore,
    age: Duration,
    limit: u32,
    after: Uuid,
) -> Result<(u64, Option<Uuid>), StoreError> {
    // The journal of an ended saga no longer grows, and a saga whose key is younger than `age`
    // cannot have ended before.
    let row = statement(
        "WITH k AS MATERIALIZED (
             SELECT saga FROM saga_key WHERE saga > $1 ORDER BY saga LIMIT $2),
         x AS MATERIALIZED (
             SELECT k.saga FROM k
             CROSS JOIN LATERAL (
                 SELECT e.at FROM saga_event e WHERE e.saga = k.saga ORDER BY e.seq DESC LIMIT 1) e
             WHERE NOT EXISTS (SELECT FROM saga s WHERE s.saga = k.saga)
               AND e.at <= (SELECT saga_now()) - $3
             ORDER BY k.saga LIMIT $4),
         e AS (DELETE FROM saga_event e USING x WHERE e.saga = x.saga),
         g AS (DELETE FROM saga_signal g USING x WHERE g.saga = x.saga),
         c AS (DELETE FROM saga_command c USING x WHERE c.saga = x.saga),
         d AS (DELETE FROM saga_key d USING x WHERE d.saga = x.saga RETURNING d.saga)
         SELECT (SELECT count(*) FROM d),
             CASE WHEN (SELECT count(*) FROM x) = $4
                  THEN (SELECT saga FROM x ORDER BY saga DESC LIMIT 1)
                  WHEN (SELECT count(*) FROM k) = $2
                  THEN (SELECT saga FROM k ORDER BY saga DESC LIMIT 1) END",
    )
    .bind(after)
    .bind(LOOK_MAX)
    .bind(micros(age))
    .bind(i64::from(limit))
    .fetch_one(&store.pool)
    .await
    .map_err(failed)?;
    let deleted: i64 = row.get(0);
    Ok((deleted.cast_unsigned(), row.get(1)))
}

/// An ended saga stays ended, and its journal no longer grows, so nothing is locked.
pub(super) async fn erase(store: &PgStore, saga: Uuid) -> Result<bool, StoreError> {
    statement(
        "WITH x AS MATERIALIZED (
             SELECT $1::uuid AS saga WHERE NOT EXISTS (SELECT FROM saga WHERE saga = $1)),
         e AS (
             UPDATE saga_event e SET payload = NULL FROM x
             WHERE e.saga = x.saga AND e.payload IS NOT NULL),
         g AS (UPDATE saga_signal g SET payload = '' FROM x WHERE g.saga = x.saga),
         c AS (DELETE FROM saga_command c USING x WHERE c.saga = x.saga)
         SELECT EXISTS (SELECT FROM x)",
    )
    .bind(saga)
    .fetch_one(&store.pool)
    .await
    .map(|row| row.get(0))
    .map_err(failed)
}
