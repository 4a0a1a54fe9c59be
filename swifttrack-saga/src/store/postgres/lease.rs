//! Workers and the shards that they hold.

use std::time::Duration;

use sqlx::Row;

use super::rows::{small, statement};
use super::{PgStore, failed, micros};
use crate::guard::words;
use crate::store::batch::SHARDS;
use crate::store::{Alive, ShardLease, StoreError, Survey, Timestamp, WorkerId};

pub(super) async fn register(
    store: &PgStore,
    worker: WorkerId,
    definitions: &[(String, u32)],
    lease: Duration,
) -> Result<Timestamp, StoreError> {
    super::schema::check(store).await?;
    store.lanes.set_lease(lease);
    let known = serde_json::to_string(definitions).map_err(StoreError::invalid)?;
    sqlx::query_scalar(
        "WITH t AS MATERIALIZED (SELECT saga_now() AS at)
         INSERT INTO saga_worker (worker, lease_until, definitions)
         SELECT $1, t.at + $2, $3 FROM t
         RETURNING lease_until - $2",
    )
    .bind(worker.0)
    .bind(micros(lease))
    .bind(known)
    .fetch_one(&store.pool)
    .await
    .map(Timestamp)
    .map_err(failed)
}

pub(super) async fn heartbeat(
    store: &PgStore,
    worker: WorkerId,
    lease: Duration,
) -> Result<Timestamp, StoreError> {
    let at: Option<i64> = sqlx::query_scalar(words(
        "WITH t AS MATERIALIZED (SELECT saga_now() AS at)
         UPDATE saga_worker w SET lease_until = t.at + $2 FROM t
         WHERE w.worker = $1 AND w.lease_until > t.at
         RETURNING t.at",
    ))
    .bind(worker.0)
    .bind(micros(lease))
    .fetch_optional(&store.pool)
    .await
    .map_err(failed)?;
    at.map(Timestamp)
        .ok_or_else(|| StoreError::fenced("the worker's lease ran out"))
}

pub(super) async fn survey(store: &PgStore, groups: &[String]) -> Result<Survey, StoreError> {
    let rows = statement(
        "WITH t AS MATERIALIZED (SELECT saga_now() AS at),
         w AS MATERIALIZED (
             SELECT w.worker, w.lease_until, w.definitions FROM saga_worker w, t
             WHERE w.lease_until > t.at)
         SELECT at, NULL::uuid, NULL::text, NULL::text, 0::bigint FROM t
         UNION ALL
         SELECT lease_until, worker, definitions, NULL, 0 FROM w
         UNION ALL
         SELECT 0, w.worker, NULL, d.name, count(*)
         FROM saga_name d
         JOIN saga_shard s ON s.grp = d.n
         LEFT JOIN w ON w.worker = s.owner
         WHERE d.name = ANY($1)
         GROUP BY w.worker, d.name",
    )
    .bind(groups)
    .fetch_all(&store.pool)
    .await
    .map_err(failed)?;
    let mut survey = Survey::default();
    for row in &rows {
        let worker = row.get::<Option<_>, _>(1).map(WorkerId);
        let definitions: Option<String> = row.get(2);
        let group: Option<String> = row.get(3);
        let count = u32::try_from(row.get::<i64, _>(4)).unwrap_or(u32::MAX);
        match (worker, definitions, group) {
            (None, None, None) => survey.now = Timestamp(row.get(0)),
            (Some(worker), Some(known), None) => {
                let known = serde_json::from_str(&known).map_err(StoreError::unavailable)?;
                survey.workers.push(Alive {
                    worker,
                    lease_until: Timestamp(row.get(0)),
                    definitions: known,
                });
            }
            (Some(worker), None, Some(group)) => survey.held.push((group, worker, count)),
            (None, None, Some(group)) => survey.free.push((group, count)),
            _ => {}
        }
    }
    for group in groups {
        let seen = survey.held.iter().any(|(held, ..)| held == group)
            || survey.free.iter().any(|(free, _)| free == group);
        if !seen {
            survey.free.push((group.clone(), u32::from(SHARDS)));
        }
    }
    Ok(survey)
}

