//! A start in the caller's transaction.

use sqlx::{Connection, SqliteConnection, raw_sql};

use super::error::hook_error;
use super::flush::who_has;
use super::rows::Batch;
use super::write::{CREATE, EVENTS, TAKE_KEYS, all};
use super::{SqliteStore, failed, now};
use crate::hook::HookError;
use crate::store::{Change, Head, Outcome, StoreError};

pub(super) async fn start_in(
    store: &SqliteStore,
    conn: &mut SqliteConnection,
    change: &Change,
) -> Result<Outcome, StoreError> {
    if !conn.is_in_transaction() {
        return Err(StoreError::invalid(
            "the connection is in no transaction that the start could join",
        ));
    }
    let Some(start) = &change.start else {
        return Err(StoreError::invalid("the change is no start"));
    };
    let items = store.items_in(conn, std::slice::from_ref(change)).await?;
    let mut batch = Batch::unfenced(&items);
    // Due at once, wherever the change would have it: its owner is found, not told.
    batch.creates = Default::default();
    if matches!(change.head, Head::Live { .. }) {
        batch.create(&items[0], start.version, Some(now()));
    }

    raw_sql("SAVEPOINT saga_start")
        .execute(&mut *conn)
        .await
        .map_err(failed)?;
    if !all(conn, TAKE_KEYS, batch.keys).await.map_err(failed)? {
        let exists = who_has(conn, &items[0]).await.map_err(failed)?;
        raw_sql("RELEASE saga_start")
            .execute(conn)
            .await
            .map_err(failed)?;
        return Ok(exists);
    }
    all(conn, CREATE, batch.creates).await.map_err(failed)?;
    all(conn, EVENTS, batch.events).await.map_err(failed)?;
    if let Some(hook) = &store.hook {
        let batch: Vec<_> = change.transitions.iter().collect();
        match hook.on_transitions(conn, &batch).await {
            Ok(()) => {}
            Err(HookError::Failed(source)) => return Err(hook_error(source)),
            Err(HookError::Refuse(refused)) => {
                let reason = refused.into_iter().find(|(saga, _)| *saga == change.saga);
                let Some((_, reason)) = reason else {
                    return Err(StoreError::hook("the hook refused what is not this start"));
                };
                raw_sql("ROLLBACK TO saga_start; RELEASE saga_start")
                    .execute(conn)
                    .await
                    .map_err(failed)?;
                return Ok(Outcome::Refused(reason));
            }
        }
    }
    raw_sql("RELEASE saga_start")
        .execute(conn)
        .await
        .map_err(failed)?;
    Ok(Outcome::Committed)
}
