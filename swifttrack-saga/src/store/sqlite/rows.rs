//! A batch as JSON: one array of rows a table, for `json_each`, and their bytes beside it.
//!
//! Bytes are one blob for the whole batch, and a row says where its own begin and end: JSON has
//! no bytes, and hex would double them.

use std::fmt::Write as _;

use uuid::Uuid;

use crate::store::{Change, Head};

/// The rows of one table.
#[derive(Default)]
pub(super) struct Rows {
    json: String,
    bytes: Vec<u8>,
    count: u64,
}

impl Rows {
    /// `[1,2,[0,5]]` after the comma: numbers, and places of bytes.
    fn begin(&mut self) {
        self.json.push(if self.count == 0 { '[' } else { ',' });
        self.json.push('[');
        self.count += 1;
    }

    fn end(&mut self) {
        self.json.pop();
        self.json.push(']');
    }

    fn number(&mut self, value: i64) {
        // Writing to a string does not fail.
        let _ = write!(self.json, "{value},");
    }

    fn maybe(&mut self, value: Option<i64>) {
        match value {
            Some(value) => self.number(value),
            None => self.json.push_str("null,"),
        }
    }

    /// Two numbers: where the bytes begin, counted from 1, and how many they are.
    fn slice(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => {
                let _ = write!(self.json, "{},{},", self.bytes.len() + 1, bytes.len());
                self.bytes.extend_from_slice(bytes);
            }
            None => self.json.push_str("null,null,"),
        }
    }

    /// Bytes of a known length are found by the row's number.
    fn fixed(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// What is bound: the array, and the bytes.
    pub(super) fn into_parts(mut self) -> (String, Vec<u8>) {
        self.json.push(']');
        (self.json, self.bytes)
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
    pub(super) fn new(items: &[Item<'_>]) -> Self {
        let mut batch = Self::default();
        let mut leases: Vec<_> = items
            .iter()
            .map(|item| (item.group, item.change.lease.shard, item.change.lease.epoch))
            .collect();
        leases.sort_unstable();
        leases.dedup();
        for (group, shard, epoch) in leases {
            batch.fence.begin();
            batch.fence.number(group);
            batch.fence.number(shard.into());
            batch.fence.number(epoch);
            batch.fence.end();
        }
        for item in items {
            batch.push(item);
        }
        batch
    }

    fn push(&mut self, item: &Item<'_>) {
        let change = item.change;
        if let Some(start) = &change.start {
            self.keys.begin();
            self.keys.slice(Some(start.id.as_bytes()));
            self.keys.slice(Some(change.saga.as_bytes()));
            self.keys.slice(Some(&start.input_hash));
            self.keys.number(item.definition);
            self.keys.end();
        }
        match (&change.start, &change.head) {
            (Some(_), Head::Ended { .. }) => {}
            (None, Head::Ended { .. }) => before(&mut self.deletes, item),
            (Some(start), Head::Live { .. }) => {
                self.create(item, start.version, change.head.wake_at());
            }
            (None, Head::Live { .. }) => {
                before(&mut self.updates, item);
                // Reopens the row that `before` ended.
                self.updates.json.pop();
                self.updates.json.push(',');
                after(&mut self.updates, change, change.head.wake_at());
            }
        }
        self.events(change);
        for n in &change.signals {
            self.signals.begin();
            self.signals.number(*n);
            self.signals.end();
            self.signals.fixed(change.saga.as_bytes());
        }
        if change.requests_until > 0 {
            self.commands.begin();
            self.commands.number(change.requests_until);
            self.commands.end();
            self.commands.fixed(change.saga.as_bytes());
        }
    }

    pub(super) fn create(&mut self, item: &Item<'_>, version: u32, wake_at: Option<i64>) {
        let rows = &mut self.creates;
        rows.begin();
        rows.fixed(item.change.saga.as_bytes());
        rows.number(item.group);
        rows.number(item.change.lease.shard.into());
        rows.number(version.into());
        after(rows, item.change, wake_at);
    }

    pub(super) fn events(&mut self, change: &Change) {
        for row in &change.rows {
            let rows = &mut self.events;
            rows.begin();
            rows.slice(Some(change.saga.as_bytes()));
            rows.number(row.seq.into());
            rows.number(row.kind.into());
            rows.number(row.node.into());
            rows.number(row.at.0);
            rows.slice(row.payload.as_deref());
            rows.slice(row.facts.as_deref().map(str::as_bytes));
            rows.end();
        }
    }
}

/// What the head row must be: four numbers.
fn before(rows: &mut Rows, item: &Item<'_>) {
    rows.begin();
    rows.fixed(item.change.saga.as_bytes());
    rows.number(item.group);
    rows.number(item.change.lease.shard.into());
    rows.number(item.change.expect_seq.into());
    rows.number(item.change.expect_ctl);
    rows.end();
}

/// What it becomes: six numbers.
fn after(rows: &mut Rows, change: &Change, wake_at: Option<i64>) {
    if let Head::Live {
        past_pivot,
        state,
        attention,
        crashes,
        ..
    } = &change.head
    {
        rows.number(change.seq_after().into());
        rows.maybe(wake_at);
        rows.number((*state).into());
        rows.number((*crashes).into());
        rows.number((*past_pivot).into());
        rows.number((*attention).into());
    }
    rows.end();
}
