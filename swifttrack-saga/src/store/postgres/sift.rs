//! The form of a flush that names the losers: one statement a table, each for those that are
//! still in. It runs when the asserting form failed, which is rare.

use std::collections::{HashMap, HashSet};

use sqlx::{PgConnection, Row};
use uuid::Uuid;

use super::rows::{Batch, Fence, Item, Keys, statement};
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
    let query = Fence::new(items).bind(statement(FENCE));
    let rows = query.bind(worker.0).fetch_all(conn).await?;
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

const FENCE: &str = "
    SELECT s.grp, s.shard, s.epoch FROM saga_shard s
    JOIN unnest($1::int[], $2::smallint[], $3::bigint[]) e (grp, shard, epoch)
      ON s.grp = e.grp AND s.shard = e.shard AND s.epoch = e.epoch
    WHERE s.owner = $4
    ORDER BY s.grp, s.shard
    FOR SHARE OF s";

/// No id twice in a batch survives this: the second conflicts with the first.
pub(super) const TAKE_KEYS: &str = "
    INSERT INTO saga_key (definition, id, saga, input_hash)
    SELECT unnest($1::int[]), unnest($2::text[]), unnest($3::uuid[]), unnest($4::bytea[])
    ON CONFLICT DO NOTHING
    RETURNING saga";

pub(super) const READ_KEYS: &str = "
    SELECT r.saga, k.saga, k.input_hash = r.input_hash
    FROM unnest($1::int[], $2::text[], $3::uuid[], $4::bytea[])
        r (definition, id, saga, input_hash)
    JOIN saga_key k ON k.definition = r.definition AND k.id = r.id";

const UPDATE: &str = "
    UPDATE saga x
    SET seq = r.seq, wake_at = r.wake_at, state = r.state, crashes = r.crashes,
        past_pivot = r.past_pivot, attention = r.attention
    FROM (SELECT unnest($1::uuid[]) AS saga, unnest($2::int[]) AS grp, unnest($3::smallint[]) AS shard,
        unnest($4::int[]) AS expect, unnest($5::bigint[]) AS ctl, unnest($6::int[]) AS seq,
        unnest($7::bigint[]) AS wake_at, unnest($8::smallint[]) AS state,
        unnest($9::smallint[]) AS crashes, unnest($10::boolean[]) AS past_pivot,
        unnest($11::boolean[]) AS attention) r
    WHERE x.saga = r.saga AND x.seq = r.expect AND x.ctl = r.ctl
      AND x.grp = r.grp AND x.shard = r.shard
    RETURNING x.saga";

const DELETE: &str = "
    DELETE FROM saga x
    USING (SELECT unnest($1::uuid[]) AS saga, unnest($2::int[]) AS grp, unnest($3::smallint[]) AS shard,
        unnest($4::int[]) AS expect, unnest($5::bigint[]) AS ctl) r
    WHERE x.saga = r.saga AND x.seq = r.expect AND x.ctl = r.ctl
      AND x.grp = r.grp AND x.shard = r.shard
    RETURNING x.saga";

pub(super) const CREATE: &str = "
    INSERT INTO saga (saga, wake_at, seq, grp, version, shard, state, crashes,
        past_pivot, attention)
    SELECT unnest($1::uuid[]), unnest($2::bigint[]), unnest($3::int[]), unnest($4::int[]),
        unnest($5::int[]), unnest($6::smallint[]), unnest($7::smallint[]), unnest($8::smallint[]),
        unnest($9::boolean[]), unnest($10::boolean[])";

pub(super) const EVENTS: &str = "
    INSERT INTO saga_event (saga, seq, kind, node, at, payload, facts)
    SELECT unnest($1::uuid[]), unnest($2::int[]), unnest($3::smallint[]), unnest($4::smallint[]),
        unnest($5::bigint[]), unnest($6::bytea[]), unnest($7::text[])";
