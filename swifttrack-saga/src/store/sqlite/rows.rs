//! A batch as rows of values, for the statements of [`write`](super::write).

use std::fmt::Write as _;
use std::sync::Arc;

use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments as _, Encode, Sqlite, Type, query};
use uuid::Uuid;

use crate::guard::words;
use crate::store::{Change, Head, WorkerId};

/// One of the statements in this folder.
pub(super) fn statement(sql: &'static str) -> Query<'static, Sqlite, SqliteArguments> {
    query(words(sql))
}

/// Rows of one table, as the arguments of statements that take [`ROWS_MAX`] of them each.
#[derive(Default)]
pub(super) struct Rows {
    chunks: Vec<(usize, SqliteArguments)>,
}

/// No statement has more rows: 11 columns of them are well within SQLite's 32,766 parameters.
pub(super) const ROWS_MAX: usize = 512;

impl Rows {
    /// Adds a row, whose values follow.
    fn row(&mut self) -> &mut Self {
        match self.chunks.last_mut() {
            Some((rows, _)) if *rows < ROWS_MAX => *rows += 1,
            _ => self.chunks.push((1, SqliteArguments::default())),
        }
        self
    }

    fn value<'v>(&mut self, value: impl Encode<'v, Sqlite> + Type<Sqlite>) -> &mut Self {
        let (_, arguments) = self.chunks.last_mut().expect("a row was begun");
        let added = arguments.add(value);
        added.expect("numbers, texts and bytes are what SQLite has");
        self
    }

    fn number(&mut self, value: impl Into<i64>) -> &mut Self {
        self.value(value.into())
    }

    fn maybe(&mut self, value: Option<i64>) -> &mut Self {
        self.value(value)
    }

    /// Shares the text.
    fn text(&mut self, value: Option<&Arc<str>>) -> &mut Self {
        self.value(value.cloned())
    }

    fn bytes(&mut self, value: Option<&[u8]>) -> &mut Self {
        self.value(value.map(<[u8]>::to_vec))
    }

    pub(super) fn count(&self) -> u64 {
        self.chunks.iter().map(|(rows, _)| *rows as u64).sum()
    }

    /// How many rows each statement has, and their values, row after row.
    pub(super) fn into_chunks(self) -> Vec<(usize, SqliteArguments)> {
        self.chunks
    }
}

/// Uuids as an array of hex strings, for `unhex(value)`.
pub(super) fn hex(sagas: &[Uuid]) -> String {
    let mut json = String::with_capacity(sagas.len() * 35 + 2);
    json.push('[');
    for (i, saga) in sagas.iter().enumerate() {
        if i > 0 {
            json.push(',');
        }
        let _ = write!(json, "\"{}\"", saga.simple());
    }
    json.push(']');
    json
}

/// A change and the numbers of its group and, for a start, of its definition.
#[derive(Clone, Copy)]
pub(super) struct Item<'a> {
    pub(super) change: &'a Change,
    pub(super) group: i64,
    pub(super) definition: i64,
}

/// Everything that a batch writes.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) fence: Rows,
    pub(super) keys: Rows,
    pub(super) creates: Rows,
    pub(super) updates: Rows,
    pub(super) deletes: Rows,
    pub(super) events: Rows,
    pub(super) signals: Rows,
    pub(super) commands: Rows,
}

impl Batch {
    /// What `items` write if their shards are this worker's.
    pub(super) fn of(worker: WorkerId, items: &[Item<'_>]) -> Self {
        let mut batch = Self::unfenced(items);
        let mut leases: Vec<_> = items
            .iter()
            .map(|item| (item.group, item.change.lease.shard, item.change.lease.epoch))
            .collect();
        leases.sort_unstable();
        leases.dedup();
        for (group, shard, epoch) in leases {
            let row = batch.fence.row();
            let row = row.number(group).number(shard).number(epoch);
            row.bytes(Some(worker.0.as_bytes()));
        }
        batch
    }

    /// The same, whosever the shards are.
    pub(super) fn unfenced(items: &[Item<'_>]) -> Self {
        let mut batch = Self::default();
        for item in items {
            batch.push(item);
        }
        batch
    }

    fn push(&mut self, item: &Item<'_>) {
        let change = item.change;
        let saga = Some(&change.saga.as_bytes()[..]);
        if let Some(start) = &change.start {
            let row = self.keys.row().number(item.definition);
            let row = row.text(Some(&start.id)).bytes(saga);
            row.bytes(Some(&start.input_hash));
        }
        match (&change.start, &change.head) {
            (Some(_), Head::Ended { .. }) => {}
            (None, Head::Ended { .. }) => drop(before(&mut self.deletes, item)),
            (Some(start), Head::Live { .. }) => {
                self.create(item, start.version, change.head.wake_at());
            }
            (None, Head::Live { .. }) => {
                let row = before(&mut self.updates, item);
                after(row, change, change.head.wake_at());
            }
        }
        self.events(change);
        for n in &change.signals {
            self.signals.row().number(*n).bytes(saga);
        }
        if change.requests_until > 0 {
            let row = self.commands.row();
            row.bytes(saga).number(change.requests_until);
        }
    }

    pub(super) fn create(&mut self, item: &Item<'_>, version: u32, wake_at: Option<i64>) {
        let row = self.creates.row().bytes(Some(item.change.saga.as_bytes()));
        let row = row.number(item.group).number(item.change.lease.shard);
        after(row.number(version), item.change, wake_at);
    }

    fn events(&mut self, change: &Change) {
        for event in &change.rows {
            let row = self.events.row().bytes(Some(change.saga.as_bytes()));
            let row = row.number(event.seq).number(event.kind).number(event.node);
            let row = row.number(event.at.0).bytes(event.payload.as_deref());
            row.text(event.facts.as_ref());
        }
    }
}

/// What the head row must be: five values.
fn before<'r>(rows: &'r mut Rows, item: &Item<'_>) -> &'r mut Rows {
    let change = item.change;
    let row = rows.row().bytes(Some(change.saga.as_bytes()));
    let row = row.number(item.group).number(change.lease.shard);
    row.number(change.expect_seq).number(change.expect_ctl)
}

/// What it becomes: six values.
fn after(row: &mut Rows, change: &Change, wake_at: Option<i64>) {
    if let Head::Live {
        past_pivot,
        state,
        attention,
        crashes,
        ..
    } = &change.head
    {
        let row = row.number(change.seq_after()).maybe(wake_at);
        let row = row.number(*state).number(*crashes);
        row.number(*past_pivot).number(*attention);
    }
}
