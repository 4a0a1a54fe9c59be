//! What reaches a running saga from outside: requests and signals.

use sqlx::Row;

use super::rows::statement;
use super::{PgStore, failed};
use crate::store::{Request, Sighting, SignalOutcome, StoreError, StoredSignal};

pub(super) async fn request(store: &PgStore, request: Request) -> Result<Sighting, StoreError> {
    let Some(definition) = store.known(&request.definition).await? else {
        return Ok(Sighting::NotFound);
    };
    let if_seq = request.if_seq.map(i64::from);
    let accepted = statement(
        "WITH u AS (
             UPDATE saga s SET ctl = s.ctl + 1, wake_at = (SELECT saga_now())
             FROM saga_key k
             WHERE k.definition = $1 AND k.id = $2 AND s.saga = k.saga
               AND ($3::bigint IS NULL OR s.seq = $3) AND NOT ($4 AND s.past_pivot)
             RETURNING s.saga, s.ctl),
         c AS (
             INSERT INTO saga_command (saga, n, verb, who, reason, body)
             SELECT saga, ctl, $5, $6, $7, $8 FROM u)
         SELECT saga, ctl FROM u",
    )
    .bind(definition)
    .bind(&request.id)
    .bind(if_seq)
    .bind(request.before_pivot)
    .bind(&request.command.verb)
    .bind(&request.command.who)
    .bind(&request.command.reason)
    .bind(&request.command.body)
    .fetch_optional(&store.pool)
    .await
    .map_err(failed)?;
    if let Some(row) = accepted {
        return Ok(Sighting::Accepted {
            saga: row.get(0),
            n: row.get(1),
        });
    }
    let found = statement(
        "SELECT s.seq, s.past_pivot FROM saga_key k LEFT JOIN saga s ON s.saga = k.saga
         WHERE k.definition = $1 AND k.id = $2",
    )
    .bind(definition)
    .bind(&request.id)
    .fetch_optional(&store.pool)
    .await
    .map_err(failed)?;
    let Some(row) = found else {
        return Ok(Sighting::NotFound);
    };
    let Some(seq) = row.get::<Option<i32>, _>(0) else {
        return Ok(Sighting::Ended);
    };
    if request.before_pivot && row.get::<Option<bool>, _>(1) == Some(true) {
        return Ok(Sighting::PastPivot);
    }
    Ok(Sighting::Moved {
        seq: seq.cast_unsigned(),
    })
}

/// The head row is locked before the inbox is written, so a commit of the owner is either before
/// (and the owner finds the signal by its `wake_at`) or after (and conflicts, by its `ctl`).
pub(super) async fn signal(
    store: &PgStore,
    signal: StoredSignal,
) -> Result<SignalOutcome, StoreError> {
    let Some(definition) = store.known(&signal.definition).await? else {
        return Ok(SignalOutcome::NotFound);
    };
    let row = statement(
        "WITH k AS MATERIALIZED (
             SELECT saga FROM saga_key WHERE definition = $1 AND id = $2),
         h AS MATERIALIZED (
             SELECT s.saga FROM saga s JOIN k ON s.saga = k.saga FOR UPDATE OF s),
         i AS (
             INSERT INTO saga_signal (saga, name, dedupe, payload)
             SELECT saga, $3, $4, $5 FROM h
             ON CONFLICT DO NOTHING
             RETURNING saga),
         u AS (
             UPDATE saga s SET ctl = s.ctl + 1, wake_at = (SELECT saga_now())
             FROM i WHERE s.saga = i.saga)
         SELECT k.saga, EXISTS (SELECT FROM h), EXISTS (SELECT FROM i),
             EXISTS (SELECT FROM saga_signal g
                     WHERE g.saga = k.saga AND g.name = $3 AND g.dedupe = $4)
         FROM k",
    )
    .bind(definition)
    .bind(&signal.id)
    .bind(&signal.name)
    .bind(&signal.dedupe)
    .bind(&*signal.payload)
    .fetch_optional(&store.pool)
    .await
    .map_err(failed)?;
    let Some(row) = row else {
        return Ok(SignalOutcome::NotFound);
    };
    let (runs, taken, before): (bool, bool, bool) = (row.get(1), row.get(2), row.get(3));
    Ok(match (runs, taken, before) {
        (_, true, _) => SignalOutcome::Accepted { saga: row.get(0) },
        (_, false, true) | (true, false, false) => SignalOutcome::Duplicate,
        (false, false, false) => SignalOutcome::Ended,
    })
}
