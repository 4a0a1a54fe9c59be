//! The relay's decisions: a pure core.
//!
//! `handle(event, now)` changes the state and says what to do; it reads no clock, does no I/O
//! and knows no SQL. The driver and the simulation run this same code.
//!
//! ```text
//!   Kept ──► slots: Gained ─► (Fencing ─►) Clean ─► Scanning ─► Ready ─► Draining ─► released
//!   Page ──► pending ──► Publish ──► in flight ──► Settled ──► undeleted ──► Delete ──► Deleted
//!                                        └─ Failed ─► Closing ─► Closed: all slots scan again
//! ```
//!
//! Recovery is always the same: what is not known to be published is forgotten and read again
//! from the backlog, under the cursor that the reader has, without the rows that are on their
//! way.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::poison::{Poison, PoisonRules};
use super::row::Row;
use crate::slot::SLOTS;
use crate::store::Burial;

#[cfg(test)]
mod filling;
mod guard;
mod lease;
mod message;
mod publish;
mod read;
#[cfg(test)]
mod simulation;
mod stop;
mod write;

pub(crate) use guard::Guard;
pub(crate) use message::{Action, Batch, Event, Fate, Outcome, Packing};

/// A moment, counted from the relay's start.
pub(crate) type Moment = Duration;

/// Limits and times.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// How long after a heartbeat was asked for its lease is trusted.
    pub(crate) trust: Duration,
    pub(crate) keep_every: Duration,
    /// Rows of one batch.
    pub(crate) batch_rows: usize,
    /// Batches in flight (of each group).
    pub(crate) batches_max: usize,
    /// Rows that were read and are not deleted yet; reading stops there.
    pub(crate) rows_max: usize,
    pub(crate) poll_min: Duration,
    pub(crate) poll_max: Duration,
    /// Slots that change hands together.
    pub(crate) unit: u8,
    /// A slot is fenced before its rows are read: `Fencing::KafkaTransactions`.
    pub(crate) fence: bool,
    pub(crate) poison: PoisonRules,
}

/// Between two polls of a relay that is woken all the time, whatever its poll is set to.
const WAKE_GAP: Duration = Duration::from_millis(2);
/// How long a group's rows wait to fill a transaction while other groups have theirs.
const FILL_MAX: Duration = Duration::from_secs(1);
/// Between two deletes of less than a batch.
const DELETE_GAP: Duration = Duration::from_millis(10);
/// A retry of what the database or the broker refused.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// Between two probes of a paused topic.
const PROBE_MIN: Duration = Duration::from_millis(500);
const PROBE_MAX: Duration = Duration::from_secs(30);
/// What a producer may still deliver after a row was refused.
const FLUSH_MAX: Duration = Duration::from_secs(5);
/// A request of a 1024th of its size is as good as single ones.
const HALVINGS_MAX: u8 = 10;
/// Keys that one relay blocks; with more, the topic pauses instead.
const BLOCKED_KEYS_MAX: usize = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Ours, not fenced yet.
    Gained,
    Fencing,
    /// Its backlog has to be read.
    Clean,
    Scanning,
    Ready,
    /// Nothing more is published; it is given back when nothing of it is under way.
    Draining,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    epoch: i64,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Producer {
    Absent,
    Open,
    Closing,
}

#[derive(Clone, Debug)]
enum Cursor<P> {
    /// A new connection knows nothing.
    Begin,
    At(P),
    Scan {
        at: P,
        after: i64,
    },
    Window {
        since: P,
        to: P,
        after: i64,
    },
}

/// A published row whose delete is not confirmed.
#[derive(Clone, Debug)]
struct Gone {
    seq: i64,
    mark: u32,
    slot: u8,
    /// The key that its delete releases: the row was a dead one, published again.
    releases: Option<(Arc<str>, String)>,
}

#[derive(Debug)]
enum Writing {
    Delete(Vec<Gone>),
    Marked {
        generation: u64,
        group: u8,
        rows: Vec<(i64, u32)>,
    },
    Bury(Burial),
}

