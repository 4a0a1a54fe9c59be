//! `append` on SQLite.

use serde_json::Value;
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::Connection;
use super::sealed::Sealed;
use crate::error::{Doing, Error};
use crate::event::Event;

/// The statement that appends, for users of other database crates. Its one parameter is a JSON
/// array of arrays: id (hex), topic, key, type, payload (text), payload (hex, when it is not
/// text), own headers (a JSON object as text), trace (`traceparent=…`), slot
/// ([`slot_of`](crate::slot_of)), idempotency key or null. A row whose key is in `outbox_key` is
/// left out; [`APPEND_KEYS_SQL`] follows in the same transaction.
pub const APPEND_SQL: &str = "\
INSERT INTO outbox (id, aggregatetype, aggregateid, type, payload, headers, tracingspancontext, slot) \
SELECT unhex(value ->> 0), value ->> 1, value ->> 2, value ->> 3, \
CASE WHEN value ->> 5 IS NULL THEN CAST(value ->> 4 AS BLOB) ELSE unhex(value ->> 5) END, \
value ->> 6, value ->> 7, value ->> 8 \
FROM json_each(?1) AS e \
WHERE value ->> 9 IS NULL OR NOT EXISTS (SELECT 1 FROM outbox_key k WHERE k.key = e.value ->> 9) \
ORDER BY e.key";

/// Keeps the idempotency keys of a JSON array of strings.
pub const APPEND_KEYS_SQL: &str = "\
INSERT INTO outbox_key (key) SELECT value FROM json_each(?1) WHERE true \
ON CONFLICT DO NOTHING";

/// Rows in one statement without keys: their 8 columns are well within SQLite's 32,766 parameters.
const PLAIN_ROWS_MAX: usize = 512;

impl Connection for SqliteConnection {}

impl Sealed for SqliteConnection {
    async fn write(&mut self, events: &[&Event], keys: bool) -> Result<u64, Error> {
        if !keys {
            return write_plain(self, events).await;
        }
        let rows: Vec<Value> = events.iter().map(|event| row(event)).collect();
        let done = sqlx::query(APPEND_SQL)
            .bind(Value::Array(rows).to_string())
            .execute(&mut *self)
            .await
            .doing("appending events")?;
        if keys {
            // Second, so that without a transaction a crash in between forgets the key and
            // not the event.
            let keys: Vec<Value> = events
                .iter()
                .filter_map(|e| e.idempotency_key.as_deref())
                .map(Value::from)
                .collect();
            sqlx::query(APPEND_KEYS_SQL)
                .bind(Value::Array(keys).to_string())
                .execute(&mut *self)
                .await
                .doing("keeping idempotency keys")?;
        }
        Ok(done.rows_affected())
    }

    async fn lock(&mut self, _keys: &[(&str, &str)]) -> Result<(), Error> {
        Ok(()) // one writer at a time, whatever the key
    }
}

/// As parameters, since a JSON text is read again for each value of a row. There is room for the
/// next power of two, so that few forms are prepared and kept; what is not bound is null, and no
/// row of nulls is written.
async fn write_plain(conn: &mut SqliteConnection, events: &[&Event]) -> Result<u64, Error> {
    let mut written = 0;
    for chunk in events.chunks(PLAIN_ROWS_MAX) {
        let places = vec!["(?,?,?,?,?,?,?,?)"; chunk.len().next_power_of_two()].join(",");
        // Only question marks vary.
        let mut query = sqlx::query(AssertSqlSafe(format!(
            "INSERT INTO outbox (id, aggregatetype, aggregateid, type, payload, headers, \
             tracingspancontext, slot) \
             SELECT * FROM (VALUES {places}) WHERE column1 IS NOT NULL"
        )));
        for event in chunk {
            query = query
                .bind(event.id)
                .bind(event.topic.as_ref())
                .bind(event.key.as_ref())
                .bind(event.kind.as_ref())
                .bind(event.payload.as_deref())
                .bind(event.headers_json())
                .bind(event.tracing_span_context())
                .bind(event.slot());
        }
        let done = query.execute(&mut *conn).await.doing("appending events")?;
        written += done.rows_affected();
    }
    Ok(written)
}

fn row(event: &Event) -> Value {
    let payload = event.payload.as_deref();
    // SQLite's JSON ends a text at a NUL.
    let text = payload
        .filter(|bytes| !bytes.contains(&0))
        .and_then(|bytes| std::str::from_utf8(bytes).ok());
    let hexed = match (payload, text) {
        (Some(bytes), None) => Some(hex(bytes)),
        _ => None,
    };
    Value::Array(vec![
        event.id.simple().to_string().into(),
        event.topic.as_ref().into(),
        event.key.as_ref().into(),
        event.kind.as_ref().into(),
        text.into(),
        hexed.into(),
        event.headers_json().into(),
        event.tracing_span_context().into(),
        event.slot().into(),
        event.idempotency_key.as_deref().into(),
    ])
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)] as char);
        text.push(DIGITS[usize::from(byte & 15)] as char);
    }
    text
}
