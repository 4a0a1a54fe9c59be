//! The clocks, the relays and what befalls them.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use super::broker::{Broker, Producer};
use super::database::{Database, Snapshot};
use super::random::Random;
use crate::relay::core::{Action, Core, Event, Fate, Guard, Outcome, Packing, Settings};
use crate::relay::poison::PoisonRules;
use crate::relay::row::Row;
use crate::store::{Burial, Read};

const KEYS: usize = 7;
const RELAYS: usize = 3;
const TTL: u64 = 1_000;
const PAGE: usize = 4;
/// Trouble ends here, in milliseconds.
const CALM_AT: u64 = 3_000;
/// By then everything must be published.
const END: u64 = 60_000;
/// More steps than any run takes: a loop without progress is a bug too.
const STEPS_MAX: usize = 200_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Faults {
    /// Nothing but late commits, slots that move and readers whose connection breaks.
    None,
    All,
}

/// Something that happens at a moment.
#[derive(Debug)]
enum Happening {
    /// To one incarnation of a relay.
    Tell {
        relay: usize,
        life: u64,
        event: Event<Snapshot>,
    },
    /// At the database or the broker, on behalf of one.
    Do {
        relay: usize,
        life: u64,
        work: Work,
    },
    Tick {
        relay: usize,
        life: u64,
    },
    Write,
    Trouble,
}

#[derive(Debug)]
enum Work {
    OpenReader,
    Read(Read<Snapshot>),
    Keep {
        id: u64,
        first: bool,
        asked: Duration,
    },
    Release {
        id: u64,
        slots: Vec<u8>,
    },
    Leave {
        id: u64,
    },
    Delete {
        seqs: Vec<i64>,
        dead: Vec<i64>,
    },
    Bury {
        id: u64,
        burial: Burial,
    },
    Send,
    Close {
        generation: u64,
        flush: bool,
    },
    Probe {
        topic: String,
    },
}

struct Relay {
    core: Core<Snapshot>,
    /// Incarnation: a killed relay comes back as another.
    life: u64,
    started: u64,
    /// Of the database's clock's second, in thousandths: no two clocks agree.
    pace: u64,
    frozen_until: u64,
    /// The database's life that the reader is connected to.
    connected: u64,
    producer: Option<Producer>,
    /// Reports come in the order in which they were made.
    last_report: u64,
    lease: Option<u64>,
    stopped: bool,
}

pub(super) struct World {
    now: u64,
    order: u64,
    random: Random,
    faults: Faults,
    removed: Option<Guard>,
    heap: BinaryHeap<Reverse<(u64, u64)>>,
    due: std::collections::HashMap<u64, Happening>,
    database: Database,
    /// Connections do not survive it.
    database_life: u64,
    broker: Broker,
    relays: Vec<Relay>,
    broken: Option<String>,
    /// Print what happens.
    pub(super) tell_all: bool,
}

impl World {
    pub(super) fn new(seed: u64, faults: Faults, removed: Option<Guard>) -> Self {
        let mut world = Self {
            now: 0,
            order: 0,
            random: Random::new(seed),
            faults,
            removed,
            heap: BinaryHeap::new(),
            due: std::collections::HashMap::new(),
            database: Database::new(KEYS),
            database_life: 0,
            broker: Broker::default(),
            relays: Vec::new(),
            broken: None,
            tell_all: false,
        };
        world.broker.narrow = faults == Faults::All && world.random.chance(300);
        for relay in 0..RELAYS {
            let pace = world.pace();
            world.relays.push(relay_at(0, 1, pace, removed));
            let at = world.random.within(0, 1_500);
            world.at(at, Happening::Tick { relay, life: 1 });
        }
        world.at(1, Happening::Write);
        world.at(50, Happening::Trouble);
        world
    }

    /// Err: the law that broke.
    pub(super) fn run(mut self) -> Result<(), String> {
        for _ in 0..STEPS_MAX {
            let Some(Reverse((now, order))) = self.heap.pop() else {
                break;
            };
            self.now = now;
            let Some(happening) = self.due.remove(&order) else {
                continue;
            };
            self.happen(happening);
            if let Some(broken) = self.broken.take() {
                return Err(format!("at {} ms: {broken}", self.now));
            }
            if self.now > CALM_AT && self.is_done() {
                return self.verdict();
            }
            if self.now > END {
                if self.tell_all {
                    for relay in &self.relays {
                        println!("{:#?}", relay.core);
                    }
                }
                return Err(format!(
                    "not published: {:?}, dead {:?}",
                    self.database.rows.keys().collect::<Vec<_>>(),
                    self.database.dead.keys().collect::<Vec<_>>()
                ));
            }
        }
        Err("no end".to_owned())
    }

    fn is_done(&self) -> bool {
        self.database.rows.is_empty()
            && self.database.dead.is_empty()
            && self.database.open.is_empty()
    }

