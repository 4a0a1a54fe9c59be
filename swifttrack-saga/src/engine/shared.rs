//! What the parts of an engine share.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};
use uuid::Uuid;

use crate::core::Limits;
use crate::engine::attempt::Verdict;
use crate::engine::blocked::Blocked;
use crate::engine::clock::Clock;
use crate::engine::error::StartError;
use crate::engine::gate::Ticket;
use crate::engine::registry::{Registered, Registry, With};
use crate::engine::start::Started;
use crate::erased::Value;
use crate::store::{Loaded, ShardLease, Store, Timestamp, WorkerId};

/// Lanes write at the same time; a third is slower than two.
pub(crate) const LANES: usize = 2;
/// Starts that wait for their lane. Who comes after them waits in `start`.
pub(crate) const STARTS_MAX: usize = 4096;

pub(crate) struct Shared {
    pub(crate) store: Arc<dyn Store>,
    /// Its hook wants to hear of transitions.
    pub(crate) tells: bool,
    pub(crate) registry: Registry,
    pub(crate) with: With,
    pub(crate) settings: Settings,
    pub(crate) clock: Clock,
    pub(crate) lanes: Vec<LaneSender>,
    pub(crate) blocked: Blocked,
    /// Sagas in memory.
    pub(crate) active: AtomicUsize,
    pub(crate) closing: AtomicBool,
    /// Somebody knows that a sweep would find something.
    pub(crate) hint: Notify,
    pub(crate) watchers: Watchers,
    // Std mutexes, since nothing is awaited while they are held.
    alone: Mutex<Option<Uuid>>,
    leases: Mutex<BTreeMap<(Arc<str>, u16), ShardLease>>,
    worker: Mutex<WorkerId>,
}

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) lease: Duration,
    pub(crate) active_max: usize,
    pub(crate) attention_failures: u32,
    pub(crate) attention_blocked: Duration,
    pub(crate) sweep_every: Duration,
    pub(crate) crashes_max: i16,
    /// Ended sagas are kept for so long; none is for ever.
    pub(crate) retention: Option<Duration>,
}

impl Settings {
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            attention_failures: self.attention_failures,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct LaneSender {
    /// Unbounded, since each event belongs to a saga in memory, and those are bounded.
    pub(crate) events: mpsc::UnboundedSender<Event>,
    pub(crate) starts: mpsc::Sender<StartRequest>,
}

/// What a lane hears of.
#[derive(Debug)]
pub(crate) enum Event {
    /// An attempt has ended.
    Report(Report),
    /// A place at a gate came free for this one.
    Admit(Ticket),
    /// What this one waited for has opened.
    Go(Ticket),
    /// What these steps call has opened: pauses end.
    Wake(Arc<str>),
    /// The store says that these need somebody.
    Take(Vec<Loaded>),
    /// Somebody asked something of this saga.
    Look(Uuid),
    /// A shard is ours.
    Lease(ShardLease),
    /// A shard is to be given back; the answer says that nothing of it runs any more.
    Drain(ShardLease, oneshot::Sender<()>),
    /// No shard is ours any more.
    Lost,
    /// The engine ends now.
    Stop,
}

#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) saga: Uuid,
    pub(crate) node: u16,
    pub(crate) attempt: u32,
    pub(crate) verdict: Verdict,
    /// Until when it could still send something.
    pub(crate) until: Timestamp,
    /// How often anybody was woken when it began.
    pub(crate) began: u64,
}

/// A start on its way into a batch.
pub(crate) struct StartRequest {
    pub(crate) registered: Arc<Registered>,
    pub(crate) id: Arc<str>,
    pub(crate) value: Value,
    pub(crate) bytes: Arc<[u8]>,
    pub(crate) hash: [u8; 32],
    pub(crate) attachment: Option<Arc<dyn Any + Send + Sync>>,
    /// The trace that the starter is in.
    pub(crate) trace: Option<Arc<str>>,
    pub(crate) reply: oneshot::Sender<Result<Started, StartError>>,
}

