//! A batch as columns: one array a column, for `unnest`.

use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{Postgres, query};
use uuid::Uuid;

use super::statements::Parts;
use crate::guard::words;
use crate::store::{Change, Head, WorkerId};

/// The shards under whose epochs a batch acts, each once.
#[derive(Default)]
pub(super) struct Fence {
    group: Vec<i32>,
    shard: Vec<i16>,
    epoch: Vec<i64>,
}

/// Starts: their keys.
#[derive(Default)]
pub(super) struct Keys<'a> {
    definition: Vec<i32>,
    id: Vec<&'a str>,
    saga: Vec<Uuid>,
    hash: Vec<&'a [u8]>,
}

/// Starts: their head rows.
#[derive(Default)]
pub(super) struct Creates {
    saga: Vec<Uuid>,
    wake_at: Vec<Option<i64>>,
    seq: Vec<i32>,
    group: Vec<i32>,
    version: Vec<i32>,
    shard: Vec<i16>,
    state: Vec<i16>,
    crashes: Vec<i16>,
    past_pivot: Vec<bool>,
    attention: Vec<bool>,
}

/// Head rows that change, and what they must look like before.
#[derive(Default)]
pub(super) struct Updates {
    saga: Vec<Uuid>,
    group: Vec<i32>,
    shard: Vec<i16>,
    expect: Vec<i32>,
    ctl: Vec<i64>,
    seq: Vec<i32>,
    wake_at: Vec<Option<i64>>,
    state: Vec<i16>,
    crashes: Vec<i16>,
    past_pivot: Vec<bool>,
    attention: Vec<bool>,
}

/// Head rows that go.
#[derive(Default)]
pub(super) struct Deletes {
    saga: Vec<Uuid>,
    group: Vec<i32>,
    shard: Vec<i16>,
    expect: Vec<i32>,
    ctl: Vec<i64>,
}

/// Journal rows.
#[derive(Default)]
pub(super) struct Events<'a> {
    saga: Vec<Uuid>,
    seq: Vec<i32>,
    kind: Vec<i16>,
    node: Vec<i16>,
    at: Vec<i64>,
    payload: Vec<Option<&'a [u8]>>,
    facts: Vec<Option<&'a str>>,
}

/// Everything that a batch writes, apart from what few sagas have.
#[derive(Default)]
pub(super) struct Batch<'a> {
    pub(super) fence: Fence,
    pub(super) keys: Keys<'a>,
    pub(super) creates: Creates,
    pub(super) updates: Updates,
    pub(super) deletes: Deletes,
    pub(super) events: Events<'a>,
}

/// A change and the numbers of its group and, for a start, of its definition.
#[derive(Clone, Copy)]
pub(super) struct Item<'a> {
    pub(super) change: &'a Change,
    pub(super) group: i32,
    pub(super) definition: i32,
}

impl<'a> Batch<'a> {
    pub(super) fn new(items: &[Item<'a>]) -> Self {
        let mut batch = Self::default();
        for item in items {
            batch.push(*item);
        }
        batch.fence = Fence::new(items);
        batch.keys = Keys::new(items);
        batch
    }

    /// Everything in one statement, which fails if anybody lost.
    pub(super) fn assert(self, worker: WorkerId) -> PgQuery<'a> {
        let parts = self.parts();
        let query = statement(parts.assert());
        let mut query = self.fence.bind(query, worker);
        if parts.updates {
            query = self.updates.bind(query);
        }
        if parts.deletes {
            query = self.deletes.bind(query);
        }
        if parts.starts {
            query = self.creates.bind(self.keys.bind(query));
        }
        self.events.bind(query)
    }

    fn parts(&self) -> Parts {
        let (updates, deletes) = (self.updates.saga.len(), self.deletes.saga.len());
        let (keys, creates) = (self.keys.saga.len(), self.creates.saga.len());
        let counts = [updates, deletes, keys, creates];
        Parts {
            updates: updates > 0,
            deletes: deletes > 0,
            starts: keys > 0,
            // A saga that ends as it starts has a key and no head.
            single: counts.iter().all(|count| *count <= 1)
                && keys == creates
                && self.fence.group.len() == 1
                && self.events.saga.len() == 1,
        }
    }

    fn push(&mut self, Item { change, group, .. }: Item<'a>) {
        match (&change.start, &change.head) {
            (Some(start), Head::Live { .. }) => {
                self.creates
                    .push(change, group, int(start.version), change.head.wake_at());
            }
            (Some(_), Head::Ended { .. }) => {}
            (None, Head::Live { .. }) => self.updates.push(change, group),
            (None, Head::Ended { .. }) => self.deletes.push(change, group),
        }
        self.events.push(change);
    }
}

