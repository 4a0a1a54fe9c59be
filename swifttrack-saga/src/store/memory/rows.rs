//! The rows of the store in memory, and what may be written to them.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use tokio::time::Instant;
use uuid::Uuid;

use super::{EPOCH_US, Fault, Name};
use crate::guard::Guard;
use crate::store::{
    Change, Command, Head, Listed, Loaded, Outcome, Row, StoredSignal, Timestamp, WorkerId,
};

#[derive(Default)]
pub(super) struct Inner {
    pub(super) origin: Option<Instant>,
    pub(super) shapes: HashMap<(String, u32), String>,
    pub(super) workers: HashMap<WorkerId, Worker>,
    pub(super) shards: BTreeMap<(Arc<str>, u16), Shard>,
    pub(super) keys: HashMap<(String, String), Key>,
    pub(super) heads: BTreeMap<Uuid, HeadRow>,
    pub(super) journals: HashMap<Uuid, Vec<Row>>,
    pub(super) ended: HashMap<Uuid, (Timestamp, i16)>,
    pub(super) signals: BTreeMap<i64, (Uuid, StoredSignal)>,
    pub(super) dedupe: HashSet<(Uuid, String, String)>,
    pub(super) last_signal: i64,
    pub(super) faults: VecDeque<Fault>,
    pub(super) commits: u64,
    /// By how much the clock has been set, in microseconds.
    #[cfg(test)]
    pub(super) set_by: i64,
    /// Writes that a store should not have taken.
    #[cfg(test)]
    pub(super) stale: Vec<String>,
}

pub(super) struct Worker {
    pub(super) until: Timestamp,
    pub(super) definitions: Vec<(String, u32)>,
}

#[derive(Default)]
pub(super) struct Shard {
    pub(super) owner: Option<WorkerId>,
    pub(super) epoch: i64,
}

pub(super) struct Key {
    pub(super) saga: Uuid,
    pub(super) input_hash: [u8; 32],
}

#[derive(Clone)]
pub(super) struct HeadRow {
    pub(super) group: Arc<str>,
    pub(super) shard: u16,
    pub(super) definition: Arc<str>,
    pub(super) version: u32,
    pub(super) id: Arc<str>,
    pub(super) seq: u32,
    pub(super) ctl: i64,
    pub(super) wake_at: Option<Timestamp>,
    pub(super) past_pivot: bool,
    pub(super) state: i16,
    pub(super) attention: bool,
    pub(super) crashes: i16,
    pub(super) commands: Vec<Command>,
}

#[cfg(test)]
impl Inner {
    /// Judges a write that was accepted by itself, whatever guards are missing.
    pub(super) fn note_stale(&mut self, worker: WorkerId, change: &Change) {
        let key = (change.lease.group.clone(), change.lease.shard);
        let ours = self
            .shards
            .get(&key)
            .is_some_and(|shard| shard.owner == Some(worker) && shard.epoch == change.lease.epoch);
        if !ours {
            let seq = change.expect_seq;
            let note = format!("{} was written at seq {seq} by a stale owner", change.saga);
            self.stale.push(note);
        }
    }
}

impl Inner {
    pub(super) fn now(&mut self) -> Timestamp {
        self.origin.get_or_insert_with(Instant::now);
        self.clock()
    }

    /// The time, once the clock has started.
    fn clock(&self) -> Timestamp {
        let since = self.origin.map(|origin| origin.elapsed());
        let time = Timestamp(EPOCH_US).saturating_add(since.unwrap_or_default());
        #[cfg(test)]
        let time = Timestamp(time.0 + self.set_by);
        time
    }

    pub(super) fn lives(&self, worker: WorkerId) -> bool {
        let worker = self.workers.get(&worker);
        worker.is_some_and(|worker| worker.until > self.clock())
    }

    /// A worker whose lease ran out is gone for good, although the clock may be set back.
    pub(super) fn forget_expired(&mut self) {
        let now = self.now();
        self.workers.retain(|_, worker| worker.until > now);
    }

