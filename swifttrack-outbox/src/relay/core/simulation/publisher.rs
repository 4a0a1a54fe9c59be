//! What a relay's publisher does with its batches, and what a broker makes of them.

use super::broker::Producer;
use super::world::{Happening, Work, World};
use crate::relay::core::{Event, Fate, Guard, Outcome, Packing};
use crate::relay::row::Row;

impl World {
    /// The broker gets the producer's next batch.
    pub(super) fn send(&mut self, relay: usize, life: u64) {
        if self.relays[relay].frozen_until > self.now {
            // What waits in a frozen process goes out when it thaws, before it looks around.
            let at = self.relays[relay].frozen_until;
            self.at(
                at,
                Happening::Do {
                    relay,
                    life,
                    work: Work::Send,
                },
            );
            return;
        }
        let breaks = self.trouble(20);
        let Some(mut producer) = self.relays[relay].producer.take() else {
            return;
        };
        if producer.failed {
            self.relays[relay].producer = Some(producer);
            return;
        }
        let Some(batch) = producer.queue.pop_front() else {
            self.relays[relay].producer = Some(producer);
            return;
        };
        let generation = producer.generation;
        let outcome = if breaks {
            producer.failed = true;
            let landed = self.random.within(0, batch.rows.len() as u64) as usize;
            for row in &batch.rows[..landed] {
                let away = self.broker.away && &*row.topic == "away";
                if away || self.broker.poison.contains(&row.seq) {
                    break;
                }
                self.append(row);
            }
            Outcome::Mixed(vec![Fate::Unknown; batch.rows.len()])
        } else if producer.packing == Packing::Single {
            let fates = self.send_singly(&batch.rows, &mut producer);
            outcome_of(fates)
        } else if self.broker.refuses(&batch.rows, producer.packing) {
            // The whole batch is refused for one row of it.
            producer.failed = true;
            let fate = Fate::Refused {
                reason: "too large".to_owned(),
                certain: false,
            };
            Outcome::Mixed(vec![fate; batch.rows.len()])
        } else {
            let mut fates = Vec::new();
            for row in &batch.rows {
                if &*row.topic == "away" && (self.broker.away || producer.knows_away) {
                    producer.knows_away = self.removed != Some(Guard::PauseTopic);
                    fates.push(Fate::TopicAway {
                        reason: "unknown".to_owned(),
                    });
                } else {
                    self.append(row);
                    fates.push(Fate::Acked);
                }
            }
            outcome_of(fates)
        };
        let failed = producer.failed;
        // Without the law a producer goes on past its failure.
        if self.removed == Some(Guard::CloseAfterFailure) {
            producer.failed = false;
        }
        self.relays[relay].producer = Some(producer);
        self.report(
            relay,
            Event::Settled {
                generation,
                batch: batch.id,
                outcome,
            },
        );
        if failed {
            self.report(relay, Event::Failed { generation });
        }
    }

    /// Each row is a request: those before the refused one are settled, those after it may have
    /// been on the wire, but for its partition's.
    fn send_singly(&mut self, rows: &[Row], producer: &mut Producer) -> Vec<Fate> {
        let mut fates = Vec::new();
        let mut refused: Option<(&str, u64)> = None;
        for row in rows {
            let away = &*row.topic == "away" && (self.broker.away || producer.knows_away);
            let poison = self.broker.poison.contains(&row.seq);
            fates.push(if let Some((key, on_wire)) = &mut refused {
                if *on_wire > 0 && row.key != *key && !away && !poison {
                    self.append(row);
                }
                *on_wire = on_wire.saturating_sub(1);
                Fate::Unknown
            } else if away {
                producer.knows_away = true;
                Fate::TopicAway {
                    reason: "unknown".to_owned(),
                }
            } else if poison {
                refused = Some((&row.key, self.random.within(0, 3)));
                producer.failed = true;
                Fate::Refused {
                    reason: "too large".to_owned(),
                    certain: true,
                }
            } else {
                self.append(row);
                Fate::Acked
            });
        }
        fates
    }

    pub(super) fn close(&mut self, relay: usize, generation: u64, flush: bool) {
        let Some(mut producer) = self.relays[relay].producer.take() else {
            self.report(relay, Event::Closed { generation });
            return;
        };
        let mut drains = flush && !producer.failed && !self.broker.away;
        let mut on_wire = !producer.failed && self.random.chance(500) && !self.broker.away;
        for batch in std::mem::take(&mut producer.queue) {
            let refused = self.broker.refuses(&batch.rows, producer.packing);
            let lands = (drains || on_wire) && !refused && !producer.knows_away;
            if lands {
                for row in &batch.rows {
                    self.append(row);
                }
            }
            on_wire = false;
            drains &= lands;
            let outcome = if drains {
                Outcome::Acked
            } else {
                Outcome::Mixed(vec![Fate::Unknown; batch.rows.len()])
            };
            self.report(
                relay,
                Event::Settled {
                    generation,
                    batch: batch.id,
                    outcome,
                },
            );
        }
        self.report(relay, Event::Closed { generation });
    }

    pub(super) fn append(&mut self, row: &Row) {
        if self.tell_all {
            println!("{} ms: record {} of key {}", self.now, row.seq, row.key);
        }
        if let Err(broken) = self.broker.append(row) {
            self.broken = Some(broken);
        }
    }
}

pub(super) fn outcome_of(fates: Vec<Fate>) -> Outcome {
    if fates.iter().all(|fate| *fate == Fate::Acked) {
        Outcome::Acked
    } else {
        Outcome::Mixed(fates)
    }
}
