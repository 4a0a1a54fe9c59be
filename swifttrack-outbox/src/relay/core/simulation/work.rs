//! What a relay asks of the database, done or lost on the way.

use super::world::{CALM_AT, PAGE, TTL, Work, World};
use crate::relay::core::Event;

impl World {
    pub(super) fn work(&mut self, relay: usize, life: u64, work: Work) {
        let alive = self.relays[relay].life == life;
        let lost = self.trouble(15);
        // The reader's connection breaks in the calm world too: that alone repeats nothing.
        let unread = self.now < CALM_AT && self.random.chance(30);
        match work {
            Work::OpenReader => {
                if alive {
                    self.relays[relay].connected = self.database_life;
                    self.tell(
                        relay,
                        life,
                        if unread {
                            Event::ReaderLost
                        } else {
                            Event::ReaderOpen
                        },
                    );
                }
            }
            Work::Read(read) => {
                if alive {
                    if unread || self.relays[relay].connected != self.database_life {
                        self.tell(relay, life, Event::ReaderLost);
                    } else {
                        let page = self.database.read(&read, PAGE);
                        self.tell(relay, life, Event::Page(page));
                    }
                }
            }
            Work::Keep { id, first, asked } => {
                let before = lost && self.random.chance(500);
                let holding = if before {
                    None
                } else {
                    self.database.keep(id, first, TTL, self.now)
                };
                if alive && holding.is_some() {
                    self.relays[relay].lease = Some(id);
                }
                self.tell(
                    relay,
                    life,
                    if lost {
                        Event::KeepFailed
                    } else {
                        Event::Kept { asked, holding }
                    },
                );
            }
            Work::Release { id, slots } => {
                self.database.release(id, &slots);
                self.tell(
                    relay,
                    life,
                    if lost {
                        Event::ReleaseFailed
                    } else {
                        Event::Released
                    },
                );
            }
            Work::Leave { id } => {
                self.database.leave(id);
                self.tell(relay, life, Event::Left);
            }
            Work::Delete { seqs, dead } => {
                if !(lost && self.random.chance(500)) {
                    for seq in seqs.iter().chain(&dead) {
                        if !self.broker.log.contains(seq) {
                            self.broken = Some(format!("row {seq} deleted and not published"));
                        }
                    }
                    for seq in seqs {
                        self.database.rows.remove(&seq);
                    }
                    for seq in dead {
                        self.database.dead.remove(&seq);
                    }
                }
                self.tell(
                    relay,
                    life,
                    if lost {
                        Event::WriteFailed
                    } else {
                        Event::Deleted
                    },
                );
            }
            Work::DeleteMarked { rows } => {
                if !(lost && self.random.chance(500)) {
                    for seq in self.database.delete_marked(&rows) {
                        if !self.broker.log.contains(&seq) {
                            self.broken = Some(format!("row {seq} deleted and not published"));
                        }
                    }
                }
                self.tell(
                    relay,
                    life,
                    if lost {
                        Event::WriteFailed
                    } else {
                        Event::Deleted
                    },
                );
            }
            Work::Bury { id, burial } => {
                let done = !(lost && self.random.chance(500));
                let mine = done && self.database.bury(id, &burial);
                self.tell(
                    relay,
                    life,
                    if lost {
                        Event::WriteFailed
                    } else {
                        Event::Buried { mine }
                    },
                );
            }
            Work::Probe { topic } => {
                if alive {
                    let away = self.broker.away && topic == "away";
                    if let Some(producer) = &mut self.relays[relay].producer {
                        producer.knows_away = away;
                    }
                    self.report(
                        relay,
                        if away {
                            Event::TopicAway { topic }
                        } else {
                            Event::TopicReady { topic }
                        },
                    );
                }
            }
            Work::Send => {
                if alive {
                    self.send(relay, life);
                }
            }
            Work::Fence { generation, group } => {
                if alive {
                    self.fence(relay, life, generation, group);
                }
            }
            Work::Transact { group } => {
                if alive {
                    self.transact(relay, life, group);
                }
            }
            Work::Commit(transaction) => self.commit(relay, life, transaction),
            Work::Close { generation, .. } if self.broker.exactly_once => {
                if alive {
                    self.close_groups(relay, generation);
                }
            }
            Work::Close { generation, flush } => {
                if alive {
                    self.close(relay, generation, flush);
                }
            }
        }
    }
}