    fn verdict(&self) -> Result<(), String> {
        if self.faults == Faults::None && self.broker.repeats > 0 {
            return Err(format!("{} repeats without a fault", self.broker.repeats));
        }
        Ok(())
    }

    /// A tenth slower or faster, which is far more than real clocks do.
    fn pace(&mut self) -> u64 {
        self.random.within(900, 1_100)
    }

    /// The relay's own clock.
    fn local(&self, relay: usize) -> Duration {
        let it = &self.relays[relay];
        Duration::from_micros((self.now - it.started) * it.pace)
    }

    fn at(&mut self, at: u64, happening: Happening) {
        self.order += 1;
        self.heap.push(Reverse((at, self.order)));
        self.due.insert(self.order, happening);
    }

    fn soon(&mut self) -> u64 {
        let slow = self.random.chance(50);
        self.now + self.random.within(1, if slow { 150 } else { 15 })
    }

    /// True while faults may be made.
    fn trouble(&mut self, per_mille: u64) -> bool {
        self.faults == Faults::All && self.now < CALM_AT && self.random.chance(per_mille)
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Tell { relay, life, event } => {
                let it = &self.relays[relay];
                if it.life != life || it.stopped {
                    return;
                }
                if it.frozen_until > self.now {
                    let until = it.frozen_until;
                    self.at(until, Happening::Tell { relay, life, event });
                    return;
                }
                self.step(relay, event);
            }
            Happening::Tick { relay, life } => {
                let it = &self.relays[relay];
                if it.life != life || it.stopped {
                    return;
                }
                if it.frozen_until > self.now {
                    let until = it.frozen_until;
                    self.at(until, Happening::Tick { relay, life });
                    return;
                }
                self.step(relay, Event::Tick);
                let (it, local) = (&self.relays[relay], self.local(relay));
                let due = it.core.deadline().map_or(200, |due| {
                    let rest = due.saturating_sub(local).as_micros() as u64;
                    rest.div_ceil(it.pace).clamp(1, 200)
                });
                let at = self.now + due;
                self.at(at, Happening::Tick { relay, life });
            }
            Happening::Do { relay, life, work } => self.work(relay, life, work),
            Happening::Write => self.write(),
            Happening::Trouble => self.befall(),
        }
    }

    fn step(&mut self, relay: usize, event: Event<Snapshot>) {
        let local = self.local(relay);
        let it = &mut self.relays[relay];
        if self.tell_all && !matches!(event, Event::Tick) {
            println!("{} ms, relay {relay}: {event:?}", self.now);
        }
        for action in it.core.handle(event, local) {
            if self.tell_all {
                println!("{} ms, relay {relay} does {action:?}", self.now);
            }
            self.execute(relay, action);
        }
    }

    fn execute(&mut self, relay: usize, action: Action<Snapshot>) {
        let it = &self.relays[relay];
        let (life, asked) = (it.life, self.local(relay));
        let id = |number: u64| life * 1_000_000 + relay as u64 * 10_000 + number;
        let work = match action {
            Action::OpenReader => Work::OpenReader,
            Action::Read(read) => Work::Read(read),
            Action::Keep { life, first } => Work::Keep {
                id: id(life),
                first,
                asked,
            },
            Action::Release { life, slots } => Work::Release {
                id: id(life),
                slots,
            },
            Action::Leave { life } => Work::Leave { id: id(life) },
            Action::Delete { seqs, dead } => Work::Delete { seqs, dead },
            Action::Bury { life, burial } => Work::Bury {
                id: id(life),
                burial,
            },
            Action::Probe { topic } => Work::Probe { topic },
            Action::CloseProducer { generation, flush } => Work::Close {
                generation,
                flush: !flush.is_zero(),
            },
            Action::OpenProducer {
                generation,
                packing,
            } => {
                self.relays[relay].producer = Some(Producer {
                    generation,
                    packing,
                    queue: VecDeque::new(),
                    failed: false,
                    knows_away: false,
                });
                return;
            }
            Action::Publish { generation, batch } => {
                self.check_lease(relay);
                if let Some(producer) = &mut self.relays[relay].producer
                    && producer.generation == generation
                {
                    producer.queue.push_back(batch);
                }
                Work::Send
            }
            Action::Stopped { .. } => {
                self.relays[relay].stopped = true;
                return;
            }
            Action::Trust { .. } | Action::Fence { .. } | Action::DeleteMarked { .. } => return,
        };
        let at = self.soon();
        self.at(at, Happening::Do { relay, life, work });
    }

    /// Law 5: a relay that lost its lease hands nothing over.
    fn check_lease(&mut self, relay: usize) {
        let lease = self.relays[relay]
            .lease
            .and_then(|id| self.database.leases.get(&id));
        if lease.is_none_or(|until| *until <= self.now) {
            self.broken = Some(format!("relay {relay} publishes without a lease"));
        }
    }

    fn tell(&mut self, relay: usize, life: u64, event: Event<Snapshot>) {
        let at = self.soon();
        self.at(at, Happening::Tell { relay, life, event });
    }

    /// From a publisher: in order.
    fn report(&mut self, relay: usize, event: Event<Snapshot>) {
        let at = self.soon().max(self.relays[relay].last_report);
        let it = &mut self.relays[relay];
        it.last_report = at;
        let life = it.life;
        self.at(at, Happening::Tell { relay, life, event });
    }

    fn work(&mut self, relay: usize, life: u64, work: Work) {
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
            Work::Close { generation, flush } => {
                if alive {
                    self.close(relay, generation, flush);
                }
            }
        }
    }

    fn append(&mut self, row: &Row) {
        if self.tell_all {
            println!("{} ms: record {} of key {}", self.now, row.seq, row.key);
        }
        if let Err(broken) = self.broker.append(row) {
            self.broken = Some(broken);
        }
    }

    /// The broker gets the producer's next batch.
    fn send(&mut self, relay: usize, life: u64) {
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

    fn close(&mut self, relay: usize, generation: u64, flush: bool) {
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

    /// A writer begins, and ends some time later, in any order.
    fn write(&mut self) {
        for index in (0..self.database.open.len()).rev() {
            if self.database.open[index].ends <= self.now {
                let commit = !self.random.chance(150);
                self.database.end(index, commit);
            }
        }
        if self.now < CALM_AT {
            let mut keys: Vec<usize> = Vec::new();
            for _ in 0..self.random.within(1, 3) {
                let key = self.random.within(0, KEYS as u64 - 1) as usize;
                if !self.database.keys[key].1 && !keys.contains(&key) {
                    keys.push(key);
                }
            }
            let slow = self.random.chance(200);
            let ends = self.now + self.random.within(1, if slow { 400 } else { 20 });
            let rows = self.random.within(1, 4);
            if !keys.is_empty() {
                self.database.begin(keys, rows, ends);
                if self.faults == Faults::All
                    && self.broker.poison.is_empty()
                    && self.random.chance(20)
                {
                    let seq = self.database.last_seq();
                    self.broker.poison.insert(seq);
                }
            }
        }
        let at = self.now + self.random.within(5, 60);
        self.at(at, Happening::Write);
    }

    /// Relays come and go; with faults, more than that.
    fn befall(&mut self) {
        let relay = self.random.within(0, RELAYS as u64 - 1) as usize;
        let calm = self.now >= CALM_AT;
        if calm {
            self.heal();
        } else if self.random.chance(60) {
            // A deployment: one drains and comes back.
            let until = self.local(relay) + Duration::from_secs(2);
            let life = self.relays[relay].life;
            self.tell(relay, life, Event::Stop { until });
        } else if self.faults == Faults::All {
            match self.random.within(0, 99) {
                0..=9 => {
                    self.relays[relay].frozen_until = self.now + self.random.within(100, 3_000)
                }
                10..=14 => self.relays[relay].stopped = true, // killed
                15..=19 => self.broker.away = !self.broker.away,
                20..=22 => {
                    // The database crashes: what was open is rolled back, who was connected is
                    // not any more.
                    while !self.database.open.is_empty() {
                        self.database.end(0, false);
                    }
                    self.database_life += 1;
                }
                _ => {}
            }
        }
        if self.relays[relay].stopped {
            let life = self.relays[relay].life + 1;
            let pace = self.pace();
            self.relays[relay] = relay_at(self.now, life, pace, self.removed);
            let at = self.soon();
            self.at(at, Happening::Tick { relay, life });
        }
        let at = self.now + self.random.within(20, 120);
        self.at(at, Happening::Trouble);
    }

    fn heal(&mut self) {
        self.broker.away = false;
        // What is refused has to be found; only then does somebody mend it.
        for (seq, dead) in &mut self.database.dead {
            self.broker.poison.remove(seq);
            dead.replay = true;
        }
    }
}

fn outcome_of(fates: Vec<Fate>) -> Outcome {
    if fates.iter().all(|fate| *fate == Fate::Acked) {
        Outcome::Acked
    } else {
        Outcome::Mixed(fates)
    }
}

fn relay_at(started: u64, life: u64, pace: u64, removed: Option<Guard>) -> Relay {
    let mut core = Core::new(Settings {
        trust: Duration::from_millis(TTL * 3 / 4),
        keep_every: Duration::from_millis(TTL / 3),
        batch_rows: PAGE,
        batches_max: 3,
        rows_max: 40,
        poll_min: Duration::from_millis(2),
        poll_max: Duration::from_millis(250),
        unit: 1,
        fence: false,
        poison: PoisonRules::default(),
    });
    core.removed = removed;
    Relay {
        core,
        life,
        started,
        pace,
        frozen_until: 0,
        connected: 0,
        producer: None,
        last_report: 0,
        lease: None,
        stopped: false,
    }
}
