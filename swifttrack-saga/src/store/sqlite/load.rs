//! Whole sagas, as their owner needs them. One statement, so that head, journal, requests and
//! signals are of one moment.

use std::collections::HashMap;

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use super::rows::{hex, statement};
use super::{SqliteStore, failed, now};
use crate::store::{Command, Loaded, Row, ShardLease, StoreError, StoredSignal, Timestamp};

/// What belongs to the heads `h`: four kinds of rows under one set of columns.
macro_rules! whole {
    ($heads:literal) => {
        concat!(
            "WITH h AS MATERIALIZED (",
            $heads,
            ")
             SELECT 0 AS t, h.saga AS saga, h.ord AS n, h.seq AS a, h.version AS b,
                 h.crashes AS c, h.ctl AS x, h.wake_at AS y, h.shard AS z, NULL AS bytes,
                 d.name AS s1, k.id AS s2, NULL AS s3,
                 CASE WHEN h.past_pivot THEN 'past' END AS s4
             FROM h JOIN saga_key k ON k.saga = h.saga JOIN saga_name d ON d.n = k.definition
             UNION ALL
             SELECT 1, e.saga, e.seq, e.kind, e.node, 0, e.at, NULL, 0, e.payload,
                 e.facts, NULL, NULL, NULL
             FROM h CROSS JOIN saga_event e ON e.saga = h.saga
             UNION ALL
             SELECT 2, c.saga, c.n, 0, 0, 0, c.n, NULL, 0, NULL, c.verb, c.who, c.reason, c.body
             FROM h CROSS JOIN saga_command c ON c.saga = h.saga
             UNION ALL
             SELECT 3, g.saga, g.n, 0, 0, 0, g.n, NULL, 0, g.payload, g.name, g.dedupe, NULL, NULL
             FROM h CROSS JOIN saga_signal g ON g.saga = h.saga AND NOT g.consumed
             ORDER BY t, n"
        )
    };
}

pub(super) async fn active(
    store: &SqliteStore,
    group: &str,
    shard: u16,
    after: Option<Uuid>,
    limit: u32,
) -> Result<Vec<Loaded>, StoreError> {
    let Some(group) = store.known(group).await? else {
        return Ok(Vec::new());
    };
    let rows = statement(whole!(
        "SELECT s.*, row_number() OVER (ORDER BY s.saga) AS ord FROM saga s
         WHERE s.grp = ?1 AND s.shard = ?2 AND s.wake_at IS NULL AND s.saga > ?3
         ORDER BY s.saga LIMIT ?4"
    ))
    .bind(group)
    .bind(shard)
    .bind(after.unwrap_or(Uuid::nil()))
    .bind(limit)
    .fetch_all(&store.read)
    .await
    .map_err(failed)?;
    assemble(&rows).map_err(StoreError::unavailable)
}

pub(super) async fn due(
    store: &SqliteStore,
    shards: &[ShardLease],
    limit: u32,
) -> Result<Vec<Loaded>, StoreError> {
    let groups = store.groups(shards).await?;
    let asked: Vec<(i64, u16)> = groups
        .into_iter()
        .zip(shards)
        .map(|(group, lease)| (group, lease.shard))
        .collect();
    let asked = serde_json::to_string(&asked).map_err(StoreError::invalid)?;
    let rows = statement(whole!(
        "SELECT s.*, row_number() OVER (ORDER BY s.wake_at, s.saga) AS ord
         FROM (SELECT * FROM saga
               WHERE wake_at IS NOT NULL AND wake_at <= ?2
                 AND (grp, shard) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?1))
               ORDER BY wake_at LIMIT ?3) s"
    ))
    .bind(asked)
    .bind(now())
    .bind(limit)
    .fetch_all(&store.read)
    .await
    .map_err(failed)?;
    assemble(&rows).map_err(StoreError::unavailable)
}

pub(super) async fn by_id(store: &SqliteStore, sagas: &[Uuid]) -> Result<Vec<Loaded>, StoreError> {
    let rows = statement(whole!(
        "SELECT s.*, row_number() OVER (ORDER BY s.saga) AS ord FROM saga s
         WHERE s.saga IN (SELECT unhex(value) FROM json_each(?1))"
    ))
    .bind(hex(sagas))
    .fetch_all(&store.read)
    .await
    .map_err(failed)?;
    assemble(&rows).map_err(StoreError::unavailable)
}

fn assemble(rows: &[SqliteRow]) -> Result<Vec<Loaded>, sqlx::Error> {
    let mut all: Vec<Loaded> = Vec::new();
    let mut place: HashMap<Uuid, usize> = HashMap::new();
    for row in rows {
        let saga: Uuid = row.try_get("saga")?;
        let kind: i64 = row.try_get("t")?;
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

fn head(saga: Uuid, row: &SqliteRow) -> Result<Loaded, sqlx::Error> {
    Ok(Loaded {
        saga,
        definition: row.try_get("s1")?,
        id: row.try_get("s2")?,
        version: row.try_get("b")?,
        shard: row.try_get("z")?,
        seq: row.try_get("a")?,
        ctl: row.try_get("x")?,
        crashes: row.try_get("c")?,
        past_pivot: row.try_get::<Option<&str>, _>("s4")?.is_some(),
        wake_at: row.try_get::<Option<i64>, _>("y")?.map(Timestamp),
        journal: Vec::new(),
        commands: Vec::new(),
        signals: Vec::new(),
    })
}

fn event(row: &SqliteRow) -> Result<Row, sqlx::Error> {
    Ok(Row {
        seq: row.try_get("n")?,
        kind: row.try_get("a")?,
        node: row.try_get("b")?,
        at: Timestamp(row.try_get("x")?),
        payload: row.try_get::<Option<&[u8]>, _>("bytes")?.map(Into::into),
        facts: row.try_get::<Option<&str>, _>("s1")?.map(Into::into),
    })
}
