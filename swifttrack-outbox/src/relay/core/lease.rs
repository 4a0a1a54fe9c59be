//! Slots: gained, shared out, given back, lost.

use std::collections::HashMap;
use std::time::Duration;

use super::{
    Action, Core, FLUSH_MAX, Guard, Held, Moment, Packing, Phase, Producer, RETRY_MAX, RETRY_MIN,
    Row, Stopping,
};
use crate::slot::SLOTS;
use crate::store::{Holding, share};

impl<P: Clone> Core<P> {
    pub(super) fn drive_lease(&mut self, now: Moment, todo: &mut Vec<Action<P>>) {
        if self.keeping {
            return;
        }
        let free = self.slots_to_release();
        if !free.is_empty() {
            self.keeping = true;
            self.releasing.clone_from(&free);
            todo.push(Action::Release {
                life: self.life,
                slots: free,
            });
        } else if now >= self.keep_at {
            self.keeping = true;
            self.replayed.clear();
            todo.push(Action::Keep {
                life: self.life,
                first: !self.registered,
            });
        }
    }

    /// Whole groups that are draining and have nothing under way.
    fn slots_to_release(&self) -> Vec<u8> {
        let unit = self.set.unit;
        (0..SLOTS / unit)
            .map(|group| group * unit..(group + 1) * unit)
            .filter(|slots| {
                let done = |slot: u8| match self.held(slot) {
                    Some(held) => {
                        held.phase == Phase::Draining
                            && (self.busy[usize::from(slot)] == 0
                                || !self.guarded(Guard::DrainBeforeRelease))
                    }
                    None => false,
                };
                slots.clone().all(done)
            })
            .flatten()
            .collect()
    }

    pub(super) fn released(&mut self) {
        self.keeping = false;
        for slot in std::mem::take(&mut self.releasing) {
            self.slots[usize::from(slot)] = None;
        }
    }

    pub(super) fn left(&mut self) {
        self.keeping = false;
        self.registered = false;
    }

    pub(super) fn keep_failed(&mut self, now: Moment) {
        self.keeping = false;
        self.keep_at = now + self.set.keep_every.min(Duration::from_secs(1)) / 4;
    }

    pub(super) fn kept(
        &mut self,
        asked: Moment,
        holding: Option<Holding>,
        now: Moment,
        todo: &mut Vec<Action<P>>,
    ) {
        self.keeping = false;
        let Some(holding) = holding else {
            self.end_of_life(now, todo);
            return;
        };
        self.registered = true;
        self.keep_at = asked + self.set.keep_every;
        let until = asked + self.set.trust;
        if self.trust_until.is_none_or(|before| before < until) {
            self.trust_until = Some(until);
            todo.push(Action::Trust { until });
        }
        self.relays = holding.relays;
        self.compare_slots(&holding.slots, now, todo);
        self.give_up_surplus();
        self.compare_blocked(holding.blocked, asked);
        self.queue_replays(holding.replays);
    }

    /// The lease is gone for good; another may own the slots already.
    fn end_of_life(&mut self, now: Moment, todo: &mut Vec<Action<P>>) {
        self.life += 1;
        self.registered = false;
        self.keep_at = now;
        self.trust_until = None;
        self.slots = [None; SLOTS as usize];
        self.forget_pending();
        self.suspects.clear();
        self.culprits.clear();
        for burial in std::mem::take(&mut self.burials) {
            self.unbusy(burial.slot);
        }
        self.blocked.clear();
        self.blocked_count = 0;
        if self.producer == Producer::Open {
            self.close(Duration::ZERO, todo);
        }
    }

    fn compare_slots(&mut self, ours: &[(u8, i64)], now: Moment, todo: &mut Vec<Action<P>>) {
        let ours: HashMap<u8, i64> = ours.iter().copied().collect();
        let mut lost_busy = false;
        for slot in 0..SLOTS {
            let index = usize::from(slot);
            match (self.slots[index], ours.get(&slot)) {
                (Some(held), Some(epoch)) if held.epoch == *epoch => {}
                (before, Some(epoch)) => {
                    lost_busy |= before.is_some() && self.busy[index] > 0;
                    let phase = if self.set.fence {
                        Phase::Gained
                    } else {
                        Phase::Clean
                    };
                    self.slots[index] = Some(Held {
                        epoch: *epoch,
                        phase,
                    });
                    tracing::debug!(slot, epoch, "slot gained");
                }
                (Some(_), None) => {
                    lost_busy |= self.busy[index] > 0;
                    self.slots[index] = None;
                    let before = self.suspects.len();
                    self.suspects.retain(|_, suspect| *suspect != slot);
                    self.culprits.retain(|seq| self.suspects.contains_key(seq));
                    self.explained |= self.suspects.len() < before;
                }
                (None, None) => {}
            }
        }
        // Somebody took a slot with rows of ours under way: purge rather than overtake.
        if lost_busy && self.producer == Producer::Open {
            self.failed(self.generation, now, todo);
        }
    }

