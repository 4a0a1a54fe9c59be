//! Workers and the shards that they hold. The file has one process at a time, so each of these
//! is a short transaction on the connection that writes.

use std::sync::PoisonError;
use std::time::Duration;

use sqlx::{Row, SqliteConnection, query_scalar};
use uuid::Uuid;

use super::open::lock;
use super::rows::statement;
use super::{SqliteStore, failed, now};
use crate::guard::words;
use crate::store::batch::SHARDS;
use crate::store::{Alive, ShardLease, StoreError, Survey, Timestamp, WorkerId};

pub(super) async fn register(
    store: &SqliteStore,
    worker: WorkerId,
    definitions: &[(String, u32)],
    lease: Duration,
) -> Result<Timestamp, StoreError> {
    super::schema::check(store).await?;
    let taken = {
        let mut held = store.lock.lock().unwrap_or_else(PoisonError::into_inner);
        match &*held {
            Some(_) => false,
            None => {
                *held = Some(lock(&store.write)?);
                true
            }
        }
    };
    let known = serde_json::to_string(definitions).map_err(StoreError::invalid)?;
    store
        .transact(async |conn| {
            if taken {
                // The lock says that whoever is written here has ended, whatever its lease.
                statement("DELETE FROM saga_worker")
                    .execute(&mut *conn)
                    .await?;
            }
            let at = now();
            statement(
                "INSERT INTO saga_worker (worker, lease_until, definitions) VALUES (?, ?, ?)",
            )
            .bind(worker.0)
            .bind(until(at, lease))
            .bind(&known)
            .execute(conn)
            .await?;
            Ok(Timestamp(at))
        })
        .await
}

pub(super) async fn heartbeat(
    store: &SqliteStore,
    worker: WorkerId,
    lease: Duration,
) -> Result<Timestamp, StoreError> {
    let at = now();
    let done =
        statement("UPDATE saga_worker SET lease_until = ?2 WHERE worker = ?1 AND lease_until > ?3")
            .bind(worker.0)
            .bind(until(at, lease))
            .bind(at)
            .execute(&store.write)
            .await
            .map_err(failed)?;
    match done.rows_affected() {
        0 => Err(StoreError::fenced("the worker's lease ran out")),
        _ => Ok(Timestamp(at)),
    }
}

