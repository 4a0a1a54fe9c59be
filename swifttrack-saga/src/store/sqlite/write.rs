//! The statements of a batch, in the order in which they can say that it must not be.

use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, Row as _, Sqlite, SqliteConnection};

use super::rows::{Batch, Rows};
use crate::guard::words;

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

pub(super) async fn write(conn: &mut SqliteConnection, batch: Batch) -> Result<Wrote, sqlx::Error> {
    if !owned(conn, batch.fence).await? {
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

/// Writes all rows; whether each met one.
pub(super) async fn all(
    conn: &mut SqliteConnection,
    statement: Statement,
    rows: Rows,
) -> Result<bool, sqlx::Error> {
    let count = rows.count();
    let mut met = 0;
    for (rows, values) in rows.into_chunks() {
        let done = statement.query(rows, values).execute(&mut *conn).await?;
        met += done.rows_affected();
    }
    Ok(met == count)
}

/// Whether all of these shards are ours at their epochs.
async fn owned(conn: &mut SqliteConnection, leases: Rows) -> Result<bool, sqlx::Error> {
    let count = leases.count();
    let mut owned = 0;
    for (rows, values) in leases.into_chunks() {
        let row = FENCE.query(rows, values).fetch_one(&mut *conn).await?;
        owned += row.get::<i64, _>(0).cast_unsigned();
    }
    Ok(owned == count)
}

/// A statement with a list of rows in it.
///
/// As parameters, since whatever says all rows in one text has to be read again for each value:
/// `json_each` took three times as long as the writing itself. The list has room for the next
/// power of two, so that each statement has few forms, each of which is prepared once and kept.
/// What is not bound is null, and no row of nulls is written or meets another. One statement and
/// not one more for each remainder: every answer waits until its task has its turn again.
#[derive(Clone, Copy)]
pub(super) struct Statement {
    before: &'static str,
    columns: usize,
    after: &'static str,
}

impl Statement {
    fn query(
        self,
        rows: usize,
        values: SqliteArguments,
    ) -> Query<'static, Sqlite, SqliteArguments> {
        // Only question marks are added to what stands below.
        sqlx::query_with(AssertSqlSafe(self.sql(rows.next_power_of_two())), values)
    }

    fn sql(self, rows: usize) -> String {
        let row = format!("({})", vec!["?"; self.columns].join(","));
        let rows = vec![row.as_str(); rows].join(",");
        format!("{}{rows}{}", words(self.before), words(self.after))
    }
}

const FENCE: Statement = Statement {
    before: "SELECT count(*) FROM (VALUES ",
    columns: 4,
    after: ") r CROSS JOIN saga_shard s
        ON s.grp = r.column1 AND s.shard = r.column2 AND s.epoch = r.column3
        AND s.owner = r.column4",
};

pub(super) const TAKE_KEYS: Statement = Statement {
    before: "INSERT INTO saga_key (definition, id, saga, input_hash) SELECT * FROM (VALUES ",
    columns: 4,
    after: ") WHERE column1 IS NOT NULL ON CONFLICT DO NOTHING",
};

pub(super) const CREATE: Statement = Statement {
    before: "INSERT INTO saga (saga, grp, shard, version, seq, wake_at, state, crashes,
        past_pivot, attention) SELECT * FROM (VALUES ",
    columns: 10,
    after: ") WHERE column1 IS NOT NULL",
};

const UPDATE: Statement = Statement {
    before: "UPDATE saga SET seq = r.column6, wake_at = r.column7, state = r.column8,
        crashes = r.column9, past_pivot = r.column10, attention = r.column11
        FROM (VALUES ",
    columns: 11,
    after: ") r
        WHERE saga.saga = r.column1 AND saga.grp = r.column2 AND saga.shard = r.column3
          AND saga.seq = r.column4 AND saga.ctl = r.column5",
};

const DELETE: Statement = Statement {
    before: "DELETE FROM saga WHERE saga IN (SELECT s.saga FROM (VALUES ",
    columns: 5,
    after: ") r CROSS JOIN saga s
        ON s.saga = r.column1 AND s.grp = r.column2 AND s.shard = r.column3
        AND s.seq = r.column4 AND s.ctl = r.column5)",
};

pub(super) const EVENTS: Statement = Statement {
    before: "INSERT INTO saga_event (saga, seq, kind, node, at, payload, facts)
        SELECT * FROM (VALUES ",
    columns: 7,
    after: ") WHERE column1 IS NOT NULL",
};

const CONSUME: Statement = Statement {
    before: "UPDATE saga_signal SET consumed = 1 FROM (VALUES ",
    columns: 2,
    after: ") r WHERE saga_signal.n = r.column1 AND saga_signal.saga = r.column2",
};

const APPLY: Statement = Statement {
    before: "DELETE FROM saga_command WHERE (saga, n) IN (SELECT c.saga, c.n FROM (VALUES ",
    columns: 2,
    after: ") r CROSS JOIN saga_command c ON c.saga = r.column1 AND c.n <= r.column2)",
};