    /// A relay holds no more than its share, so that a new one gets work.
    fn give_up_surplus(&mut self) {
        let unit = self.set.unit;
        let share = share(self.relays, unit) as usize;
        let whole = |core: &Self, group: u8| {
            (group * unit..(group + 1) * unit).all(|slot| {
                core.held(slot)
                    .is_some_and(|held| held.phase != Phase::Draining)
            })
        };
        let held: Vec<u8> = (0..SLOTS / unit)
            .filter(|group| whole(self, *group))
            .collect();
        for group in held.iter().skip(share) {
            for slot in group * unit..(group + 1) * unit {
                if let Some(held) = &mut self.slots[usize::from(slot)] {
                    held.phase = Phase::Draining;
                }
            }
            let slots = group * unit..(group + 1) * unit;
            for queue in &mut self.pending {
                queue.retain(|row| !slots.contains(&row.slot));
            }
        }
    }

    /// Blocks are rows, so a key that an operator released elsewhere is seen here.
    fn compare_blocked(&mut self, blocked: Vec<(String, String)>, asked: Moment) {
        let mut there: HashMap<String, HashMap<String, ()>> = HashMap::new();
        for (topic, key) in blocked {
            there.entry(topic).or_default().insert(key, ());
        }
        let mut released = false;
        for (topic, keys) in &mut self.blocked {
            let known = there.get(topic.as_ref());
            keys.retain(|key, since| {
                // A block that is younger than the answer's question is not in the answer.
                let stays = *since >= asked || known.is_some_and(|keys| keys.contains_key(key));
                released |= !stays;
                stays
            });
        }
        for (topic, keys) in there {
            let ours = self.blocked.entry(topic.into()).or_default();
            for key in keys.into_keys() {
                ours.entry(key).or_insert(asked);
            }
        }
        self.blocked.retain(|_, keys| !keys.is_empty());
        self.blocked_count = self.blocked.values().map(HashMap::len).sum();
        if released {
            self.scan_again();
        }
    }

    fn queue_replays(&mut self, rows: Vec<Row>) {
        for row in rows {
            let under_way = self.replayed.contains(&row.seq)
                || self
                    .pending
                    .iter()
                    .flatten()
                    .any(|other| other.seq == row.seq)
                || self
                    .in_flight
                    .values()
                    .any(|b| b.rows.iter().any(|r| r.seq == row.seq))
                || self.undeleted.iter().any(|gone| gone.seq == row.seq)
                || self.burials.iter().any(|burial| burial.seq == row.seq)
                || self.is_being_written(row.seq);
            let held = self.held(row.slot);
            let ready = held.is_some_and(|held| {
                !matches!(held.phase, Phase::Draining | Phase::Gained | Phase::Fencing)
            });
            if !under_way && ready && self.may_go(&row) && self.stopping == Stopping::No {
                let group = self.group_of(row.slot);
                self.pending[group].push_back(row);
            }
        }
    }

    pub(super) fn drive_trust(&mut self, now: Moment, todo: &mut Vec<Action<P>>) {
        if self.producer == Producer::Open
            && !self.trusted(now)
            && self.guarded(Guard::TrustDeadline)
        {
            tracing::warn!("the lease could not be renewed in time: the producer is purged");
            self.close(Duration::ZERO, todo);
        }
    }

