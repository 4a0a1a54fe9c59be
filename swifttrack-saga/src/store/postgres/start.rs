//! A start in the caller's transaction.

use sqlx::{PgConnection, Row};

use super::error::hook_error;
use super::rows::{Creates, Events, Item, Keys, int, statement};
use super::statements::{CREATE, EVENTS, READ_KEYS, TAKE_KEYS};
use super::{PgStore, failed};
use crate::hook::HookError;
use crate::store::{Change, Outcome, StoreError};

pub(super) async fn start_in(
    store: &PgStore,
    conn: &mut PgConnection,
    change: &Change,
) -> Result<Outcome, StoreError> {
    let Some(start) = &change.start else {
        return Err(StoreError::invalid("the change is no start"));
    };
    let items = store.items(std::slice::from_ref(change)).await?;
    let group = items[0].group;
    // Outside of a transaction this fails, instead of starting what nothing commits.
    sqlx::raw_sql("SAVEPOINT saga_start")
        .execute(&mut *conn)
        .await
        .map_err(StoreError::invalid)?;
    if let Some(exists) = take_key(conn, &items).await.map_err(failed)? {
        return Ok(exists);
    }
    let now: i64 = sqlx::query_scalar("SELECT saga_now()")
        .fetch_one(&mut *conn)
        .await
        .map_err(failed)?;
    let mut creates = Creates::default();
    creates.push(change, group, int(start.version), Some(now));
    creates
        .bind(statement(CREATE))
        .execute(&mut *conn)
        .await
        .map_err(failed)?;
    let mut events = Events::default();
    events.push(change);
    events
        .bind(statement(EVENTS))
        .execute(&mut *conn)
        .await
        .map_err(failed)?;
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
                sqlx::raw_sql("ROLLBACK TO SAVEPOINT saga_start; RELEASE SAVEPOINT saga_start")
                    .execute(conn)
                    .await
                    .map_err(failed)?;
                return Ok(Outcome::Refused(reason));
            }
        }
    }
    sqlx::raw_sql("RELEASE SAVEPOINT saga_start")
        .execute(conn)
        .await
        .map_err(failed)?;
    Ok(Outcome::Committed)
}

/// Takes the key, or says who has it. Waits for another transaction that is about to take it.
async fn take_key(
    conn: &mut PgConnection,
    items: &[Item<'_>],
) -> Result<Option<Outcome>, sqlx::Error> {
    let taken = Keys::new(items)
        .bind(statement(TAKE_KEYS))
        .fetch_optional(&mut *conn)
        .await?;
    if taken.is_some() {
        return Ok(None);
    }
    let row = Keys::new(items)
        .bind(statement(READ_KEYS))
        .fetch_optional(conn)
        .await?;
    // Under REPEATABLE READ the key may be out of sight; it is taken all the same.
    Ok(Some(row.map_or(Outcome::Conflict, |row| Outcome::Exists {
        saga: row.get(1),
        same_input: row.get(2),
    })))
}
