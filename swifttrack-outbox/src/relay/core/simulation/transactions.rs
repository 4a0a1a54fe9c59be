//! `Fencing::KafkaTransactions`: a producer for each group, whose transactions the broker takes
//! from the last one that fenced the group and from nobody else.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use super::broker::GroupProducer;
use super::publisher::outcome_of;
use super::world::{Happening, Work, World};
use crate::relay::core::{Batch, Event, Fate, Guard, Outcome, Packing};
use crate::relay::row::Row;

/// A transaction on its way to its commit.
#[derive(Debug)]
pub(super) struct Transaction {
    generation: u64,
    epoch: u64,
    batch: Arc<Batch>,
    fates: Vec<Fate>,
    marker: Vec<(i64, u32)>,
}

impl World {
    /// A group's producer of this generation takes the place of the one before it.
    pub(super) fn begin_group(&mut self, relay: usize, generation: u64, group: u8) {
        let producer = GroupProducer {
            generation,
            epoch: None,
            queue: VecDeque::new(),
            busy: false,
            failed: false,
            left_out: HashSet::new(),
        };
        if let Some(before) = self.relays[relay].groups.insert(group, producer) {
            for batch in before.queue {
                self.unknown(relay, before.generation, &batch);
            }
        }
    }

    pub(super) fn enqueue(&mut self, relay: usize, generation: u64, batch: Arc<Batch>) {
        match self.relays[relay].groups.get_mut(&batch.group) {
            Some(producer) if producer.generation == generation => producer.queue.push_back(batch),
            _ => {
                self.unknown(relay, generation, &batch);
                self.report(relay, Event::Failed { generation });
            }
        }
    }

    /// Whoever fenced the group before can commit nothing more, and what it left open is aborted.
    pub(super) fn fence(&mut self, relay: usize, life: u64, generation: u64, group: u8) {
        if self.waits_for_thaw(relay, life, || Work::Fence { generation, group }) {
            return;
        }
        let (reached, answered) = (!self.trouble(20), !self.trouble(20));
        if reached {
            let log = &mut self.broker.groups[usize::from(group)];
            log.epoch += 1;
            let (epoch, published) = (log.epoch, log.marker.clone());
            let Some(producer) = self.relays[relay].groups.get_mut(&group) else {
                return;
            };
            if producer.generation != generation {
                return;
            }
            if answered {
                producer.epoch = Some(epoch);
                let fenced = Event::Fenced {
                    generation,
                    group,
                    published,
                };
                self.report(relay, fenced);
                self.transact_next(relay, life, group);
                return;
            }
        }
        if let Some(producer) = self.relays[relay].groups.get_mut(&group)
            && producer.generation == generation
        {
            producer.failed = true;
            self.report(relay, Event::Failed { generation });
        }
    }

    /// The group's next transaction begins, when the one before has ended.
    pub(super) fn transact_next(&mut self, relay: usize, life: u64, group: u8) {
        let at = self.soon();
        let work = Work::Transact { group };
        self.at(at, Happening::Do { relay, life, work });
    }

    pub(super) fn transact(&mut self, relay: usize, life: u64, group: u8) {
        if self.waits_for_thaw(relay, life, || Work::Transact { group }) {
            return;
        }
        let breaks = self.trouble(20);
        let away_now = self.broker.away;
        let found_out = self.random.chance(500);
        let it = &mut self.relays[relay];
        let Some(relay_wide) = it.producer.as_mut() else {
            return;
        };
        let Some(producer) = it.groups.get_mut(&group) else {
            return;
        };
        let Some(epoch) = producer.epoch else { return };
        if producer.busy {
            return;
        }
        let Some(batch) = producer.queue.pop_front() else {
            return;
        };
        let generation = producer.generation;
        if producer.failed {
            self.unknown(relay, generation, &batch);
            return;
        }
        let listed: HashSet<i64> = batch.unconfirmed.iter().map(|(seq, _)| *seq).collect();
        producer.left_out.retain(|seq| listed.contains(seq));
        let mut fates = Vec::new();
        let mut refused = false;
        for row in &batch.rows {
            let away = &*row.topic == "away" && (away_now || relay_wide.knows_away);
            fates.push(if away {
                // Looked up before it was sent, or else the record itself comes back.
                refused |= !relay_wide.knows_away && !found_out;
                relay_wide.knows_away = true;
                producer.left_out.insert(row.seq);
                Fate::TopicAway {
                    reason: "unknown".to_owned(),
                }
            } else {
                producer.left_out.remove(&row.seq);
                Fate::Acked
            });
        }
        let packing = relay_wide.packing;
        if packing == Packing::Single {
            let poisoned = |row: &Row| self.broker.poison.contains(&row.seq);
            if let Some(index) = batch.rows.iter().position(poisoned)
                && fates[index] == Fate::Acked
            {
                refused = true;
                fates[index] = Fate::Refused {
                    reason: "too large".to_owned(),
                    certain: true,
                };
            }
        } else if self.broker.refuses(&batch.rows, packing) {
            refused = true;
            for fate in fates.iter_mut().filter(|fate| **fate == Fate::Acked) {
                *fate = Fate::Refused {
                    reason: "too large".to_owned(),
                    certain: false,
                };
            }
        }
        if breaks || refused || self.broker.groups[usize::from(group)].epoch != epoch {
            producer.failed = true;
            let fates = if refused {
                aborted(fates)
            } else {
                vec![Fate::Unknown; batch.rows.len()]
            };
            self.settled(relay, generation, &batch, Outcome::Mixed(fates));
            self.report(relay, Event::Failed { generation });
            return;
        }
        producer.busy = true;
        let left_out = if self.removed == Some(Guard::MarkPublishedOnly) {
            &HashSet::new()
        } else {
            &producer.left_out
        };
        let transaction = Transaction {
            generation,
            epoch,
            marker: batch.marker(left_out),
            batch,
            fates,
        };
        let at = self.soon();
        let work = Work::Commit(transaction);
        self.at(at, Happening::Do { relay, life, work });
    }

