//! The statements of a batch, in the order in which they can say that it must not be.

use sqlx::sqlite::SqliteArguments;
use sqlx::{Sqlite, SqliteConnection, query, query_scalar};

use super::rows::{Batch, Rows};
use crate::store::WorkerId;

/// How far a batch came. Whatever is not `All` left the transaction to be rolled back, unless
/// the batch is one change: then nothing of it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrote {
    All,
    /// A shard is not ours at that epoch.
    Fenced,
    /// An id is taken.
    Taken,
    /// A `seq` or `ctl` is another.
    Moved,
}

pub(super) async fn write(
    conn: &mut SqliteConnection,
    worker: WorkerId,
    batch: Batch,
) -> Result<Wrote, sqlx::Error> {
    let (leases, (json, _)) = (batch.fence.count(), batch.fence.into_parts());
    let owned: i64 = query_scalar(FENCE)
        .bind(json)
        .bind(worker.0)
        .fetch_one(&mut *conn)
        .await?;
    if owned.cast_unsigned() != leases {
        return Ok(Wrote::Fenced);
    }
    if !all(conn, TAKE_KEYS, batch.keys).await? {
        return Ok(Wrote::Taken);
    }
    if !all(conn, UPDATE, batch.updates).await? || !all(conn, DELETE, batch.deletes).await? {
        return Ok(Wrote::Moved);
    }
    all(conn, CREATE, batch.creates).await?;
    all(conn, EVENTS, batch.events).await?;
    all(conn, CONSUME, batch.signals).await?;
    all(conn, APPLY, batch.commands).await?;
    Ok(Wrote::All)
}

/// Runs one statement for all rows; whether each met one.
pub(super) async fn all(
    conn: &mut SqliteConnection,
    sql: &'static str,
    rows: Rows,
) -> Result<bool, sqlx::Error> {
    let count = rows.count();
    if count == 0 {
        return Ok(true);
    }
    let done = bind(sql, rows).execute(conn).await?;
    Ok(done.rows_affected() == count)
}

fn bind(sql: &'static str, rows: Rows) -> sqlx::query::Query<'static, Sqlite, SqliteArguments> {
    let (json, bytes) = rows.into_parts();
    query(sql).bind(json).bind(bytes)
}

const FENCE: &str = "
    SELECT count(*) FROM json_each(?1) r CROSS JOIN saga_shard s
    ON s.grp = r.value ->> 0 AND s.shard = r.value ->> 1 AND s.epoch = r.value ->> 2
    WHERE s.owner = ?2";

pub(super) const TAKE_KEYS: &str = "
    INSERT INTO saga_key (id, saga, input_hash, definition)
    SELECT CAST(substr(?2, value ->> 0, value ->> 1) AS TEXT),
        substr(?2, value ->> 2, value ->> 3), substr(?2, value ->> 4, value ->> 5), value ->> 6
    FROM json_each(?1) WHERE true
    ON CONFLICT DO NOTHING";

pub(super) const CREATE: &str = "
    INSERT INTO saga (saga, grp, shard, version, seq, wake_at, state, crashes, past_pivot,
        attention)
    SELECT substr(?2, 1 + 16 * key, 16), value ->> 0, value ->> 1, value ->> 2, value ->> 3,
        value ->> 4, value ->> 5, value ->> 6, value ->> 7, value ->> 8
    FROM json_each(?1)";

const UPDATE: &str = "
    UPDATE saga SET seq = r.value ->> 4, wake_at = r.value ->> 5, state = r.value ->> 6,
        crashes = r.value ->> 7, past_pivot = r.value ->> 8, attention = r.value ->> 9
    FROM json_each(?1) r
    WHERE saga.saga = substr(?2, 1 + 16 * r.key, 16) AND saga.grp = r.value ->> 0
      AND saga.shard = r.value ->> 1 AND saga.seq = r.value ->> 2 AND saga.ctl = r.value ->> 3";

const DELETE: &str = "
    DELETE FROM saga WHERE saga IN (
        SELECT s.saga FROM json_each(?1) r CROSS JOIN saga s
        ON s.saga = substr(?2, 1 + 16 * r.key, 16) AND s.grp = r.value ->> 0
        AND s.shard = r.value ->> 1 AND s.seq = r.value ->> 2 AND s.ctl = r.value ->> 3)";

pub(super) const EVENTS: &str = "
    INSERT INTO saga_event (saga, seq, kind, node, at, payload, facts)
    SELECT substr(?2, value ->> 0, value ->> 1), value ->> 2, value ->> 3, value ->> 4,
        value ->> 5, substr(?2, value ->> 6, value ->> 7),
        CAST(substr(?2, value ->> 8, value ->> 9) AS TEXT)
    FROM json_each(?1)";

const CONSUME: &str = "
    UPDATE saga_signal SET consumed = 1 FROM json_each(?1) r
    WHERE saga_signal.n = r.value ->> 0 AND saga_signal.saga = substr(?2, 1 + 16 * r.key, 16)";

const APPLY: &str = "
    DELETE FROM saga_command WHERE (saga, n) IN (
        SELECT c.saga, c.n FROM json_each(?1) r CROSS JOIN saga_command c
        ON c.saga = substr(?2, 1 + 16 * r.key, 16) AND c.n <= r.value ->> 0)";