#[derive(Debug)]
struct Pause {
    probe_at: Moment,
    backoff: Duration,
    probing: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stopping {
    No,
    Draining {
        until: Moment,
    },
    /// The producer is closed; the lease is being given back, if that is safe.
    Leaving {
        clean: bool,
    },
    Done,
}

/// The relay's whole state.
#[derive(Debug)]
pub(crate) struct Core<P> {
    set: Settings,
    // The lease.
    life: u64,
    registered: bool,
    keeping: bool,
    keep_at: Moment,
    trust_until: Option<Moment>,
    slots: [Option<Held>; SLOTS as usize],
    /// Rows of each slot that are in flight, undeleted or being moved.
    busy: [u32; SLOTS as usize],
    relays: u32,
    releasing: Vec<u8>,
    // The reader.
    reader_open: bool,
    reader_opening: bool,
    reader_at: Moment,
    cursor: Cursor<P>,
    reading: bool,
    /// The page that is coming was asked for before everything was forgotten.
    discard: bool,
    /// Rows whose delete was confirmed while a page was under way: it may still have them.
    settled: HashSet<i64>,
    woken: bool,
    poll_at: Moment,
    polled_at: Moment,
    poll_delay: Duration,
    // The producer.
    producer: Producer,
    generation: u64,
    open_at: Moment,
    open_delay: Duration,
    /// By group; one only, unless groups are fenced apart.
    pending: Vec<VecDeque<Row>>,
    /// Of each group whose rows wait until they fill a transaction.
    fill_until: Vec<Option<Moment>>,
    next_batch: u64,
    in_flight: BTreeMap<u64, Arc<Batch>>,
    /// Rows of refused requests, by slot; a generation of single requests finds the culprit.
    suspects: HashMap<i64, u8>,
    /// Suspects that were found out in a transaction whose end took back earlier rows of their
    /// key: they go alone, after those.
    culprits: HashSet<i64>,
    packing: Packing,
    /// Why they were refused is known, or cannot be found out any more.
    explained: bool,
    /// The next generation need not wait: this one brought the search for a culprit on.
    at_once: bool,
    /// How often a request was refused of which no row was.
    halvings: u8,
    /// Topics that take nothing now.
    paused: BTreeMap<String, Pause>,
    /// By topic and key, since when the block is a row; for ever until its burial is confirmed.
    blocked: HashMap<Arc<str>, HashMap<String, Moment>>,
    blocked_count: usize,
    /// Dead rows that were published again while a heartbeat was under way.
    replayed: HashSet<i64>,
    // The writer.
    undeleted: Vec<Gone>,
    marked: VecDeque<(u8, Vec<(i64, u32)>)>,
    burials: VecDeque<Burial>,
    writing: Option<Writing>,
    write_at: Moment,
    delete_at: Moment,
    stopping: Stopping,
    #[cfg(test)]
    pub(crate) removed: Option<Guard>,
}

/// What can be seen of a core from outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stats {
    pub(crate) slots: usize,
    pub(crate) in_flight: usize,
    pub(crate) undeleted: usize,
    pub(crate) blocked: usize,
    pub(crate) paused: usize,
    pub(crate) life: u64,
    pub(crate) generation: u64,
}

impl<P: Clone> Core<P> {
    pub(crate) fn new(set: Settings) -> Self {
        let groups = if set.fence {
            usize::from(SLOTS / set.unit)
        } else {
            1
        };
        Self {
            life: 0,
            registered: false,
            keeping: false,
            keep_at: Moment::ZERO,
            trust_until: None,
            slots: [None; SLOTS as usize],
            busy: [0; SLOTS as usize],
            relays: 1,
            releasing: Vec::new(),
            reader_open: false,
            reader_opening: false,
            reader_at: Moment::ZERO,
            cursor: Cursor::Begin,
            reading: false,
            discard: false,
            settled: HashSet::new(),
            woken: false,
            poll_at: Moment::ZERO,
            polled_at: Moment::ZERO,
            poll_delay: set.poll_min,
            producer: Producer::Absent,
            generation: 0,
            open_at: Moment::ZERO,
            open_delay: RETRY_MIN,
            pending: (0..groups).map(|_| VecDeque::new()).collect(),
            fill_until: vec![None; groups],
            next_batch: 0,
            in_flight: BTreeMap::new(),
            suspects: HashMap::new(),
            culprits: HashSet::new(),
            packing: Packing::Full { halvings: 0 },
            explained: false,
            at_once: false,
            halvings: 0,
            paused: BTreeMap::new(),
            blocked: HashMap::new(),
            blocked_count: 0,
            replayed: HashSet::new(),
            undeleted: Vec::new(),
            marked: VecDeque::new(),
            burials: VecDeque::new(),
            writing: None,
            write_at: Moment::ZERO,
            delete_at: Moment::ZERO,
            stopping: Stopping::No,
            #[cfg(test)]
            removed: None,
            set,
        }
    }

