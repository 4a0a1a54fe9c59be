//! A database: rows with a commit order that is not their numbers' order, leases, dead rows.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use uuid::Uuid;

use crate::relay::row::Row;
use crate::slot::SLOTS;
use crate::store::{Burial, Holding, Page, Read, marked, share};

/// What was committed at one moment: a length of the commit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Snapshot {
    commits: usize,
}

#[derive(Debug, Default)]
pub(super) struct Database {
    seq: i64,
    commits: usize,
    /// Committed rows and their place in the commit order.
    pub(super) rows: BTreeMap<i64, (usize, Row)>,
    /// The key's last number, and whether a transaction has the key locked.
    pub(super) keys: Vec<(u64, bool)>,
    pub(super) open: Vec<Transaction>,
    pub(super) leases: HashMap<u64, u64>,
    pub(super) slots: Vec<(Option<u64>, i64)>,
    /// Slots that change hands together.
    unit: u8,
    pub(super) dead: BTreeMap<i64, Dead>,
}

#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) ends: u64,
    rows: Vec<Row>,
    keys: Vec<usize>,
}

#[derive(Debug)]
pub(super) struct Dead {
    pub(super) row: Row,
    pub(super) blocks: bool,
    pub(super) replay: bool,
}

/// The number that a row carries, within its key.
pub(super) fn number(row: &Row) -> u64 {
    row.created_ms as u64
}

/// Where whole groups change hands, keys of both topics share one.
fn slot_of(key: usize, unit: u8) -> u8 {
    if unit == 1 {
        (key * 11 % usize::from(SLOTS)) as u8
    } else {
        [0, 24, 1, 32, 56, 25, 57][key]
    }
}

impl Database {
    pub(super) fn new(keys: usize, unit: u8) -> Self {
        Self {
            unit,
            keys: vec![(0, false); keys],
            slots: vec![(None, 0); usize::from(SLOTS)],
            ..Self::default()
        }
    }

    /// Writes rows of these keys, which stay locked until the transaction ends.
    pub(super) fn begin(&mut self, keys: Vec<usize>, rows_of_each: u64, ends: u64) {
        let mut rows = Vec::new();
        for key in &keys {
            self.keys[*key].1 = true;
            for n in 1..=rows_of_each {
                self.seq += 1;
                rows.push(Row {
                    seq: self.seq,
                    id: Uuid::from_u128(self.seq as u128),
                    slot: slot_of(*key, self.unit),
                    topic: if key % 3 == 2 {
                        "away".into()
                    } else {
                        Arc::from("here")
                    },
                    key: key.to_string(),
                    kind: "T".into(),
                    payload: None,
                    headers: None,
                    trace: None,
                    created_ms: (self.keys[*key].0 + n) as i64,
                    replayed: false,
                });
            }
        }
        self.open.push(Transaction { ends, rows, keys });
    }

    pub(super) fn last_seq(&self) -> i64 {
        self.seq
    }

    pub(super) fn end(&mut self, index: usize, commit: bool) {
        let transaction = self.open.remove(index);
        for key in transaction.keys {
            self.keys[key].1 = false;
        }
        if commit {
            self.commits += 1;
            for row in transaction.rows {
                let key: usize = row.key.parse().unwrap();
                self.keys[key].0 = self.keys[key].0.max(number(&row));
                self.rows.insert(row.seq, (self.commits, row));
            }
        }
    }

    pub(super) fn read(&self, read: &Read<Snapshot>, limit: usize) -> Page<Snapshot> {
        let now = Snapshot {
            commits: self.commits,
        };
        let pick = |slots: &[u8], after: i64, seen: &dyn Fn(usize, &Row) -> bool| {
            let mut rows: Vec<Row> = self
                .rows
                .range(after + 1..)
                .filter(|(_, (at, row))| slots.contains(&row.slot) && seen(*at, row))
                .map(|(_, (_, row))| row.clone())
                .take(limit + 1)
                .collect();
            let more = rows.len() > limit;
            rows.truncate(limit);
            (rows, more)
        };
        let (rows, more, to) = match read {
            Read::Begin => (Vec::new(), false, Some(now)),
            Read::Backlog {
                slots,
                paused,
                at,
                after,
            } => {
                let (rows, more) = pick(slots, *after, &|commit, row| {
                    commit <= at.commits
                        && !paused.iter().any(|topic| *topic == *row.topic)
                        && !self
                            .dead
                            .values()
                            .any(|dead| dead.blocks && dead.row.key == row.key)
                });
                (rows, more, None)
            }
            Read::New { slots, since } => {
                let (rows, more) = pick(slots, 0, &|commit, _| commit > since.commits);
                (rows, more, Some(now))
            }
            Read::More {
                slots,
                since,
                to,
                after,
            } => {
                let (rows, more) = pick(slots, *after, &|commit, _| {
                    commit > since.commits && commit <= to.commits
                });
                (rows, more, None)
            }
        };
        Page { rows, more, to }
    }