    pub(super) fn judge(
        &self,
        worker: WorkerId,
        change: &Change,
        taken: &mut HashMap<Name, (Uuid, [u8; 32])>,
    ) -> Outcome {
        let key = (change.lease.group.clone(), change.lease.shard);
        let ours = self.shards.get(&key).is_some_and(|shard| {
            (shard.owner == Some(worker) || !Guard::Owner.stands())
                && (shard.epoch == change.lease.epoch || !Guard::Epoch.stands())
        });
        if !ours {
            return Outcome::Fenced;
        }
        if let Some(start) = &change.start {
            let key = (start.definition.to_string(), start.id.to_string());
            if let Some(key) = self.keys.get(&key).filter(|_| Guard::Dedupe.stands()) {
                return Outcome::Exists {
                    saga: key.saga,
                    same_input: key.input_hash == start.input_hash,
                };
            }
            let key = (start.definition.clone(), start.id.clone());
            if let Some((saga, input_hash)) = taken.get(&key) {
                return Outcome::Exists {
                    saga: *saga,
                    same_input: *input_hash == start.input_hash,
                };
            }
            taken.insert(key, (change.saga, start.input_hash));
            return Outcome::Committed;
        }
        match self.heads.get(&change.saga) {
            Some(head)
                if head.shard == change.lease.shard
                    && head.group == change.lease.group
                    && (head.seq == change.expect_seq || !Guard::Seq.stands())
                    && (head.ctl == change.expect_ctl || !Guard::Ctl.stands()) =>
            {
                Outcome::Committed
            }
            _ => Outcome::Conflict,
        }
    }

    pub(super) fn write(&mut self, change: &Change) {
        if let Some(start) = &change.start {
            let key = (start.definition.to_string(), start.id.to_string());
            self.keys.insert(
                key,
                Key {
                    saga: change.saga,
                    input_hash: start.input_hash,
                },
            );
            self.heads.insert(
                change.saga,
                HeadRow {
                    group: change.lease.group.clone(),
                    shard: change.lease.shard,
                    definition: start.definition.clone(),
                    version: start.version,
                    id: start.id.clone(),
                    seq: 0,
                    ctl: 0,
                    wake_at: None,
                    past_pivot: false,
                    state: 0,
                    attention: false,
                    crashes: 0,
                    commands: Vec::new(),
                },
            );
        }
        let journal = self.journals.entry(change.saga).or_default();
        journal.extend(change.rows.iter().cloned());
        let (seq, at) = journal
            .last()
            .map_or((0, Timestamp(0)), |row| (row.seq, row.at));
        for n in &change.signals {
            self.signals.remove(n);
        }
        match &change.head {
            Head::Ended { state } => {
                self.heads.remove(&change.saga);
                self.ended.insert(change.saga, (at, *state));
                self.signals.retain(|_, (saga, _)| *saga != change.saga);
            }
            Head::Live {
                wake_at,
                past_pivot,
                state,
                attention,
                crashes,
            } => {
                let head = self
                    .heads
                    .get_mut(&change.saga)
                    .expect("a change that was accepted has a head");
                head.seq = seq;
                head.wake_at = *wake_at;
                head.past_pivot = *past_pivot;
                head.state = *state;
                head.attention = *attention;
                head.crashes = *crashes;
                head.commands
                    .retain(|command| command.n > change.requests_until);
            }
        }
    }

    pub(super) fn loaded(&self, saga: Uuid, head: &HeadRow) -> Loaded {
        let signals = self.signals.values();
        Loaded {
            saga,
            definition: head.definition.to_string(),
            id: head.id.to_string(),
            version: head.version,
            shard: head.shard,
            seq: head.seq,
            ctl: head.ctl,
            crashes: head.crashes,
            past_pivot: head.past_pivot,
            wake_at: head.wake_at,
            journal: self.journals.get(&saga).cloned().unwrap_or_default(),
            commands: head.commands.clone(),
            signals: signals
                .filter(|(owner, _)| *owner == saga)
                .map(|(_, signal)| signal.clone())
                .collect(),
        }
    }

    pub(super) fn listed(saga: Uuid, head: &HeadRow) -> Listed {
        Listed {
            saga,
            definition: head.definition.to_string(),
            version: head.version,
            id: head.id.to_string(),
            seq: head.seq,
            state: head.state,
            attention: head.attention,
            wake_at: head.wake_at,
        }
    }

    pub(super) fn key(&self, definition: &str, id: &str) -> Option<&Key> {
        self.keys.get(&(definition.to_owned(), id.to_owned()))
    }
}