    /// Takes an event in and says what to do.
    pub(crate) fn handle(&mut self, event: Event<P>, now: Moment) -> Vec<Action<P>> {
        let mut todo = Vec::new();
        match event {
            Event::Tick => {}
            Event::Wake => self.woken = true,
            Event::ReaderOpen => self.reader_opened(now),
            Event::ReaderLost => self.reader_lost(now),
            Event::Page(page) => self.page(page, now),
            Event::Kept { asked, holding } => self.kept(asked, holding, now, &mut todo),
            Event::KeepFailed => self.keep_failed(now),
            Event::Released => self.released(),
            Event::ReleaseFailed => {
                self.keeping = false;
                self.releasing.clear();
            }
            Event::Left => self.left(),
            Event::Settled {
                generation,
                batch,
                outcome,
            } => {
                self.settle(generation, batch, outcome, now);
            }
            Event::Failed { generation } => self.failed(generation, now, &mut todo),
            Event::Closed { generation } => self.closed(generation, now),
            Event::Fenced {
                generation,
                group,
                published,
            } => {
                self.fenced(generation, group, published);
            }
            Event::TopicReady { topic } => self.topic_ready(&topic),
            Event::TopicAway { topic } => self.topic_away(&topic, now),
            Event::Deleted => self.deleted(),
            Event::WriteFailed => self.write_failed(now),
            Event::Buried { mine } => self.buried(mine, now),
            Event::Stop { until } => {
                if self.stopping == Stopping::No {
                    self.stopping = Stopping::Draining { until };
                    self.forget_pending();
                }
            }
        }
        self.drive(now, &mut todo);
        todo
    }

    /// When to come back with a `Tick`, if nothing else happens.
    pub(crate) fn deadline(&self) -> Option<Moment> {
        let mut due: Option<Moment> = None;
        let mut at = |moment: Moment| due = Some(due.map_or(moment, |d| d.min(moment)));
        if self.stopping == Stopping::Done {
            return None;
        }
        if let Stopping::Draining { until } = self.stopping {
            at(until);
        }
        if !self.keeping {
            at(self.keep_at);
        }
        if self.producer == Producer::Open
            && let Some(until) = self.trust_until
        {
            at(until);
        }
        if self.producer == Producer::Absent && self.open_at > Moment::ZERO {
            at(self.open_at);
        }
        if self.producer == Producer::Open && !self.stops() {
            let groups = self.pending.iter().zip(&self.fill_until);
            groups
                .filter(|(rows, _)| !rows.is_empty())
                .filter_map(|(_, until)| *until)
                .for_each(&mut at);
        }
        if !self.reader_open && !self.reader_opening {
            at(self.reader_at);
        }
        if self.writing.is_none() && self.has_writes() {
            let only_deletes = self.burials.is_empty() && self.marked.is_empty();
            let due = if only_deletes {
                self.delete_due()
            } else {
                Moment::ZERO
            };
            at(due.max(self.write_at));
        }
        if self.wants_poll() {
            at(self.poll_due());
        }
        for pause in self.paused.values() {
            if !pause.probing {
                at(pause.probe_at);
            }
        }
        due
    }

    /// It knows already that there may be something to read.
    pub(crate) fn is_woken(&self) -> bool {
        self.woken
    }

    /// A batch that is in flight.
    pub(crate) fn batch(&self, id: u64) -> Option<Arc<Batch>> {
        self.in_flight.get(&id).cloned()
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats {
            slots: self.slots.iter().flatten().count(),
            in_flight: self.in_flight.values().map(|b| b.rows.len()).sum(),
            undeleted: self.undeleted.len(),
            blocked: self.blocked_count,
            paused: self.paused.len(),
            life: self.life,
            generation: self.generation,
        }
    }

    /// Does all that can be done now. Each thing is under way once at most, so this may be
    /// called as often as one likes.
    fn drive(&mut self, now: Moment, todo: &mut Vec<Action<P>>) {
        self.drive_trust(now, todo);
        self.drive_stop(now, todo);
        if self.stopping == Stopping::Done {
            return;
        }
        self.drive_lease(now, todo);
        self.drive_packing(todo);
        self.drive_producer(now, todo);
        self.drive_writes(now, todo);
        self.drive_publish(now, todo);
        self.drive_reads(now, todo);
        self.drive_probes(now, todo);
    }

    fn stops(&self) -> bool {
        self.stopping != Stopping::No
    }

    fn trusted(&self, now: Moment) -> bool {
        self.trust_until.is_some_and(|until| now < until)
    }

    fn held(&self, slot: u8) -> Option<Held> {
        self.slots.get(usize::from(slot)).copied().flatten()
    }

    fn group_of(&self, slot: u8) -> usize {
        if self.set.fence {
            usize::from(slot / self.set.unit)
        } else {
            0
        }
    }

    /// Slots in one of these phases.
    fn slots_in(&self, phases: &[Phase]) -> Vec<u8> {
        (0..SLOTS)
            .filter(|slot| {
                self.held(*slot)
                    .is_some_and(|held| phases.contains(&held.phase))
            })
            .collect()
    }

    fn turn(&mut self, from: &[Phase], to: Phase) {
        for held in self.slots.iter_mut().flatten() {
            if from.contains(&held.phase) {
                held.phase = to;
            }
        }
    }
}