pub(super) async fn survey(store: &SqliteStore, groups: &[String]) -> Result<Survey, StoreError> {
    let at = now();
    let names = serde_json::to_string(groups).map_err(StoreError::invalid)?;
    let rows = statement(
        "SELECT worker, definitions, NULL, lease_until FROM saga_worker WHERE lease_until > ?1
         UNION ALL
         SELECT w.worker, NULL, d.name, count(*)
         FROM json_each(?2) g CROSS JOIN saga_name d ON d.name = g.value
         JOIN saga_shard s ON s.grp = d.n
         LEFT JOIN saga_worker w ON w.worker = s.owner AND w.lease_until > ?1
         GROUP BY w.worker, d.name",
    )
    .bind(at)
    .bind(names)
    .fetch_all(&store.read)
    .await
    .map_err(failed)?;
    let mut survey = Survey {
        now: Timestamp(at),
        ..Survey::default()
    };
    for row in &rows {
        let worker = row.get::<Option<Uuid>, _>(0).map(WorkerId);
        let definitions: Option<String> = row.get(1);
        let group: Option<String> = row.get(2);
        let number: i64 = row.get(3);
        let count = u32::try_from(number).unwrap_or(u32::MAX);
        match (worker, definitions, group) {
            (Some(worker), Some(known), None) => {
                let known = serde_json::from_str(&known).map_err(StoreError::unavailable)?;
                survey.workers.push(Alive {
                    worker,
                    lease_until: Timestamp(number),
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

pub(super) async fn claim(
    store: &SqliteStore,
    worker: WorkerId,
    group: &str,
    max: u32,
) -> Result<Vec<ShardLease>, StoreError> {
    let number = store.group(group).await?;
    store
        .transact(async |conn| {
            // A worker whose lease ran out is gone for good.
            statement("DELETE FROM saga_worker WHERE lease_until <= ?")
                .bind(now())
                .execute(&mut *conn)
                .await?;
            let free = statement(
                "SELECT s.shard, s.epoch + 1, s.owner IS NOT NULL FROM saga_shard s
                 WHERE s.grp = ?1
                   AND NOT EXISTS (SELECT 1 FROM saga_worker w WHERE w.worker = s.owner)
                   AND EXISTS (SELECT 1 FROM saga_worker w WHERE w.worker = ?2)
                 ORDER BY s.shard LIMIT ?3",
            )
            .bind(number)
            .bind(worker.0)
            .bind(max)
            .fetch_all(&mut *conn)
            .await?;
            let leases: Vec<ShardLease> = free
                .iter()
                .map(|row| ShardLease {
                    group: group.into(),
                    shard: row.get(0),
                    epoch: row.get(1),
                    unclean: row.get(2),
                })
                .collect();
            own(conn, Some(worker), number, &leases).await?;
            Ok(leases)
        })
        .await
}

/// Writes owner and epoch of shards.
async fn own(
    conn: &mut SqliteConnection,
    owner: Option<WorkerId>,
    group: i64,
    leases: &[ShardLease],
) -> Result<(), sqlx::Error> {
    let rows: Vec<(u16, i64)> = leases.iter().map(|l| (l.shard, l.epoch)).collect();
    let rows = serde_json::to_string(&rows).map_err(|error| sqlx::Error::Encode(error.into()))?;
    statement(
        "UPDATE saga_shard SET owner = ?1, epoch = r.value ->> 1 FROM json_each(?3) r
         WHERE saga_shard.grp = ?2 AND saga_shard.shard = r.value ->> 0",
    )
    .bind(owner.map(|worker| worker.0))
    .bind(group)
    .bind(rows)
    .execute(conn)
    .await
    .map(drop)
}

/// Those of `shards` that are still this worker's at that epoch.
async fn held(
    conn: &mut SqliteConnection,
    worker: WorkerId,
    group: i64,
    lease: &ShardLease,
) -> Result<bool, sqlx::Error> {
    query_scalar(words(
        "SELECT count(*) > 0 FROM saga_shard
         WHERE grp = ?1 AND shard = ?2 AND epoch = ?3 AND owner = ?4",
    ))
    .bind(group)
    .bind(lease.shard)
    .bind(lease.epoch)
    .bind(worker.0)
    .fetch_one(conn)
    .await
}

pub(super) async fn reclaim(
    store: &SqliteStore,
    worker: WorkerId,
    shards: &[ShardLease],
) -> Result<Vec<ShardLease>, StoreError> {
    let groups = store.groups(shards).await?;
    store
        .transact(async |conn| {
            let mut renewed = Vec::with_capacity(shards.len());
            for (lease, group) in shards.iter().zip(&groups) {
                if held(conn, worker, *group, lease).await? {
                    let lease = ShardLease {
                        epoch: lease.epoch + 1,
                        unclean: false,
                        ..lease.clone()
                    };
                    own(conn, Some(worker), *group, std::slice::from_ref(&lease)).await?;
                    renewed.push(lease);
                }
            }
            Ok(renewed)
        })
        .await
}

pub(super) async fn release(
    store: &SqliteStore,
    worker: WorkerId,
    shards: &[ShardLease],
) -> Result<(), StoreError> {
    let groups = store.groups(shards).await?;
    store
        .transact(async |conn| {
            for (lease, group) in shards.iter().zip(&groups) {
                if held(conn, worker, *group, lease).await? {
                    own(conn, None, *group, std::slice::from_ref(lease)).await?;
                }
            }
            Ok(())
        })
        .await
}

/// With the last worker goes the lock of the file.
pub(super) async fn deregister(store: &SqliteStore, worker: WorkerId) -> Result<(), StoreError> {
    let left: i64 = store
        .transact(async |conn| {
            statement("UPDATE saga_shard SET owner = NULL WHERE owner = ?")
                .bind(worker.0)
                .execute(&mut *conn)
                .await?;
            statement("DELETE FROM saga_worker WHERE worker = ?")
                .bind(worker.0)
                .execute(&mut *conn)
                .await?;
            query_scalar("SELECT count(*) FROM saga_worker")
                .fetch_one(conn)
                .await
        })
        .await?;
    if left == 0 {
        *store.lock.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
    Ok(())
}

fn until(at: i64, lease: Duration) -> i64 {
    at.saturating_add(i64::try_from(lease.as_micros()).unwrap_or(i64::MAX))
}