    pub(super) fn commit(&mut self, relay: usize, life: u64, transaction: Transaction) {
        let group = transaction.batch.group;
        if self.relays[relay].life != life {
            // It was killed: the request was on its way, or never will be.
            if self.random.chance(300) {
                self.commit_at_broker(&transaction);
            }
            return;
        }
        if self.relays[relay].frozen_until > self.now {
            let at = self.relays[relay].frozen_until;
            let work = Work::Commit(transaction);
            self.at(at, Happening::Do { relay, life, work });
            return;
        }
        let (reached, answered) = (!self.trouble(20), !self.trouble(20));
        let mine = |producer: &GroupProducer| {
            producer.generation == transaction.generation
                && producer.epoch == Some(transaction.epoch)
        };
        if !self.relays[relay].groups.get(&group).is_some_and(mine) {
            return; // it was closed, and its end was told
        }
        let done = reached && self.commit_at_broker(&transaction);
        let Transaction {
            generation,
            batch,
            fates,
            ..
        } = transaction;
        if let Some(producer) = self.relays[relay].groups.get_mut(&group) {
            producer.busy = false;
            producer.failed |= !(done && answered);
        }
        if done && answered {
            self.settled(relay, generation, &batch, outcome_of(fates));
        } else {
            self.unknown(relay, generation, &batch);
            self.report(relay, Event::Failed { generation });
        }
        self.transact_next(relay, life, group);
    }

    /// Readers see the records of a transaction when it commits. False: the group was fenced.
    fn commit_at_broker(&mut self, transaction: &Transaction) -> bool {
        let group = usize::from(transaction.batch.group);
        if self.broker.groups[group].epoch != transaction.epoch {
            self.broker.fenced_off += 1;
            return false;
        }
        for (row, fate) in transaction.batch.rows.iter().zip(&transaction.fates) {
            if *fate == Fate::Acked {
                self.append(row);
            }
        }
        self.broker.groups[group]
            .marker
            .clone_from(&transaction.marker);
        true
    }

    /// What is open is aborted, or commits although nobody hears of it.
    pub(super) fn close_groups(&mut self, relay: usize, generation: u64) {
        let mut groups: Vec<(u8, GroupProducer)> = self.relays[relay].groups.drain().collect();
        groups.sort_by_key(|(group, _)| *group);
        let (due, closed): (Vec<u64>, HashSet<(u8, u64)>) = (
            self.due.keys().copied().collect(),
            groups
                .iter()
                .filter_map(|(group, it)| Some((*group, it.epoch?)))
                .collect(),
        );
        let mut due = due;
        due.sort_unstable();
        for order in due {
            let ours = matches!(
                self.due.get(&order),
                Some(Happening::Do { relay: of, work: Work::Commit(it), .. })
                    if *of == relay && closed.contains(&(it.batch.group, it.epoch))
            );
            if ours
                && let Some(Happening::Do {
                    work: Work::Commit(transaction),
                    ..
                }) = self.due.remove(&order)
            {
                if self.random.chance(300) {
                    self.commit_at_broker(&transaction);
                }
                self.unknown(relay, transaction.generation, &transaction.batch);
            }
        }
        for (_, producer) in groups {
            for batch in producer.queue {
                self.unknown(relay, producer.generation, &batch);
            }
        }
        self.relays[relay].producer = None;
        self.report(relay, Event::Closed { generation });
    }

    /// What a frozen process does comes when it thaws, before it looks around.
    fn waits_for_thaw(&mut self, relay: usize, life: u64, work: impl Fn() -> Work) -> bool {
        let until = self.relays[relay].frozen_until;
        if until <= self.now {
            return false;
        }
        let work = work();
        self.at(until, Happening::Do { relay, life, work });
        true
    }

    fn unknown(&mut self, relay: usize, generation: u64, batch: &Batch) {
        let fates = vec![Fate::Unknown; batch.rows.len()];
        self.settled(relay, generation, batch, Outcome::Mixed(fates));
    }

    fn settled(&mut self, relay: usize, generation: u64, batch: &Batch, outcome: Outcome) {
        let event = Event::Settled {
            generation,
            batch: batch.id,
            outcome,
        };
        self.report(relay, event);
    }
}

/// Nothing of an aborted transaction is published, whatever was acknowledged.
fn aborted(fates: Vec<Fate>) -> Vec<Fate> {
    let told = |fate| match fate {
        Fate::Acked => Fate::Unknown,
        other => other,
    };
    fates.into_iter().map(told).collect()
}
