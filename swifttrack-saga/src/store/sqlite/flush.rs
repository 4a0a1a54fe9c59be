//! One commit: many transitions, one transaction on the one connection that writes.

use sqlx::{Connection, Sqlite, SqliteConnection, Transaction};

use super::error::{Phase, hook_error, store_error};
use super::rows::{Batch, Item, statement};
use super::write::{Wrote, write};
use super::{SqliteStore, Writer};
use crate::hook::{HookError, Transition};
use crate::store::batch::{decide, refuse, settle};
use crate::store::{Change, Outcome, StoreError, WorkerId};

/// Opens a transaction that may write from its first statement on.
pub(super) const BEGIN: &str = "BEGIN IMMEDIATE";

/// How a batch is written.
enum Form {
    /// As a whole, which the first time is made before the connection is ours: others wait
    /// for it.
    Assert(Option<Batch>),
    /// One by one, which names the losers.
    Sift,
}

/// Each turn of the loop decides at least one change or changes to the form that names the
/// losers, which is changed to once.
pub(super) async fn commit(
    store: &SqliteStore,
    worker: WorkerId,
    changes: &[Change],
) -> Result<Vec<Outcome>, StoreError> {
    let items = store.items(changes).await?;
    let mut outcomes: Vec<Option<Outcome>> = vec![None; items.len()];
    let mut form = Form::Assert(Some(Batch::of(worker, &items)));
    let mut writer = Writer::acquire(store).await?;
    loop {
        let open: Vec<usize> = (0..items.len())
            .filter(|i| outcomes[*i].is_none())
            .collect();
        if open.is_empty() {
            break;
        }
        let mut phase = Phase::Before;
        let flush = Flush {
            store,
            worker,
            items: &items,
        };
        let done = flush
            .turn(writer.conn(), &open, &mut form, &mut outcomes, &mut phase)
            .await;
        match done {
            Ok(()) => {}
            Err(Failed::Known(error)) => {
                writer.keep().await;
                return Err(error);
            }
            Err(Failed::Sql(error)) => return Err(store_error(error, phase)),
        }
    }
    writer.keep().await;
    Ok(outcomes.into_iter().flatten().collect())
}

/// Why a flush did not happen.
enum Failed {
    /// The connection or the database; the connection is given up.
    Sql(sqlx::Error),
    /// The hook, or what was asked; the transaction was rolled back.
    Known(StoreError),
}

impl From<sqlx::Error> for Failed {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

struct Flush<'a> {
    store: &'a SqliteStore,
    worker: WorkerId,
    items: &'a [Item<'a>],
}

impl Flush<'_> {
    async fn turn(
        &self,
        conn: &mut SqliteConnection,
        open: &[usize],
        form: &mut Form,
        outcomes: &mut [Option<Outcome>],
        phase: &mut Phase,
    ) -> Result<(), Failed> {
        let mut tx = conn.begin_with(BEGIN).await?;
        let mut lost = Vec::new();
        let accepted = match form {
            Form::Assert(ready) => {
                let batch = ready.take();
                let batch = batch.unwrap_or_else(|| Batch::of(self.worker, &self.pick(open)));
                if write(&mut tx, batch).await? != Wrote::All {
                    *form = Form::Sift;
                    return Ok(tx.rollback().await?);
                }
                open.to_vec()
            }
            Form::Sift => self.sift(&mut tx, open, &mut lost).await?,
        };
        if accepted.is_empty() {
            tx.rollback().await?;
            settle(outcomes, lost);
            return Ok(());
        }
        if let Some(hook) = &self.store.hook {
            let batch: Vec<&Transition> = accepted
                .iter()
                .flat_map(|i| &self.items[*i].change.transitions)
                .collect();
            let done = match batch.is_empty() {
                true => Ok(()),
                false => hook.on_transitions(&mut tx, &batch).await,
            };
            match done {
                Ok(()) => {}
                Err(HookError::Refuse(refused)) => {
                    tx.rollback().await?;
                    let changes = accepted.iter().map(|i| (*i, self.items[*i].change));
                    return refuse(outcomes, changes, refused).map_err(Failed::Known);
                }
                Err(HookError::Failed(source)) => {
                    return Err(self.undo(tx, hook_error(source)).await);
                }
            }
        }
        *phase = Phase::Committing;
        tx.commit().await?;
        *phase = Phase::Before;
        decide(outcomes, &accepted, &Outcome::Committed);
        settle(outcomes, lost);
        Ok(())
    }

    /// One change at a time: each is written whole or not at all.
    async fn sift(
        &self,
        conn: &mut SqliteConnection,
        open: &[usize],
        lost: &mut Vec<(usize, Outcome)>,
    ) -> Result<Vec<usize>, sqlx::Error> {
        let mut accepted = Vec::with_capacity(open.len());
        for i in open {
            let item = self.items[*i];
            match write(conn, Batch::of(self.worker, &[item])).await? {
                Wrote::All => accepted.push(*i),
                Wrote::Fenced => lost.push((*i, Outcome::Fenced)),
                Wrote::Moved => lost.push((*i, Outcome::Conflict)),
                Wrote::Taken => lost.push((*i, who_has(conn, &item).await?)),
            }
        }
        Ok(accepted)
    }

    async fn undo(&self, tx: Transaction<'_, Sqlite>, why: StoreError) -> Failed {
        match tx.rollback().await {
            Ok(()) => Failed::Known(why),
            Err(error) => Failed::Sql(error),
        }
    }

    fn pick(&self, which: &[usize]) -> Vec<Item<'_>> {
        which.iter().map(|i| self.items[*i]).collect()
    }
}

/// Who has the id of a start, and whether its input was the same.
pub(super) async fn who_has(
    conn: &mut SqliteConnection,
    item: &Item<'_>,
) -> Result<Outcome, sqlx::Error> {
    let Some(start) = &item.change.start else {
        return Ok(Outcome::Conflict);
    };
    let row =
        statement("SELECT saga, input_hash = ?3 FROM saga_key WHERE definition = ?1 AND id = ?2")
            .bind(item.definition)
            .bind(&*start.id)
            .bind(start.input_hash.as_slice())
            .fetch_optional(conn)
            .await?;
    use sqlx::Row as _;
    Ok(row.map_or(Outcome::Conflict, |row| Outcome::Exists {
        saga: row.get(0),
        same_input: row.get(1),
    }))
}
