//! `append` on Postgres.

use sqlx::PgConnection;

use super::Connection;
use super::sealed::Sealed;
use crate::error::{Doing, Error};
use crate::event::Event;

/// The statement that appends, for users of other database crates: arrays of one length for
/// id `uuid[]`, topic, key, type `text[]`, payload `bytea[]`, own headers as JSON objects
/// `text[]`, trace `text[]` (`traceparent=…`), slot `int2[]` ([`slot_of`](crate::slot_of)).
/// `ORDER BY ord`, since nothing else promises that rows are numbered in the array's order.
pub const APPEND_SQL: &str = "\
INSERT INTO outbox (id, aggregatetype, aggregateid, type, payload, headers, tracingspancontext, slot, \
created_at) \
SELECT e.id, e.topic, e.key, e.kind, e.payload, e.headers::jsonb, e.trace, e.slot, \
(SELECT clock_timestamp() AT TIME ZONE 'utc') \
FROM (SELECT unnest($1::uuid[]) AS id, unnest($2::text[]) AS topic, unnest($3::text[]) AS key, \
unnest($4::text[]) AS kind, unnest($5::bytea[]) AS payload, unnest($6::text[]) AS headers, \
unnest($7::text[]) AS trace, unnest($8::int2[]) AS slot, generate_subscripts($1::uuid[], 1) AS ord) AS e \
ORDER BY e.ord";

/// The same with idempotency keys in `$9 text[]` (null: none). A key must not be there twice.
pub const APPEND_WITH_KEYS_SQL: &str = "\
WITH e AS (SELECT unnest($1::uuid[]) AS id, unnest($2::text[]) AS topic, unnest($3::text[]) AS key, \
unnest($4::text[]) AS kind, unnest($5::bytea[]) AS payload, unnest($6::text[]) AS headers, \
unnest($7::text[]) AS trace, unnest($8::int2[]) AS slot, unnest($9::text[]) AS once, \
generate_subscripts($1::uuid[], 1) AS ord), \
k AS (INSERT INTO outbox_key (key) SELECT e.once FROM e WHERE e.once IS NOT NULL ORDER BY e.once \
ON CONFLICT DO NOTHING RETURNING key) \
INSERT INTO outbox (id, aggregatetype, aggregateid, type, payload, headers, tracingspancontext, slot, \
created_at) \
SELECT e.id, e.topic, e.key, e.kind, e.payload, e.headers::jsonb, e.trace, e.slot, \
(SELECT clock_timestamp() AT TIME ZONE 'utc') FROM e \
WHERE e.once IS NULL OR e.once IN (SELECT k.key FROM k) \
ORDER BY e.ord";

const LOCK_SQL: &str = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))";

impl Connection for PgConnection {}

impl Sealed for PgConnection {
    async fn write(&mut self, events: &[&Event], keys: bool) -> Result<u64, Error> {
        let sql = if keys {
            APPEND_WITH_KEYS_SQL
        } else {
            APPEND_SQL
        };
        let headers: Vec<_> = events.iter().map(|e| e.headers_json()).collect();
        let traces: Vec<_> = events.iter().map(|e| e.tracing_span_context()).collect();
        let mut query = sqlx::query(sql)
            .bind(events.iter().map(|e| e.id).collect::<Vec<_>>())
            .bind(events.iter().map(|e| e.topic.as_ref()).collect::<Vec<_>>())
            .bind(events.iter().map(|e| e.key.as_ref()).collect::<Vec<_>>())
            .bind(events.iter().map(|e| e.kind.as_ref()).collect::<Vec<_>>())
            .bind(
                events
                    .iter()
                    .map(|e| e.payload.as_deref())
                    .collect::<Vec<_>>(),
            )
            .bind(headers)
            .bind(traces)
            .bind(
                events
                    .iter()
                    .map(|e| i16::from(e.slot()))
                    .collect::<Vec<_>>(),
            );
        if keys {
            let once: Vec<_> = events
                .iter()
                .map(|e| e.idempotency_key.as_deref())
                .collect();
            query = query.bind(once);
        }
        let done = query.execute(self).await.doing("appending events")?;
        Ok(done.rows_affected())
    }

    async fn lock(&mut self, keys: &[(&str, &str)]) -> Result<(), Error> {
        // Statements of their own, one after the other: only a lock that is held before the
        // insert's snapshot is taken, and always in one order, does what it should.
        for (topic, key) in keys {
            sqlx::query(LOCK_SQL)
                .bind(format!("{topic}\u{1f}{key}"))
                .execute(&mut *self)
                .await
                .doing("locking a key")?;
        }
        Ok(())
    }
}
