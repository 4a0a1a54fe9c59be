//! What reaches a running saga from outside: requests and signals.

use sqlx::{Row, SqliteConnection};
use uuid::Uuid;

use super::rows::statement;
use super::{SqliteStore, now};
use crate::store::{Request, Sighting, SignalOutcome, StoreError, StoredSignal};

pub(super) async fn request(store: &SqliteStore, request: Request) -> Result<Sighting, StoreError> {
    let Some(definition) = store.known(&request.definition).await? else {
        return Ok(Sighting::NotFound);
    };
    store
        .transact(async |conn| {
            let found = statement(
                "SELECT k.saga, s.seq, s.past_pivot, s.ctl + 1
                 FROM saga_key k LEFT JOIN saga s ON s.saga = k.saga
                 WHERE k.definition = ?1 AND k.id = ?2",
            )
            .bind(definition)
            .bind(&request.id)
            .fetch_optional(&mut *conn)
            .await?;
            let Some(row) = found else {
                return Ok(Sighting::NotFound);
            };
            let Some(seq) = row.get::<Option<u32>, _>(1) else {
                return Ok(Sighting::Ended);
            };
            if request.before_pivot && row.get::<bool, _>(2) {
                return Ok(Sighting::PastPivot);
            }
            if request.if_seq.is_some_and(|asked| asked != seq) {
                return Ok(Sighting::Moved { seq });
            }
            let (saga, n): (Uuid, i64) = (row.get(0), row.get(3));
            wake(conn, saga).await?;
            statement(
                "INSERT INTO saga_command (saga, n, verb, who, reason, body)
                 VALUES (?, ?, ?, ?, ?, ?)",
            )
            .bind(saga)
            .bind(n)
            .bind(&request.command.verb)
            .bind(&request.command.who)
            .bind(&request.command.reason)
            .bind(&request.command.body)
            .execute(conn)
            .await?;
            Ok(Sighting::Accepted { saga, n })
        })
        .await
}

pub(super) async fn signal(
    store: &SqliteStore,
    signal: StoredSignal,
) -> Result<SignalOutcome, StoreError> {
    let Some(definition) = store.known(&signal.definition).await? else {
        return Ok(SignalOutcome::NotFound);
    };
    store
        .transact(async |conn| {
            let found = statement(
                "SELECT k.saga, s.saga IS NOT NULL, EXISTS (
                     SELECT 1 FROM saga_signal g
                     WHERE g.saga = k.saga AND g.name = ?3 AND g.dedupe = ?4)
                 FROM saga_key k LEFT JOIN saga s ON s.saga = k.saga
                 WHERE k.definition = ?1 AND k.id = ?2",
            )
            .bind(definition)
            .bind(&signal.id)
            .bind(&signal.name)
            .bind(&signal.dedupe)
            .fetch_optional(&mut *conn)
            .await?;
            let Some(row) = found else {
                return Ok(SignalOutcome::NotFound);
            };
            let (saga, runs, before): (Uuid, bool, bool) = (row.get(0), row.get(1), row.get(2));
            if before {
                return Ok(SignalOutcome::Duplicate);
            }
            if !runs {
                return Ok(SignalOutcome::Ended);
            }
            statement("INSERT INTO saga_signal (saga, name, dedupe, payload) VALUES (?, ?, ?, ?)")
                .bind(saga)
                .bind(&signal.name)
                .bind(&signal.dedupe)
                .bind(&*signal.payload)
                .execute(&mut *conn)
                .await?;
            wake(conn, saga).await?;
            Ok(SignalOutcome::Accepted { saga })
        })
        .await
}

/// The owner finds the saga, and cannot commit before it has looked.
async fn wake(conn: &mut SqliteConnection, saga: Uuid) -> Result<(), sqlx::Error> {
    statement("UPDATE saga SET ctl = ctl + 1, wake_at = ?2 WHERE saga = ?1")
        .bind(saga)
        .bind(now())
        .execute(conn)
        .await
        .map(drop)
}