    pub(super) fn keep(&mut self, id: u64, first: bool, ttl: u64, now: u64) -> Option<Holding> {
        match self.leases.get_mut(&id) {
            Some(until) if *until > now => *until = now + ttl,
            None if first => {
                self.leases.insert(id, now + ttl);
            }
            _ => return None,
        }
        self.leases.retain(|_, until| *until > now);
        let relays = self.leases.len() as u32;
        let unit = usize::from(self.unit);
        let of_mine = self.slots.iter().filter(|(owner, _)| *owner == Some(id));
        let held = of_mine.count() / unit;
        let missing = (share(relays, self.unit) as usize).saturating_sub(held);
        let leases = &self.leases;
        let is_free = |slots: &[(Option<u64>, i64)]| {
            let free = |owner: Option<u64>| owner.is_none_or(|owner| !leases.contains_key(&owner));
            slots.iter().all(|(owner, _)| free(*owner))
        };
        let free = self.slots.chunks_mut(unit).filter(|slots| is_free(slots));
        for (owner, epoch) in free.take(missing).flatten() {
            *owner = Some(id);
            *epoch += 1;
        }
        let slots: Vec<(u8, i64)> = (0..SLOTS)
            .filter(|slot| self.slots[usize::from(*slot)].0 == Some(id))
            .map(|slot| (slot, self.slots[usize::from(slot)].1))
            .collect();
        let mine = |row: &Row| slots.iter().any(|(slot, _)| *slot == row.slot);
        let dead = || self.dead.values().filter(|dead| mine(&dead.row));
        Some(Holding {
            relays,
            blocked: dead()
                .filter(|dead| dead.blocks)
                .map(|dead| (dead.row.topic.to_string(), dead.row.key.clone()))
                .collect(),
            replays: dead()
                .filter(|dead| dead.replay)
                .map(|dead| Row {
                    replayed: true,
                    ..dead.row.clone()
                })
                .collect(),
            slots,
        })
    }

    pub(super) fn release(&mut self, id: u64, slots: &[u8]) {
        for slot in slots {
            let owner = &mut self.slots[usize::from(*slot)].0;
            if *owner == Some(id) {
                *owner = None;
            }
        }
    }

    pub(super) fn leave(&mut self, id: u64) {
        self.leases.remove(&id);
    }

    /// Deletes the rows of a marker, and says which; dead ones that were published again too.
    pub(super) fn delete_marked(&mut self, rows: &[(i64, u32)]) -> Vec<i64> {
        let there: Vec<(i64, Uuid)> = self
            .rows
            .values()
            .map(|(_, row)| row)
            .chain(self.dead.values().filter(|it| it.replay).map(|it| &it.row))
            .map(|row| (row.seq, row.id))
            .collect();
        let gone = marked(rows, &there);
        for seq in &gone {
            self.rows.remove(seq);
            self.dead.remove(seq);
        }
        gone
    }

    pub(super) fn bury(&mut self, id: u64, burial: &Burial) -> bool {
        if self.slots[usize::from(burial.slot)] != (Some(id), burial.epoch) {
            return false;
        }
        if let Some((_, row)) = self.rows.remove(&burial.seq) {
            let blocks = burial.blocks;
            self.dead.insert(
                burial.seq,
                Dead {
                    row,
                    blocks,
                    replay: false,
                },
            );
        } else if let Some(dead) = self.dead.get_mut(&burial.seq) {
            dead.replay = false;
        }
        true
    }
}