impl Fence {
    pub(super) fn new(items: &[Item<'_>]) -> Self {
        let mut all: Vec<_> = items
            .iter()
            .map(|item| {
                let lease = &item.change.lease;
                (item.group, small(lease.shard), lease.epoch)
            })
            .collect();
        all.sort_unstable();
        all.dedup();
        let mut fence = Self::default();
        for (group, shard, epoch) in all {
            fence.group.push(group);
            fence.shard.push(shard);
            fence.epoch.push(epoch);
        }
        fence
    }
}

impl<'a> Keys<'a> {
    /// In the order of the ids, in which every process takes these locks.
    pub(super) fn new(items: &[Item<'a>]) -> Self {
        let mut all: Vec<_> = items
            .iter()
            .filter_map(|item| {
                let start = item.change.start.as_ref()?;
                Some((
                    item.definition,
                    &*start.id,
                    item.change.saga,
                    &start.input_hash,
                ))
            })
            .collect();
        all.sort_unstable();
        let mut keys = Self::default();
        for (definition, id, saga, hash) in all {
            keys.definition.push(definition);
            keys.id.push(id);
            keys.saga.push(saga);
            keys.hash.push(hash);
        }
        keys
    }
}

impl Creates {
    pub(super) fn push(&mut self, change: &Change, group: i32, version: i32, wake_at: Option<i64>) {
        let Head::Live {
            past_pivot,
            state,
            attention,
            crashes,
            ..
        } = &change.head
        else {
            return;
        };
        self.saga.push(change.saga);
        self.wake_at.push(wake_at);
        self.seq.push(int(change.seq_after()));
        self.group.push(group);
        self.version.push(version);
        self.shard.push(small(change.lease.shard));
        self.state.push(*state);
        self.crashes.push(*crashes);
        self.past_pivot.push(*past_pivot);
        self.attention.push(*attention);
    }

    /// Binds `$1` to `$10` of an `unnest`.
    pub(super) fn bind(self, query: PgQuery<'_>) -> PgQuery<'_> {
        query
            .bind(self.saga)
            .bind(self.wake_at)
            .bind(self.seq)
            .bind(self.group)
            .bind(self.version)
            .bind(self.shard)
            .bind(self.state)
            .bind(self.crashes)
            .bind(self.past_pivot)
            .bind(self.attention)
    }
}

impl Updates {
    fn push(&mut self, change: &Change, group: i32) {
        let Head::Live {
            past_pivot,
            state,
            attention,
            crashes,
            ..
        } = &change.head
        else {
            return;
        };
        self.saga.push(change.saga);
        self.group.push(group);
        self.shard.push(small(change.lease.shard));
        self.expect.push(int(change.expect_seq));
        self.ctl.push(change.expect_ctl);
        self.seq.push(int(change.seq_after()));
        self.wake_at.push(change.head.wake_at());
        self.state.push(*state);
        self.crashes.push(*crashes);
        self.past_pivot.push(*past_pivot);
        self.attention.push(*attention);
    }

    pub(super) fn bind(self, query: PgQuery<'_>) -> PgQuery<'_> {
        query
            .bind(self.saga)
            .bind(self.group)
            .bind(self.shard)
            .bind(self.expect)
            .bind(self.ctl)
            .bind(self.seq)
            .bind(self.wake_at)
            .bind(self.state)
            .bind(self.crashes)
            .bind(self.past_pivot)
            .bind(self.attention)
    }
}

impl Deletes {
    fn push(&mut self, change: &Change, group: i32) {
        self.saga.push(change.saga);
        self.group.push(group);
        self.shard.push(small(change.lease.shard));
        self.expect.push(int(change.expect_seq));
        self.ctl.push(change.expect_ctl);
    }

    pub(super) fn bind(self, query: PgQuery<'_>) -> PgQuery<'_> {
        query
            .bind(self.saga)
            .bind(self.group)
            .bind(self.shard)
            .bind(self.expect)
            .bind(self.ctl)
    }
}

impl<'a> Events<'a> {
    pub(super) fn push(&mut self, change: &'a Change) {
        for row in &change.rows {
            self.saga.push(change.saga);
            self.seq.push(int(row.seq));
            self.kind.push(row.kind);
            self.node.push(row.node);
            self.at.push(row.at.0);
            self.payload.push(row.payload.as_deref());
            self.facts.push(row.facts.as_deref());
        }
    }

    pub(super) fn bind<'q>(self, query: PgQuery<'q>) -> PgQuery<'q> {
        query
            .bind(self.saga)
            .bind(self.seq)
            .bind(self.kind)
            .bind(self.node)
            .bind(self.at)
            .bind(self.payload)
            .bind(self.facts)
    }
}

impl Fence {
    pub(super) fn bind(self, query: PgQuery<'_>, worker: WorkerId) -> PgQuery<'_> {
        query
            .bind(self.group)
            .bind(self.shard)
            .bind(self.epoch)
            .bind(worker.0)
    }
}

impl Keys<'_> {
    pub(super) fn bind<'q>(self, query: PgQuery<'q>) -> PgQuery<'q> {
        query
            .bind(self.definition)
            .bind(self.id)
            .bind(self.saga)
            .bind(self.hash)
    }
}

pub(super) type PgQuery<'q> = Query<'q, Postgres, PgArguments>;

/// One of this store's statements.
pub(super) fn statement(sql: &'static str) -> PgQuery<'static> {
    query(words(sql))
}

/// Postgres has no unsigned numbers. What is beyond is refused before it comes here.
pub(super) fn int(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

pub(super) fn small(value: u16) -> i16 {
    i16::try_from(value).unwrap_or(i16::MAX)
}
