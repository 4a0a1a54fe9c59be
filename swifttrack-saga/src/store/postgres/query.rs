//! What is asked about sagas.

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::rows::{int, statement};
use super::{PgStore, failed};
use crate::store::{Found, Listed, Page, Row, StoreError, Timestamp};

pub(super) async fn find(
    store: &PgStore,
    definition: &str,
    id: &str,
) -> Result<Option<Found>, StoreError> {
    let Some(number) = store.known(definition).await? else {
        return Ok(None);
    };
    let row = statement(
        "SELECT k.saga, k.id, s.version, s.seq, s.state, s.attention, s.wake_at, $3::text AS name,
             k.input_hash
         FROM saga_key k LEFT JOIN saga s ON s.saga = k.saga
         WHERE k.definition = $1 AND k.id = $2",
    )
    .bind(number)
    .bind(id)
    .bind(definition)
    .fetch_optional(&store.pool)
    .await
    .map_err(failed)?;
    row.map(|row| {
        let running = match row.try_get::<Option<i32>, _>("seq")? {
            Some(_) => Some(listed(&row)?),
            None => None,
        };
        let hash: &[u8] = row.try_get("input_hash")?;
        Ok(Found {
            saga: row.try_get("saga")?,
            input_hash: hash
                .try_into()
                .map_err(|e| sqlx::Error::Decode(Box::new(e)))?,
            running,
        })
    })
    .transpose()
    .map_err(|error: sqlx::Error| StoreError::unavailable(error))
}

pub(super) async fn list(store: &PgStore, page: Page) -> Result<Vec<Listed>, StoreError> {
    let definition = match &page.definition {
        None => None,
        Some(name) => match store.known(name).await? {
            None => return Ok(Vec::new()),
            number => number,
        },
    };
    let rows = statement(
        "SELECT s.saga, k.id, s.version, s.seq, s.state, s.attention, s.wake_at, d.name
         FROM saga s JOIN saga_key k ON k.saga = s.saga
         JOIN saga_name d ON d.n = k.definition
         WHERE s.saga > $1 AND ($2::int IS NULL OR k.definition = $2)
           AND ($3::smallint IS NULL OR s.state = $3)
         ORDER BY s.saga LIMIT $4",
    )
    .bind(page.after.unwrap_or(Uuid::nil()))
    .bind(definition)
    .bind(page.state)
    .bind(i64::from(page.limit))
    .fetch_all(&store.pool)
    .await
    .map_err(failed)?;
    rows.iter()
        .map(listed)
        .collect::<Result<_, _>>()
        .map_err(StoreError::unavailable)
}

pub(super) async fn history(
    store: &PgStore,
    saga: Uuid,
    after: u32,
    limit: u32,
) -> Result<Vec<Row>, StoreError> {
    let rows = statement(
        "SELECT seq, kind, node, at, payload, facts FROM saga_event
         WHERE saga = $1 AND seq > $2 ORDER BY seq LIMIT $3",
    )
    .bind(saga)
    .bind(int(after))
    .bind(i64::from(limit))
    .fetch_all(&store.pool)
    .await
    .map_err(failed)?;
    rows.iter()
        .map(event)
        .collect::<Result<_, _>>()
        .map_err(StoreError::unavailable)
}

fn listed(row: &PgRow) -> Result<Listed, sqlx::Error> {
    Ok(Listed {
        saga: row.try_get("saga")?,
        definition: row.try_get("name")?,
        version: row.try_get::<i32, _>("version")?.cast_unsigned(),
        id: row.try_get("id")?,
        seq: row.try_get::<i32, _>("seq")?.cast_unsigned(),
        state: row.try_get("state")?,
        attention: row.try_get("attention")?,
        wake_at: row.try_get::<Option<i64>, _>("wake_at")?.map(Timestamp),
    })
}

fn event(row: &PgRow) -> Result<Row, sqlx::Error> {
    Ok(Row {
        seq: row.try_get::<i32, _>("seq")?.cast_unsigned(),
        kind: row.try_get("kind")?,
        node: row.try_get("node")?,
        at: Timestamp(row.try_get("at")?),
        payload: row.try_get::<Option<&[u8]>, _>("payload")?.map(Into::into),
        facts: row.try_get::<Option<&str>, _>("facts")?.map(Into::into),
    })
}
