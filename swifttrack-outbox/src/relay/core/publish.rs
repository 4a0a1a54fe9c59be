//! What to publish, and what became of it.

use std::collections::HashSet;
use std::sync::Arc;

use super::{
    Action, BLOCKED_KEYS_MAX, Batch, Core, FILL_MAX, FLUSH_MAX, Fate, Gone, Guard, HALVINGS_MAX,
    Moment, Outcome, PROBE_MAX, PROBE_MIN, Packing, Pause, Phase, Poison, Producer, Row, Stopping,
    Writing,
};
use crate::store::{Burial, id_mark};

impl<P: Clone> Core<P> {
    pub(super) fn drive_publish(&mut self, now: Moment, todo: &mut Vec<Action<P>>) {
        let trusted = self.trusted(now) || !self.guarded(Guard::TrustDeadline);
        if self.producer != Producer::Open || !trusted || self.stopping != Stopping::No {
            return;
        }
        // Whoever waits longest goes first.
        let mut groups: Vec<usize> = (0..self.pending.len()).collect();
        groups.sort_by_key(|group| self.pending[*group].front().map(|row| row.seq));
        for group in groups {
            loop {
                let ahead = self
                    .in_flight
                    .values()
                    .filter(|b| usize::from(b.group) == group)
                    .count();
                if ahead >= self.set.batches_max || self.waits_for_more(group, ahead, now) {
                    break;
                }
                let Some(batch) = self.next_batch(group) else {
                    break;
                };
                todo.push(Action::Publish {
                    generation: self.generation,
                    batch,
                });
            }
        }
    }

    /// A transaction costs the same whatever its size, so it starts full behind another one of
    /// its group, and in a backlog for a while behind those of other groups.
    fn waits_for_more(&mut self, group: usize, ahead: usize, now: Moment) -> bool {
        let pending = self.pending[group].len();
        if !self.set.fence || pending == 0 || pending >= self.set.batch_rows {
            return false;
        }
        ahead > 0
            || !self.in_flight.is_empty()
                && self.has_backlog()
                && now < *self.fill_until[group].get_or_insert(now + FILL_MAX)
    }

    /// A generation of single requests ends when nothing is under suspicion any more. Suspects
    /// that did not come back (somebody deleted them) keep nothing slow for ever.
    pub(super) fn drive_packing(&mut self, todo: &mut Vec<Action<P>>) {
        if self.producer != Producer::Open || self.packing != Packing::Single {
            return;
        }
        if !self.suspects.is_empty() {
            let all_read = matches!(self.cursor, super::Cursor::At(_))
                && self
                    .slots_in(&[Phase::Gained, Phase::Fencing, Phase::Clean, Phase::Scanning])
                    .is_empty();
            let idle = self.in_flight.is_empty() && self.pending.iter().all(|q| q.is_empty());
            if !all_read || !idle {
                return;
            }
            self.suspects.clear();
            self.culprits.clear();
            self.explained = true;
        }
        if !self.explained {
            // Each row alone was taken: it was their request that is too large.
            self.halvings = (self.halvings + 1).min(HALVINGS_MAX);
        }
        self.at_once = true;
        self.close(FLUSH_MAX, todo);
    }

    fn next_batch(&mut self, group: usize) -> Option<Arc<Batch>> {
        self.fill_until[group] = None;
        let mut rows = Vec::new();
        let mut suspects = match self.packing {
            Packing::Single => self.suspects_left(),
            Packing::Full { .. } => usize::MAX,
        };
        while rows.len() < self.set.batch_rows && suspects > 0 {
            let Some(row) = self.pending[group].pop_front() else {
                break;
            };
            // What holds a row back may have come after it was read.
            let ours = self
                .held(row.slot)
                .is_some_and(|held| held.phase != Phase::Draining);
            if ours && self.may_go(&row) {
                let alone = self.culprits.contains(&row.seq);
                if alone && !rows.is_empty() {
                    self.pending[group].push_front(row);
                    break;
                }
                suspects -= usize::from(self.suspects.contains_key(&row.seq));
                rows.push(row);
                if alone {
                    break;
                }
            }
        }
        if rows.is_empty() {
            return None;
        }
        let unconfirmed = if self.set.fence {
            self.unconfirmed(group)
        } else {
            Vec::new()
        };
        let batch = Arc::new(Batch {
            id: self.next_batch,
            group: group as u8,
            rows,
            unconfirmed,
        });
        self.next_batch += 1;
        for row in &batch.rows {
            self.busy[usize::from(row.slot)] += 1;
        }
        if !self.guarded(Guard::DeleteAfterAck) {
            self.undeleted.extend(batch.rows.iter().map(|row| Gone {
                seq: row.seq,
                mark: 0,
                slot: row.slot,
                releases: None,
            }));
        }
        self.in_flight.insert(batch.id, Arc::clone(&batch));
        Some(batch)
    }

    /// Suspects that are not in flight. Single requests are slow, so none goes after the last.
    fn suspects_left(&self) -> usize {
        let in_flight = self.in_flight.values().flat_map(|batch| &batch.rows);
        let asked = in_flight.filter(|row| self.suspects.contains_key(&row.seq));
        self.suspects.len().saturating_sub(asked.count())
    }

