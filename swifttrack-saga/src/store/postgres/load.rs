//! Whole sagas, as their owner needs them. One statement, so that head, journal, requests and
//! signals are of one moment.

use std::collections::HashMap;

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::lease::shard as unsigned;
use super::rows::{PgQuery, small, statement};
use super::{PgStore, failed};
use crate::store::{Command, Loaded, Row, ShardLease, StoreError, StoredSignal, Timestamp};

pub(super) async fn active(
    store: &PgStore,
    group: &str,
    shard: u16,
    after: Option<Uuid>,
    limit: u32,
) -> Result<Vec<Loaded>, StoreError> {
    let Some(group) = store.known(group).await? else {
        return Ok(Vec::new());
    };
    let chosen = statement(concat!(
        "WITH h AS MATERIALIZED (
             SELECT s.*, row_number() OVER (ORDER BY s.saga) AS ord FROM saga s
             WHERE s.grp = $1 AND s.shard = $2 AND s.wake_at IS NULL
               AND s.saga > $3
             ORDER BY s.saga LIMIT $4)",
        whole!()
    ))
    .bind(group)
    .bind(small(shard))
    .bind(after.unwrap_or(Uuid::nil()))
    .bind(i64::from(limit));
    read(store, chosen).await
}

pub(super) async fn due(
    store: &PgStore,
    shards: &[ShardLease],
    limit: u32,
) -> Result<Vec<Loaded>, StoreError> {
    let (mut group, mut shard) = (Vec::new(), Vec::new());
    for lease in shards {
        group.push(store.group(&lease.group).await?);
        shard.push(small(lease.shard));
    }
    // The oldest of each shard, then the oldest of those.
    let chosen = statement(concat!(
        "WITH h AS MATERIALIZED (
             SELECT s.*, row_number() OVER (ORDER BY s.wake_at, s.saga) AS ord
             FROM unnest($1::int[], $2::smallint[]) q (grp, shard)
             CROSS JOIN LATERAL (
                 SELECT * FROM saga s
                 WHERE s.grp = q.grp AND s.shard = q.shard AND s.wake_at IS NOT NULL
                   AND s.wake_at <= (SELECT saga_now())
                 ORDER BY s.wake_at LIMIT $3) s
             ORDER BY s.wake_at, s.saga LIMIT $3)",
        whole!()
    ))
    .bind(group)
    .bind(shard)
    .bind(i64::from(limit));
    read(store, chosen).await
}

pub(super) async fn by_id(store: &PgStore, sagas: &[Uuid]) -> Result<Vec<Loaded>, StoreError> {
    let chosen = statement(concat!(
        "WITH h AS MATERIALIZED (
             SELECT s.*, row_number() OVER (ORDER BY s.saga) AS ord FROM saga s
             WHERE s.saga = ANY($1))",
        whole!()
    ))
    .bind(sagas);
    read(store, chosen).await
}

/// What belongs to the heads `h`: four kinds of rows under one set of columns.
macro_rules! whole {
    () => {
        "
         SELECT 0 AS t, h.saga, h.ord AS n, h.seq AS a, h.version AS b, h.crashes AS c,
             h.ctl AS x, h.wake_at AS y, NULL::bytea AS bytes,
             d.name AS s1, k.id AS s2, h.shard::text AS s3,
             CASE WHEN h.past_pivot THEN 'past' END AS s4
         FROM h JOIN saga_key k ON k.saga = h.saga
         JOIN saga_name d ON d.n = k.definition
         UNION ALL
         SELECT 1, e.saga, e.seq, e.kind, e.node, 0, e.at, NULL, e.payload,
             e.facts, NULL, NULL, NULL
         FROM h JOIN saga_event e ON e.saga = h.saga
         UNION ALL
         SELECT 2, c.saga, c.n, 0, 0, 0, c.n, NULL, NULL, c.verb, c.who, c.reason, c.body
         FROM h JOIN saga_command c ON c.saga = h.saga
         UNION ALL
         SELECT 3, g.saga, g.n, 0, 0, 0, g.n, NULL, g.payload, g.name, g.dedupe, NULL, NULL
         FROM h JOIN saga_signal g ON g.saga = h.saga AND NOT g.consumed
         ORDER BY t, n"
    };
}
use whole;

async fn read(store: &PgStore, chosen: PgQuery<'_>) -> Result<Vec<Loaded>, StoreError> {
    let rows = chosen.fetch_all(&store.pool).await.map_err(failed)?;
    assemble(&rows).map_err(StoreError::unavailable)
}

fn assemble(rows: &[PgRow]) -> Result<Vec<Loaded>, sqlx::Error> {
    let mut all: Vec<Loaded> = Vec::new();
    let mut place: HashMap<Uuid, usize> = HashMap::new();
    for row in rows {
        let saga: Uuid = row.try_get("saga")?;
        let kind: i32 = row.try_get("t")?;
        if kind == 0 {
            place.insert(saga, all.len());
            all.push(head(saga, row)?);
            continue;
        }
        let Some(loaded) = place.get(&saga).and_then(|i| all.get_mut(*i)) else {
            continue;
        };
        match kind {
            1 => loaded.journal.push(event(row)?),
            2 => loaded.commands.push(Command {
                n: row.try_get("x")?,
                verb: row.try_get("s1")?,
                who: row.try_get("s2")?,
                reason: row.try_get("s3")?,
                body: row.try_get("s4")?,
            }),
            _ => loaded.signals.push(StoredSignal {
                n: row.try_get("x")?,
                definition: loaded.definition.clone(),
                id: loaded.id.clone(),
                name: row.try_get("s1")?,
                dedupe: row.try_get("s2")?,
                payload: row.try_get::<&[u8], _>("bytes")?.into(),
            }),
        }
    }
    Ok(all)
}

fn head(saga: Uuid, row: &PgRow) -> Result<Loaded, sqlx::Error> {
    let shard: &str = row.try_get("s3")?;
    Ok(Loaded {
        saga,
        definition: row.try_get("s1")?,
        id: row.try_get("s2")?,
        version: row.try_get::<i32, _>("b")?.cast_unsigned(),
        shard: unsigned(shard.parse().unwrap_or(-1)),
        seq: row.try_get::<i32, _>("a")?.cast_unsigned(),
        ctl: row.try_get("x")?,
        crashes: i16::try_from(row.try_get::<i32, _>("c")?).unwrap_or(i16::MAX),
        past_pivot: row.try_get::<Option<&str>, _>("s4")?.is_some(),
        wake_at: row.try_get::<Option<i64>, _>("y")?.map(Timestamp),
        journal: Vec::new(),
        commands: Vec::new(),
        signals: Vec::new(),
    })
}

fn event(row: &PgRow) -> Result<Row, sqlx::Error> {
    Ok(Row {
        seq: u32::try_from(row.try_get::<i64, _>("n")?).unwrap_or(u32::MAX),
        kind: i16::try_from(row.try_get::<i32, _>("a")?).unwrap_or(i16::MAX),
        node: i16::try_from(row.try_get::<i32, _>("b")?).unwrap_or(i16::MAX),
        at: Timestamp(row.try_get("x")?),
        payload: row.try_get::<Option<&[u8]>, _>("bytes")?.map(Into::into),
        facts: row.try_get::<Option<&str>, _>("s1")?.map(Into::into),
    })
}
