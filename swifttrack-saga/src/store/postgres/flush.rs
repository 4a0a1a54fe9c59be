//! One commit: many transitions, one transaction.
//!
//! ```text
//!   assert ──ok──────────────────────────────► hook ─► COMMIT
//!     └─ moved ─► ROLLBACK ─► sift (names the losers) ─► hook ─► COMMIT
//! ```

use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::{Connection, PgConnection};

use super::PgStore;
use super::error::{Phase, hook_error, is_conflict, store_error};
use super::rows::{Batch, Item, statement};
use super::sift::{Sifted, sift};
use crate::hook::{HookError, Transition};
use crate::store::batch::{decide, refuse, settle};
use crate::store::{Change, Outcome, StoreError, WorkerId};

/// How a batch is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// As a whole, in one statement.
    Assert,
    /// What is left after the losers are named.
    Sift,
}

pub(super) async fn commit(
    store: &PgStore,
    worker: WorkerId,
    changes: &[Change],
) -> Result<Vec<Outcome>, StoreError> {
    let items = store.items(changes).await?;
    let mut lane = store.lanes.checkout().await?;
    let committing = AtomicBool::new(false);
    let flush = Flush {
        store,
        worker,
        committing: &committing,
    };
    let phase = || match committing.load(Ordering::Relaxed) {
        true => Phase::Committing,
        false => Phase::Before,
    };
    // The server ends a statement or an idle transaction after a quarter of the lease. This is
    // for a network that swallows the answer; the connection is closed with it.
    match tokio::time::timeout(store.lanes.flush_max(), flush.run(lane.conn(), &items)).await {
        Ok(Ok(outcomes)) => {
            lane.keep();
            Ok(outcomes)
        }
        Ok(Err(Failed::Known(error))) => {
            lane.keep();
            Err(error)
        }
        Ok(Err(Failed::Sql(error))) => {
            let sound = !super::error::is_lost(&error);
            if sound {
                lane.keep();
            }
            Err(store_error(error, phase()))
        }
        Err(elapsed) => Err(match phase() {
            Phase::Before => StoreError::unavailable(elapsed),
            Phase::Committing => StoreError::ambiguous(elapsed),
        }),
    }
}

/// Why a flush did not happen.
enum Failed {
    /// The connection or the database.
    Sql(sqlx::Error),
    /// The hook, or what was asked.
    Known(StoreError),
}

impl From<sqlx::Error> for Failed {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

struct Flush<'a> {
    store: &'a PgStore,
    worker: WorkerId,
    committing: &'a AtomicBool,
}