impl std::fmt::Debug for StartRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StartRequest")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        registry: Registry,
        with: With,
        settings: Settings,
        lanes: Vec<LaneSender>,
        worker: WorkerId,
    ) -> Self {
        Self {
            tells: store.has_hook(),
            store,
            registry,
            with,
            settings,
            clock: Clock::new(),
            lanes,
            blocked: Blocked::default(),
            active: AtomicUsize::new(0),
            closing: AtomicBool::new(false),
            hint: Notify::new(),
            watchers: Watchers::default(),
            alone: Mutex::default(),
            leases: Mutex::default(),
            worker: Mutex::new(worker),
        }
    }

    /// A uuid in the order of the database's time.
    pub(crate) fn new_saga(&self, rng: &mut impl rand::Rng) -> Uuid {
        let millis = u64::try_from(self.clock.now().0 / 1000).unwrap_or_default();
        uuid::Builder::from_unix_timestamp_millis(millis, &rng.random()).into_uuid()
    }

    pub(crate) fn worker(&self) -> WorkerId {
        *self.worker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn become_worker(&self, worker: WorkerId) {
        *self.worker.lock().unwrap_or_else(PoisonError::into_inner) = worker;
    }

    pub(crate) fn leases(&self) -> MutexGuard<'_, BTreeMap<(Arc<str>, u16), ShardLease>> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the place of the one suspect that may run. False if another has it.
    pub(crate) fn run_alone(&self, saga: Uuid) -> bool {
        let mut alone = self.alone.lock().unwrap_or_else(PoisonError::into_inner);
        *alone.get_or_insert(saga) == saga
    }

    /// Frees the place of the suspect, if this is the one.
    pub(crate) fn not_alone(&self, saga: Uuid) {
        let mut alone = self.alone.lock().unwrap_or_else(PoisonError::into_inner);
        alone.take_if(|suspect| *suspect == saga);
    }

    pub(crate) fn lane_of(shard: u16) -> usize {
        usize::from(shard) % LANES
    }

    pub(crate) fn send(&self, lane: usize, event: Event) {
        // A lane that has ended has nothing to hear.
        let _ = self.lanes[lane].events.send(event);
    }

    pub(crate) fn send_all(&self, event: impl Fn() -> Event) {
        for lane in 0..self.lanes.len() {
            self.send(lane, event());
        }
    }

    /// Whether waiting has to give way to running: three quarters of the room are taken.
    pub(crate) fn crowded(&self) -> bool {
        self.room() < self.settings.active_max / 4
    }

    pub(crate) fn room(&self) -> usize {
        let active = self.active.load(Ordering::Relaxed);
        self.settings.active_max.saturating_sub(active)
    }
}

/// Who looks on.
#[derive(Debug, Default)]
pub(crate) struct Watchers {
    any: AtomicUsize,
    // A std mutex, since nothing is awaited while it is held.
    sagas: Mutex<HashMap<Uuid, Vec<Arc<Notify>>>>,
}

impl Watchers {
    pub(crate) fn add(&self, saga: Uuid) -> Arc<Notify> {
        let notify = Arc::new(Notify::new());
        let mut sagas = self.sagas.lock().unwrap_or_else(PoisonError::into_inner);
        sagas.entry(saga).or_default().push(notify.clone());
        self.any.fetch_add(1, Ordering::Relaxed);
        notify
    }

    pub(crate) fn remove(&self, saga: Uuid, notify: &Arc<Notify>) {
        let mut sagas = self.sagas.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(who) = sagas.get_mut(&saga) {
            who.retain(|other| !Arc::ptr_eq(other, notify));
            if who.is_empty() {
                sagas.remove(&saga);
            }
            self.any.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn tell(&self, saga: Uuid) {
        if self.any.load(Ordering::Relaxed) == 0 {
            return;
        }
        let sagas = self.sagas.lock().unwrap_or_else(PoisonError::into_inner);
        for notify in sagas.get(&saga).into_iter().flatten() {
            notify.notify_one();
        }
    }
}