    pub(super) fn drive_producer(&mut self, now: Moment, todo: &mut Vec<Action<P>>) {
        let wanted = self.slots.iter().any(Option::is_some) && self.stopping == Stopping::No;
        if self.producer == Producer::Absent && wanted && self.trusted(now) && now >= self.open_at {
            self.producer = Producer::Open;
            self.open_at = Moment::ZERO;
            self.at_once = false;
            self.packing = if self.suspects.is_empty() || !self.guarded(Guard::SingleSuspects) {
                let halvings = self.halvings;
                Packing::Full { halvings }
            } else {
                Packing::Single
            };
            todo.push(Action::OpenProducer {
                generation: self.generation,
                packing: self.packing,
            });
        }
        if self.producer == Producer::Open && self.set.fence && self.trusted(now) && !self.stops() {
            let unit = self.set.unit;
            for group in 0..SLOTS / unit {
                let slots = group * unit..(group + 1) * unit;
                let gained = |slot: u8| {
                    self.held(slot)
                        .is_some_and(|held| held.phase == Phase::Gained)
                };
                if slots.clone().all(gained) {
                    let phase = if self.guarded(Guard::FenceBeforeScan) {
                        Phase::Fencing
                    } else {
                        Phase::Clean
                    };
                    for slot in slots {
                        if let Some(held) = &mut self.slots[usize::from(slot)] {
                            held.phase = phase;
                        }
                    }
                    todo.push(Action::Fence {
                        generation: self.generation,
                        group,
                    });
                }
            }
        }
    }

    /// Whoever had the group before can write nothing more; what it wrote without deleting is
    /// deleted before the backlog is read.
    pub(super) fn fenced(&mut self, generation: u64, group: u8, published: Vec<(i64, u32)>) {
        if generation == self.generation && self.producer == Producer::Open {
            self.marked.push_back((group, published));
            if !self.guarded(Guard::DeleteMarkedBeforeScan) {
                self.group_is_clean(group);
            }
        }
    }

    /// Nothing that was published is left in the table: the group's backlog can be read.
    pub(super) fn group_is_clean(&mut self, group: u8) {
        for slot in group * self.set.unit..(group + 1) * self.set.unit {
            if let Some(held) = &mut self.slots[usize::from(slot)]
                && held.phase == Phase::Fencing
            {
                held.phase = Phase::Clean;
            }
        }
    }

    pub(super) fn failed(&mut self, generation: u64, now: Moment, todo: &mut Vec<Action<P>>) {
        if generation != self.generation || self.producer != Producer::Open {
            return;
        }
        if !self.guarded(Guard::CloseAfterFailure) {
            // As one would do without the law: publish again what was not acknowledged.
            let lost: Vec<_> = std::mem::take(&mut self.in_flight).into_values().collect();
            for batch in lost {
                for row in &batch.rows {
                    self.unbusy(row.slot);
                }
            }
            self.scan_again();
            return;
        }
        let rest = self
            .trust_until
            .map_or(Duration::ZERO, |until| until.saturating_sub(now));
        self.close(FLUSH_MAX.min(rest), todo);
    }

    pub(super) fn close(&mut self, flush: Duration, todo: &mut Vec<Action<P>>) {
        self.producer = Producer::Closing;
        todo.push(Action::CloseProducer {
            generation: self.generation,
            flush,
        });
    }

    pub(super) fn closed(&mut self, generation: u64, now: Moment) {
        if generation != self.generation || self.producer == Producer::Absent {
            return;
        }
        let unresolved = !self.in_flight.is_empty();
        for batch in std::mem::take(&mut self.in_flight).into_values() {
            for row in &batch.rows {
                self.unbusy(row.slot);
            }
        }
        if let Stopping::Draining { .. } = self.stopping
            && unresolved
        {
            self.stopping = Stopping::Leaving { clean: false };
        }
        self.producer = Producer::Absent;
        self.generation += 1;
        // Of two generations that are refused something one moves a row; any other failure may
        // repeat, and is paced.
        if self.at_once {
            self.open_at = now;
        } else {
            self.open_at = now + self.open_delay;
            self.open_delay = (self.open_delay * 2).min(RETRY_MAX);
        }
        self.marked.clear();
        // A pause ends with a probe, and the producer that had one to answer is gone.
        for pause in self.paused.values_mut() {
            pause.probing = false;
        }
        self.scan_again();
        if self.set.fence && self.guarded(Guard::FenceEachProducer) {
            self.turn(&[Phase::Clean, Phase::Fencing], Phase::Gained);
        }
    }

    pub(super) fn unbusy(&mut self, slot: u8) {
        let busy = &mut self.busy[usize::from(slot)];
        *busy = busy.saturating_sub(1);
    }

    /// The next producer need not be waited for: this one worked.
    pub(super) fn works(&mut self) {
        self.open_delay = RETRY_MIN;
    }
}