impl Flush<'_> {
    /// Each turn of the loop decides at least one change or changes to the form that names the
    /// losers, which is changed to once.
    async fn run(
        &self,
        conn: &mut PgConnection,
        items: &[Item<'_>],
    ) -> Result<Vec<Outcome>, Failed> {
        let mut outcomes: Vec<Option<Outcome>> = vec![None; items.len()];
        let mut form = Form::Assert;
        loop {
            let open: Vec<usize> = (0..items.len())
                .filter(|i| outcomes[*i].is_none())
                .collect();
            if open.is_empty() {
                break;
            }
            if form == Form::Assert && self.is_plain(items, &open) {
                let batch = Batch::new(&pick(items, &open));
                self.committing.store(true, Ordering::Relaxed);
                match self.assert(conn, batch).await {
                    Ok(()) => decide(&mut outcomes, &open, &Outcome::Committed),
                    Err(error) if is_conflict(&error) => form = Form::Sift,
                    Err(error) => return Err(error.into()),
                }
                self.committing.store(false, Ordering::Relaxed);
                continue;
            }
            self.in_transaction(conn, items, &open, &mut form, &mut outcomes)
                .await?;
        }
        Ok(outcomes.into_iter().flatten().collect())
    }

    /// Whether one statement that commits by itself is enough.
    fn is_plain(&self, items: &[Item<'_>], open: &[usize]) -> bool {
        self.store.hook.is_none() && open.iter().all(|i| !has_extras(items[*i].change))
    }

    async fn assert(&self, conn: &mut PgConnection, batch: Batch<'_>) -> Result<(), sqlx::Error> {
        // Not `fetch_one`: the commit is only known when the answer was read to its end.
        batch.assert(self.worker).execute(conn).await.map(drop)
    }

    async fn in_transaction(
        &self,
        conn: &mut PgConnection,
        items: &[Item<'_>],
        open: &[usize],
        form: &mut Form,
        outcomes: &mut [Option<Outcome>],
    ) -> Result<(), Failed> {
        let mut tx = conn.begin().await?;
        let Sifted { accepted, lost } = match form {
            Form::Assert => match self.assert(&mut tx, Batch::new(&pick(items, open))).await {
                Ok(()) => Sifted {
                    accepted: open.to_vec(),
                    lost: Vec::new(),
                },
                Err(error) if is_conflict(&error) => {
                    *form = Form::Sift;
                    return Ok(tx.rollback().await?);
                }
                Err(error) => return Err(self.undo(tx, Failed::Sql(error)).await),
            },
            Form::Sift => match sift(&mut tx, self.worker, items, open).await {
                Ok(sifted) => sifted,
                Err(error) => return Err(self.undo(tx, Failed::Sql(error)).await),
            },
        };
        if accepted.is_empty() {
            tx.rollback().await?;
            settle(outcomes, lost);
            return Ok(());
        }
        if let Err(error) = forget_applied(&mut tx, items, &accepted).await {
            return Err(self.undo(tx, Failed::Sql(error)).await);
        }
        match self.hook(&mut tx, items, &accepted).await {
            Ok(()) => {}
            Err(HookError::Refuse(refused)) => {
                tx.rollback().await?;
                let changes = accepted.iter().map(|i| (*i, items[*i].change));
                return refuse(outcomes, changes, refused).map_err(Failed::Known);
            }
            Err(HookError::Failed(source)) => {
                return Err(self.undo(tx, Failed::Known(hook_error(source))).await);
            }
        }
        if self.store.hook.is_some() {
            // If a statement of the hook failed and the hook kept silent, COMMIT would roll back
            // and say so only in its tag. This fails then.
            if let Err(error) = statement("SELECT").execute(&mut *tx).await {
                if super::error::is_lost(&error) {
                    return Err(Failed::Sql(error));
                }
                return Err(self.undo(tx, Failed::Known(StoreError::hook(error))).await);
            }
        }
        self.committing.store(true, Ordering::Relaxed);
        tx.commit().await?;
        self.committing.store(false, Ordering::Relaxed);
        decide(outcomes, &accepted, &Outcome::Committed);
        settle(outcomes, lost);
        Ok(())
    }

    async fn hook(
        &self,
        conn: &mut PgConnection,
        items: &[Item<'_>],
        accepted: &[usize],
    ) -> Result<(), HookError> {
        let Some(hook) = &self.store.hook else {
            return Ok(());
        };
        let batch: Vec<&Transition> = accepted
            .iter()
            .flat_map(|i| &items[*i].change.transitions)
            .collect();
        if batch.is_empty() {
            return Ok(());
        }
        hook.on_transitions(conn, &batch).await
    }

    /// Rolls back and reports `why`; a connection that cannot even do that is lost.
    async fn undo(&self, tx: sqlx::Transaction<'_, sqlx::Postgres>, why: Failed) -> Failed {
        match (tx.rollback().await, why) {
            (Err(error), Failed::Known(_)) => Failed::Sql(error),
            (_, why) => why,
        }
    }
}

fn pick<'a>(items: &[Item<'a>], which: &[usize]) -> Vec<Item<'a>> {
    which.iter().map(|i| items[*i]).collect()
}

fn has_extras(change: &Change) -> bool {
    !change.signals.is_empty() || change.requests_until > 0
}

/// Signals that were consumed and requests that were applied: few sagas have any.
async fn forget_applied(
    conn: &mut PgConnection,
    items: &[Item<'_>],
    accepted: &[usize],
) -> Result<(), sqlx::Error> {
    let (mut saga, mut n) = (Vec::new(), Vec::new());
    let (mut of, mut until) = (Vec::new(), Vec::new());
    for change in accepted.iter().map(|i| items[*i].change) {
        for signal in &change.signals {
            saga.push(change.saga);
            n.push(*signal);
        }
        if change.requests_until > 0 {
            of.push(change.saga);
            until.push(change.requests_until);
        }
    }
    if !saga.is_empty() {
        statement(
            "UPDATE saga_signal s SET consumed = true
             FROM unnest($1::uuid[], $2::bigint[]) r (saga, n)
             WHERE s.saga = r.saga AND s.n = r.n",
        )
        .bind(saga)
        .bind(n)
        .execute(&mut *conn)
        .await?;
    }
    if !of.is_empty() {
        statement(
            "DELETE FROM saga_command c USING unnest($1::uuid[], $2::bigint[]) r (saga, until)
             WHERE c.saga = r.saga AND c.n <= r.until",
        )
        .bind(of)
        .bind(until)
        .execute(conn)
        .await?;
    }
    Ok(())
}
