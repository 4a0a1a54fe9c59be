//! The clocks, the relays, and what happens next.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::Duration;

use super::broker::{Broker, GroupProducer, Producer};
use super::database::{Database, Snapshot};
use super::random::Random;
use super::transactions::Transaction;
use crate::relay::Fencing;
use crate::relay::core::{Action, Core, Event, Guard, Settings};
use crate::relay::poison::PoisonRules;
use crate::store::{Burial, Read};

pub(super) const KEYS: usize = 7;
pub(super) const RELAYS: usize = 3;
pub(super) const TTL: u64 = 1_000;
pub(super) const PAGE: usize = 4;
/// Trouble ends here, in milliseconds.
pub(super) const CALM_AT: u64 = 3_000;
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
pub(super) enum Happening {
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
pub(super) enum Work {
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
    DeleteMarked {
        rows: Vec<(i64, u32)>,
    },
    Send,
    Fence {
        generation: u64,
        group: u8,
    },
    Transact {
        group: u8,
    },
    Commit(Transaction),
    Close {
        generation: u64,
        flush: bool,
    },
    Probe {
        topic: String,
    },
}

pub(super) struct Relay {
    pub(super) core: Core<Snapshot>,
    /// Incarnation: a killed relay comes back as another.
    pub(super) life: u64,
    pub(super) started: u64,
    /// Of the database's clock's second, in thousandths: no two clocks agree.
    pub(super) pace: u64,
    pub(super) frozen_until: u64,
    /// The database's life that the reader is connected to.
    pub(super) connected: u64,
    pub(super) producer: Option<Producer>,
    /// Where groups are fenced.
    pub(super) groups: HashMap<u8, GroupProducer>,
    /// Reports come in the order in which they were made.
    pub(super) last_report: u64,
    pub(super) lease: Option<u64>,
    pub(super) stopped: bool,
}

pub(super) struct World {
    pub(super) now: u64,
    pub(super) order: u64,
    pub(super) random: Random,
    pub(super) faults: Faults,
    pub(super) fencing: Fencing,
    pub(super) removed: Option<Guard>,
    pub(super) heap: BinaryHeap<Reverse<(u64, u64)>>,
    pub(super) due: HashMap<u64, Happening>,
    pub(super) database: Database,
    /// Connections do not survive it.
    pub(super) database_life: u64,
    pub(super) broker: Broker,
    pub(super) relays: Vec<Relay>,
    pub(super) broken: Option<String>,
    /// Print what happens.
    pub(super) tell_all: bool,
}

impl World {
    pub(super) fn new(seed: u64, faults: Faults, fencing: Fencing, removed: Option<Guard>) -> Self {
        let mut world = Self {
            now: 0,
            order: 0,
            random: Random::new(seed),
            faults,
            fencing,
            removed,
            heap: BinaryHeap::new(),
            due: HashMap::new(),
            database: Database::new(KEYS, unit_of(fencing)),
            database_life: 0,
            broker: Broker::default(),
            relays: Vec::new(),
            broken: None,
            tell_all: false,
        };
        world.broker.exactly_once = fencing == Fencing::KafkaTransactions;
        world.broker.narrow = faults == Faults::All && world.random.chance(300);
        for relay in 0..RELAYS {
            let pace = world.pace();
            world.relays.push(relay_at(0, 1, pace, fencing, removed));
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
    pub(super) fn pace(&mut self) -> u64 {
        self.random.within(900, 1_100)
    }

    /// The relay's own clock.
    pub(super) fn local(&self, relay: usize) -> Duration {
        let it = &self.relays[relay];
        Duration::from_micros((self.now - it.started) * it.pace)
    }

    pub(super) fn at(&mut self, at: u64, happening: Happening) {
        self.order += 1;
        self.heap.push(Reverse((at, self.order)));
        self.due.insert(self.order, happening);
    }

    pub(super) fn soon(&mut self) -> u64 {
        let slow = self.random.chance(50);
        self.now + self.random.within(1, if slow { 150 } else { 15 })
    }

    /// True while faults may be made.
    pub(super) fn trouble(&mut self, per_mille: u64) -> bool {
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
            Action::DeleteMarked { rows } => Work::DeleteMarked { rows },
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
            Action::Fence { generation, group } => {
                self.begin_group(relay, generation, group);
                Work::Fence { generation, group }
            }
            Action::Publish { generation, batch } if self.broker.exactly_once => {
                self.check_lease(relay);
                let group = batch.group;
                self.enqueue(relay, generation, batch);
                Work::Transact { group }
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
            Action::Trust { .. } => return,
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

    pub(super) fn tell(&mut self, relay: usize, life: u64, event: Event<Snapshot>) {
        let at = self.soon();
        self.at(at, Happening::Tell { relay, life, event });
    }

    /// From a publisher: in order.
    pub(super) fn report(&mut self, relay: usize, event: Event<Snapshot>) {
        let at = self.soon().max(self.relays[relay].last_report);
        let it = &mut self.relays[relay];
        it.last_report = at;
        let life = it.life;
        self.at(at, Happening::Tell { relay, life, event });
    }
}

/// As the relay sets its own core up.
fn unit_of(fencing: Fencing) -> u8 {
    match fencing {
        Fencing::Lease => 1,
        Fencing::KafkaTransactions => 8,
    }
}

pub(super) fn relay_at(
    started: u64,
    life: u64,
    pace: u64,
    fencing: Fencing,
    removed: Option<Guard>,
) -> Relay {
    let fence = fencing == Fencing::KafkaTransactions;
    let mut core = Core::new(Settings {
        trust: Duration::from_millis(TTL * 3 / 4),
        keep_every: Duration::from_millis(TTL / 3),
        batch_rows: PAGE,
        batches_max: if fence { 2 } else { 3 },
        rows_max: 40,
        poll_min: Duration::from_millis(2),
        poll_max: Duration::from_millis(250),
        unit: unit_of(fencing),
        fence,
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
        groups: HashMap::new(),
        last_report: 0,
        lease: None,
        stopped: false,
    }
}
