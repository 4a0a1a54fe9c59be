//! The form of a flush that names the losers: one statement a table, each for those that are
//! still in. It runs when the asserting form failed, which is rare.

use std::collections::{HashMap, HashSet};

use sqlx::{PgConnection, Row};
use uuid::Uuid;

use super::rows::{Batch, Fence, Item, Keys, statement};
use super::statements::{CREATE, DELETE, EVENTS, FENCE, READ_KEYS, TAKE_KEYS, UPDATE};
use crate::store::{Outcome, WorkerId};

/// What a transaction has written, and why it left the rest out. Both hold once it commits.
pub(super) struct Sifted {
    pub(super) accepted: Vec<usize>,
    pub(super) lost: Vec<(usize, Outcome)>,
}

/// Writes what can be written and decides the rest.
pub(super) async fn sift(
    conn: &mut PgConnection,
    worker: WorkerId,
    items: &[Item<'_>],
    open: &[usize],
) -> Result<Sifted, sqlx::Error> {
    let mut lost = Vec::new();
    let owned = fence(conn, worker, &pick(items, open)).await?;
    let (mut left, fenced): (Vec<usize>, Vec<usize>) = open.iter().partition(|i| {
        let lease = &items[**i].change.lease;
        owned.contains(&(items[**i].group, lease.shard, lease.epoch))
    });
    lost.extend(fenced.into_iter().map(|i| (i, Outcome::Fenced)));

    let taken = keys(conn, &pick(items, &left)).await?;
    left.retain(|i| match taken.get(&items[*i].change.saga) {
        Some(outcome) => {
            lost.push((*i, outcome.clone()));
            false
        }
        None => true,
    });

    let moved = heads(conn, &pick(items, &left)).await?;
    left.retain(|i| {
        let change = items[*i].change;
        let stands = change.start.is_some() || moved.contains(&change.saga);
        if !stands {
            lost.push((*i, Outcome::Conflict));
        }
        stands
    });

    let batch = Batch::new(&pick(items, &left));
    batch
        .creates
        .bind(statement(CREATE))
        .execute(&mut *conn)
        .await?;
    batch.events.bind(statement(EVENTS)).execute(conn).await?;
    Ok(Sifted {
        accepted: left,
        lost,
    })
}

/// The shards that are still ours, locked against a takeover.
async fn fence(
    conn: &mut PgConnection,
    worker: WorkerId,
    items: &[Item<'_>],
) -> Result<HashSet<(i32, u16, i64)>, sqlx::Error> {
    let fence = Fence::new(items);
    let rows = fence.bind(statement(FENCE), worker).fetch_all(conn).await?;
    Ok(rows
        .iter()
        .map(|row| {
            let shard = u16::try_from(row.get::<i16, _>(1)).unwrap_or(u16::MAX);
            (row.get(0), shard, row.get(2))
        })
        .collect())
}

/// Takes the keys of the starts that can have theirs, and says why the others cannot.
async fn keys(
    conn: &mut PgConnection,
    items: &[Item<'_>],
) -> Result<HashMap<Uuid, Outcome>, sqlx::Error> {
    if items.iter().all(|item| item.change.start.is_none()) {
        return Ok(HashMap::new());
    }
    let rows = Keys::new(items)
        .bind(statement(TAKE_KEYS))
        .fetch_all(&mut *conn)
        .await?;
    let ours: HashSet<Uuid> = rows.iter().map(|row| row.get(0)).collect();
    let lost: Vec<Item<'_>> = items
        .iter()
        .filter(|item| item.change.start.is_some() && !ours.contains(&item.change.saga))
        .copied()
        .collect();
    if lost.is_empty() {
        return Ok(HashMap::new());
    }
    // A statement of its own, since it must see what was committed while the first waited.
    let rows = Keys::new(&lost)
        .bind(statement(READ_KEYS))
        .fetch_all(conn)
        .await?;
    let mut outcomes: HashMap<Uuid, Outcome> = rows
        .iter()
        .map(|row| {
            let outcome = Outcome::Exists {
                saga: row.get(1),
                same_input: row.get(2),
            };
            (row.get(0), outcome)
        })
        .collect();
    for item in lost {
        // Pruned between the two statements: the id is free again, so starting again succeeds.
        outcomes
            .entry(item.change.saga)
            .or_insert(Outcome::Conflict);
    }
    Ok(outcomes)
}

/// Updates and deletes head rows; returns those that were where they should be.
async fn heads(conn: &mut PgConnection, items: &[Item<'_>]) -> Result<HashSet<Uuid>, sqlx::Error> {
    let batch = Batch::new(items);
    let updated = batch
        .updates
        .bind(statement(UPDATE))
        .fetch_all(&mut *conn)
        .await?;
    let deleted = batch
        .deletes
        .bind(statement(DELETE))
        .fetch_all(conn)
        .await?;
    Ok(updated
        .iter()
        .chain(&deleted)
        .map(|row| row.get(0))
        .collect())
}

fn pick<'a>(items: &[Item<'a>], which: &[usize]) -> Vec<Item<'a>> {
    which.iter().map(|i| items[*i]).collect()
}
