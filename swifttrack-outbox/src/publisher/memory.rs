//! A broker in memory, for tests of code that appends: it records the order and injects faults.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use uuid::Uuid;

use super::sealed::Sealed;
use super::{Backend, Command, Commands, Link, Publisher, Report, Start};
use crate::error::Error;
use crate::relay::core::{Batch, Fate, Outcome};
use crate::relay::row::Row;

/// What a consumer would have read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record {
    /// The event's id.
    pub id: Uuid,
    /// The topic.
    pub topic: String,
    /// The key.
    pub key: String,
    /// The type.
    pub event_type: String,
    /// The value; none is a tombstone.
    pub payload: Option<Vec<u8>>,
    /// All headers in their order.
    pub headers: Vec<(String, String)>,
}

/// A publisher that keeps what it is given. Clones share it: give one to the relay and look at
/// the other.
///
/// It has no transactions. Faults: [`refuse`](Self::refuse), [`topic_away`](Self::topic_away),
/// [`hold`](Self::hold), [`fail_once`](Self::fail_once).
#[derive(Clone, Default)]
pub struct MemoryPublisher {
    // A std mutex: nothing is awaited while it is held.
    state: Arc<Mutex<State>>,
}

type Refuse = Box<dyn Fn(&Record) -> Option<String> + Send>;

#[derive(Default)]
struct State {
    records: Vec<Record>,
    refuse: Option<Refuse>,
    away: HashSet<String>,
    held: bool,
    fail: u32,
    /// Those whose queues go on when the hold ends.
    workers: Vec<Weak<Worker>>,
}

impl MemoryPublisher {
    /// An empty one, without faults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// All records, in the order in which they were taken.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        self.state().records.clone()
    }

    /// Refuses records for themselves, with a reason, as a broker refuses one that is too
    /// large.
    pub fn refuse(&self, refuse: impl Fn(&Record) -> Option<String> + Send + 'static) {
        self.state().refuse = Some(Box::new(refuse));
    }

    /// Refuses nothing any more.
    pub fn refuse_nothing(&self) {
        self.state().refuse = None;
    }

    /// Lets a topic be unknown.
    pub fn topic_away(&self, topic: impl Into<String>) {
        self.state().away.insert(topic.into());
    }

    /// Lets the topic be known again; the relay finds out by itself.
    pub fn topic_back(&self, topic: &str) {
        self.state().away.remove(topic);
    }

    /// Takes nothing until [`let_go`](Self::let_go), as a broker that is out of reach.
    pub fn hold(&self) {
        self.state().held = true;
    }

    /// Ends [`hold`](Self::hold).
    pub fn let_go(&self) {
        let workers = {
            let mut state = self.state();
            state.held = false;
            state.workers.clone()
        };
        for worker in workers.iter().filter_map(Weak::upgrade) {
            let mut open = worker.open.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(open) = open.as_mut() {
                worker.work(open);
            }
        }
    }

    /// Takes the next batch but loses its acknowledgement, and fails: what happens when a
    /// connection breaks at the wrong moment.
    pub fn fail_once(&self) {
        self.state().fail += 1;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for MemoryPublisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let records = self.state().records.len();
        f.debug_struct("MemoryPublisher")
            .field("records", &records)
            .finish_non_exhaustive()
    }
}

impl Sealed for MemoryPublisher {}

impl Publisher for MemoryPublisher {
    fn backend(self) -> Backend {
        Backend(Box::new(self))
    }
}

impl Start for MemoryPublisher {
    fn start(self: Box<Self>, link: Link) -> Result<Box<dyn Commands>, Error> {
        let broker = *self;
        let worker = Arc::new(Worker {
            broker: broker.clone(),
            link: Arc::new(link),
            open: Mutex::new(None),
        });
        broker.state().workers.push(Arc::downgrade(&worker));
        Ok(Box::new(Running { worker }))
    }

    fn has_transactions(&self) -> bool {
        false
    }
}

/// One relay's connection to the broker.
struct Worker {
    broker: MemoryPublisher,
    link: Arc<Link>,
    open: Mutex<Option<Open>>,
}

struct Open {
    generation: u64,
    failed: bool,
    queue: VecDeque<Arc<Batch>>,
}

struct Running {
    worker: Arc<Worker>,
}

impl Commands for Running {
    fn command(&self, command: Command) {
        self.worker.command(command);
    }
}

impl Worker {
    fn command(&self, command: Command) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        match command {
            Command::Open { generation, .. } => {
                *open = Some(Open {
                    generation,
                    failed: false,
                    queue: VecDeque::new(),
                });
            }
            Command::Publish { generation, batch } => {
                if let Some(open) = open.as_mut().filter(|open| open.generation == generation) {
                    open.queue.push_back(batch);
                    self.work(open);
                }
            }
            Command::Close { generation, .. } => {
                for batch in open.take().into_iter().flat_map(|open| open.queue) {
                    let outcome = Outcome::Mixed(vec![Fate::Unknown; batch.rows.len()]);
                    self.link.report(Report::Settled {
                        generation,
                        batch: batch.id,
                        outcome,
                    });
                }
                self.link.report(Report::Closed { generation });
            }
            Command::Probe { topic } => {
                let away = self.broker.state().away.contains(&topic);
                self.link.report(if away {
                    Report::TopicAway { topic }
                } else {
                    Report::TopicReady { topic }
                });
            }
            Command::Fence { generation, group } => {
                let published = Vec::new();
                self.link.report(Report::Fenced {
                    generation,
                    group,
                    published,
                });
            }
        }
    }

    fn work(&self, open: &mut Open) {
        let mut state = self.broker.state();
        while !open.failed && !state.held && self.link.trust.holds() {
            let Some(batch) = open.queue.pop_front() else {
                break;
            };
            let mut fates: Vec<Fate> = Vec::with_capacity(batch.rows.len());
            for row in &batch.rows {
                fates.push(if open.failed {
                    Fate::Unknown
                } else {
                    take(&mut state, &self.link, row)
                });
                open.failed |= matches!(fates.last(), Some(Fate::Refused { .. }));
            }
            if state.fail > 0 {
                state.fail -= 1;
                open.failed = true;
                fates.fill(Fate::Unknown);
            }
            let outcome = if fates.iter().all(|fate| *fate == Fate::Acked) {
                Outcome::Acked
            } else {
                Outcome::Mixed(fates)
            };
            let generation = open.generation;
            self.link.report(Report::Settled {
                generation,
                batch: batch.id,
                outcome,
            });
            if open.failed {
                self.link.report(Report::Failed { generation });
            }
        }
    }
}

fn take(state: &mut State, link: &Link, row: &Row) -> Fate {
    if state.away.contains(row.topic.as_ref()) {
        return Fate::TopicAway {
            reason: "unknown topic".to_owned(),
        };
    }
    let id = row.id.to_string();
    let mut headers = Vec::new();
    link.envelope.headers(row, &id, &mut |name, value| {
        headers.push((name.to_owned(), value.to_owned()));
    });
    let record = Record {
        id: row.id,
        topic: row.topic.to_string(),
        key: row.key.clone(),
        event_type: row.kind.to_string(),
        payload: row.payload.as_deref().map(<[u8]>::to_vec),
        headers,
    };
    if let Some(reason) = state.refuse.as_ref().and_then(|refuse| refuse(&record)) {
        return Fate::Refused {
            reason,
            certain: true,
        };
    }
    state.records.push(record);
    Fate::Acked
}