    /// What the marker of the group's next transaction lists besides its own rows.
    fn unconfirmed(&self, group: usize) -> Vec<(i64, u32)> {
        let mut rows: Vec<(i64, u32)> = Vec::new();
        if !self.guarded(Guard::MarkUnconfirmed) {
            return rows;
        }
        for batch in self
            .in_flight
            .values()
            .filter(|b| usize::from(b.group) == group)
        {
            rows.extend(batch.rows.iter().map(|row| (row.seq, id_mark(row.id))));
        }
        let deleting = match &self.writing {
            Some(Writing::Delete(gone)) => gone.as_slice(),
            _ => &[],
        };
        for gone in self.undeleted.iter().chain(deleting) {
            if self.group_of(gone.slot) == group {
                rows.push((gone.seq, gone.mark));
            }
        }
        rows
    }

    pub(super) fn settle(&mut self, generation: u64, id: u64, outcome: Outcome, now: Moment) {
        if generation != self.generation {
            return;
        }
        let Some(batch) = self.in_flight.remove(&id) else {
            return;
        };
        match outcome {
            Outcome::Acked => {
                self.works();
                for row in &batch.rows {
                    self.acked(row);
                }
            }
            Outcome::Mixed(fates) => {
                let mut open: HashSet<(&str, &str)> = HashSet::new();
                for (row, fate) in batch.rows.iter().zip(fates) {
                    match fate {
                        Fate::Acked => self.acked(row),
                        Fate::Unknown => {
                            self.unbusy(row.slot);
                            open.insert((&row.topic, &row.key));
                        }
                        Fate::TopicAway { .. } => {
                            self.unbusy(row.slot);
                            let topic = row.topic.to_string();
                            self.pause(topic, PROBE_MIN, now);
                        }
                        Fate::Refused { reason, certain } => {
                            self.at_once = true;
                            let first = !open.contains(&(&*row.topic, &*row.key));
                            self.refused(row, reason, certain, first, now);
                        }
                    }
                }
            }
        }
    }

    fn acked(&mut self, row: &Row) {
        self.suspects.remove(&row.seq);
        self.culprits.remove(&row.seq);
        if !self.guarded(Guard::DeleteAfterAck) {
            self.unbusy(row.slot);
            return;
        }
        self.undeleted.push(Gone {
            seq: row.seq,
            mark: id_mark(row.id),
            slot: row.slot,
            releases: row
                .replayed
                .then(|| (Arc::clone(&row.topic), row.key.clone())),
        });
    }

    /// `certain`: it was alone in its request. `first`: no earlier row of its key is open.
    fn refused(&mut self, row: &Row, reason: String, certain: bool, first: bool, now: Moment) {
        let policy = self.set.poison.of(&row.topic);
        if policy == Poison::Halt || self.blocked_count >= BLOCKED_KEYS_MAX {
            self.suspects.remove(&row.seq);
            self.unbusy(row.slot);
            self.pause(row.topic.to_string(), PROBE_MAX, now);
            return;
        }
        if !certain {
            self.unbusy(row.slot);
            self.explained &= !self.suspects.is_empty();
            self.suspects.insert(row.seq, row.slot);
            return;
        }
        self.explained = true;
        let blocks = policy == Poison::BlockKey;
        if blocks && !first && self.guarded(Guard::BuryInOrder) {
            // Its block would hold back what comes before it, and its replay overtake that.
            self.unbusy(row.slot);
            self.suspects.insert(row.seq, row.slot);
            self.culprits.insert(row.seq);
            return;
        }
        self.suspects.remove(&row.seq);
        self.culprits.remove(&row.seq);
        let Some(held) = self.held(row.slot) else {
            self.unbusy(row.slot);
            return;
        };
        tracing::error!(seq = row.seq, topic = %row.topic, reason, "event refused by the broker");
        if blocks && self.guarded(Guard::BlockKey) {
            let keys = self.blocked.entry(Arc::clone(&row.topic)).or_default();
            if keys.insert(row.key.clone(), Moment::MAX).is_none() {
                self.blocked_count += 1;
            }
        }
        // Still busy: the slot is not given back before the row has moved.
        self.burials.push_back(Burial {
            seq: row.seq,
            slot: row.slot,
            epoch: held.epoch,
            reason,
            blocks,
            key: (Arc::clone(&row.topic), row.key.clone()),
        });
    }

    /// Nothing is published to the topic until a probe finds it; its rows are dropped here and
    /// read again then.
    fn pause(&mut self, topic: String, after: std::time::Duration, now: Moment) {
        self.paused.entry(topic).or_insert_with_key(|topic| {
            tracing::warn!(topic, "topic paused");
            Pause {
                probe_at: now + after,
                backoff: after,
                probing: false,
            }
        });
    }

    pub(super) fn drive_probes(&mut self, now: Moment, todo: &mut Vec<Action<P>>) {
        if self.producer != Producer::Open {
            return;
        }
        for (topic, pause) in &mut self.paused {
            if !pause.probing && now >= pause.probe_at {
                pause.probing = true;
                todo.push(Action::Probe {
                    topic: topic.clone(),
                });
            }
        }
    }

    pub(super) fn topic_ready(&mut self, topic: &str) {
        if self.paused.remove(topic).is_some() {
            self.scan_again();
        }
    }

    pub(super) fn topic_away(&mut self, topic: &str, now: Moment) {
        if let Some(pause) = self.paused.get_mut(topic) {
            pause.probing = false;
            pause.backoff = (pause.backoff * 2).min(PROBE_MAX);
            pause.probe_at = now + pause.backoff;
        }
    }
}