/// Shards that a flush still has are skipped: their turn comes when the flush has ended, which
/// the timeouts of its session see to.
pub(super) async fn claim(
    store: &PgStore,
    worker: WorkerId,
    group: &str,
    max: u32,
) -> Result<Vec<ShardLease>, StoreError> {
    let number = store.group(group).await?;
    // A worker whose lease ran out is gone for good: its own heartbeat finds no row from here on.
    statement(
        "DELETE FROM saga_worker WHERE worker IN (
             SELECT worker FROM saga_worker WHERE lease_until <= (SELECT saga_now())
             FOR UPDATE SKIP LOCKED)",
    )
    .execute(&store.pool)
    .await
    .map_err(failed)?;
    // `s.epoch = c.epoch`, since another claim may have committed after this one's snapshot, by
    // a worker whose row that snapshot does not show.
    let rows = statement(
        "WITH c AS MATERIALIZED (
             SELECT s.grp, s.shard, s.epoch, s.owner FROM saga_shard s
             WHERE s.grp = $2
               AND (s.owner IS NULL
                    OR NOT EXISTS (SELECT FROM saga_worker w WHERE w.worker = s.owner))),
         l AS MATERIALIZED (
             SELECT s.grp, s.shard, c.owner FROM saga_shard s
             JOIN c ON s.grp = c.grp AND s.shard = c.shard AND s.epoch = c.epoch
                   AND s.owner IS NOT DISTINCT FROM c.owner
             LIMIT $3
             FOR UPDATE OF s SKIP LOCKED)
         UPDATE saga_shard s SET owner = $1, epoch = s.epoch + 1 FROM l
         WHERE s.grp = l.grp AND s.shard = l.shard
           AND EXISTS (SELECT FROM saga_worker w
                       WHERE w.worker = $1 AND w.lease_until > (SELECT saga_now()))
         RETURNING s.shard, s.epoch, l.owner IS NOT NULL",
    )
    .bind(worker.0)
    .bind(number)
    .bind(i64::from(max))
    .fetch_all(&store.pool)
    .await
    .map_err(failed)?;
    Ok(rows
        .iter()
        .map(|row| ShardLease {
            group: group.into(),
            shard: shard(row.get(0)),
            epoch: row.get(1),
            unclean: row.get(2),
        })
        .collect())
}

pub(super) async fn reclaim(
    store: &PgStore,
    worker: WorkerId,
    shards: &[ShardLease],
) -> Result<Vec<ShardLease>, StoreError> {
    let columns = Columns::of(store, shards).await?;
    // Sorted, as every transaction that locks shards does it.
    let rows = statement(
        "WITH l AS MATERIALIZED (
             SELECT s.grp, s.shard, r.ord FROM saga_shard s
             JOIN unnest($2::int[], $3::smallint[], $4::bigint[])
                  WITH ORDINALITY r (grp, shard, epoch, ord)
               ON s.grp = r.grp AND s.shard = r.shard AND s.epoch = r.epoch
             WHERE s.owner = $1
             ORDER BY s.grp, s.shard
             FOR UPDATE OF s)
         UPDATE saga_shard s SET epoch = s.epoch + 1 FROM l
         WHERE s.grp = l.grp AND s.shard = l.shard
         RETURNING l.ord, s.epoch",
    )
    .bind(worker.0)
    .bind(columns.group)
    .bind(columns.shard)
    .bind(columns.epoch)
    .fetch_all(&store.pool)
    .await
    .map_err(failed)?;
    Ok(rows
        .iter()
        .filter_map(|row| {
            let at = usize::try_from(row.get::<i64, _>(0)).ok()?;
            let old = shards.get(at.checked_sub(1)?)?;
            Some(ShardLease {
                group: old.group.clone(),
                shard: old.shard,
                epoch: row.get(1),
                unclean: false,
            })
        })
        .collect())
}

pub(super) async fn release(
    store: &PgStore,
    worker: WorkerId,
    shards: &[ShardLease],
) -> Result<(), StoreError> {
    let columns = Columns::of(store, shards).await?;
    statement(
        "WITH l AS MATERIALIZED (
             SELECT s.grp, s.shard FROM saga_shard s
             JOIN unnest($2::int[], $3::smallint[], $4::bigint[]) r (grp, shard, epoch)
               ON s.grp = r.grp AND s.shard = r.shard AND s.epoch = r.epoch
             WHERE s.owner = $1
             ORDER BY s.grp, s.shard
             FOR UPDATE OF s)
         UPDATE saga_shard s SET owner = NULL FROM l
         WHERE s.grp = l.grp AND s.shard = l.shard",
    )
    .bind(worker.0)
    .bind(columns.group)
    .bind(columns.shard)
    .bind(columns.epoch)
    .execute(&store.pool)
    .await
    .map(drop)
    .map_err(failed)
}

pub(super) async fn deregister(store: &PgStore, worker: WorkerId) -> Result<(), StoreError> {
    statement(
        "WITH l AS MATERIALIZED (
             SELECT grp, shard FROM saga_shard WHERE owner = $1
             ORDER BY grp, shard FOR UPDATE),
         s AS (
             UPDATE saga_shard s SET owner = NULL FROM l
             WHERE s.grp = l.grp AND s.shard = l.shard)
         DELETE FROM saga_worker WHERE worker = $1",
    )
    .bind(worker.0)
    .execute(&store.pool)
    .await
    .map(drop)
    .map_err(failed)
}

/// Leases as columns, for `unnest`.
struct Columns {
    group: Vec<i32>,
    shard: Vec<i16>,
    epoch: Vec<i64>,
}

impl Columns {
    async fn of(store: &PgStore, shards: &[ShardLease]) -> Result<Self, StoreError> {
        let mut columns = Self {
            group: Vec::with_capacity(shards.len()),
            shard: Vec::with_capacity(shards.len()),
            epoch: Vec::with_capacity(shards.len()),
        };
        for lease in shards {
            columns.group.push(store.group(&lease.group).await?);
            columns.shard.push(small(lease.shard));
            columns.epoch.push(lease.epoch);
        }
        Ok(columns)
    }
}

pub(super) fn shard(value: i16) -> u16 {
    u16::try_from(value).unwrap_or(u16::MAX)
}
