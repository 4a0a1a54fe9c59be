//! A store that counts what is asked of it, and tells when the end of a saga is durable.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use swifttrack_saga::store::{
    Change, Found, Head, Listed, Loaded, Outcome, Page, Request, Row, Shape, ShardLease, Sighting,
    SignalOutcome, Store, StoreError, StoredSignal, Survey, Timestamp, WorkerId,
};
use tokio::sync::oneshot;
use uuid::Uuid;

#[derive(Default)]
pub(crate) struct Meter {
    counting: AtomicBool,
    stopped: AtomicBool,
    counts: Counters,
    // Std mutexes, since nothing is awaited while they are held.
    ends: Mutex<Ends>,
    latencies: Mutex<Vec<Duration>>,
}

#[derive(Default)]
struct Counters {
    sagas: AtomicU64,
    flushes: AtomicU64,
    rows: AtomicU64,
    flush_us: AtomicU64,
    reads: AtomicU64,
}

/// What was counted at a moment.
#[derive(Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) sagas: u64,
    pub(crate) flushes: u64,
    pub(crate) rows: u64,
    pub(crate) flush_us: u64,
    pub(crate) reads: u64,
}

/// Who waits for an end, and the ends that came before somebody waited.
#[derive(Default)]
struct Ends {
    waiting: HashMap<Uuid, oneshot::Sender<()>>,
    early: HashSet<Uuid>,
}

impl Meter {
    pub(crate) fn begin(&self) -> Counts {
        self.counting.store(true, Relaxed);
        self.counts()
    }

    pub(crate) fn end(&self) -> Counts {
        self.counting.store(false, Relaxed);
        self.counts()
    }

    pub(crate) fn stop(&self) {
        self.stopped.store(true, Relaxed);
    }

    pub(crate) fn stopped(&self) -> bool {
        self.stopped.load(Relaxed)
    }

    pub(crate) fn record(&self, latency: Duration) {
        if self.counting.load(Relaxed) {
            lock(&self.latencies).push(latency);
        }
    }

    /// Ends so far.
    pub(crate) fn sagas(&self) -> u64 {
        self.counts.sagas.load(Relaxed)
    }

    /// In order.
    pub(crate) fn latencies(&self) -> Vec<Duration> {
        let mut all = std::mem::take(&mut *lock(&self.latencies));
        all.sort_unstable();
        all
    }

    /// Waits until the end of `saga` is durable.
    pub(crate) async fn ended(&self, saga: Uuid) {
        let waiting = {
            let mut ends = lock(&self.ends);
            if ends.early.remove(&saga) {
                return;
            }
            let (told, waiting) = oneshot::channel();
            ends.waiting.insert(saga, told);
            waiting
        };
        // Its sender is kept until it is used.
        let _ = waiting.await;
    }

    fn counts(&self) -> Counts {
        let counts = &self.counts;
        Counts {
            sagas: counts.sagas.load(Relaxed),
            flushes: counts.flushes.load(Relaxed),
            rows: counts.rows.load(Relaxed),
            flush_us: counts.flush_us.load(Relaxed),
            reads: counts.reads.load(Relaxed),
        }
    }

    fn flushed(&self, changes: &[Change], outcomes: &[Outcome], took: Duration) {
        let add = |counter: &AtomicU64, n: usize| counter.fetch_add(n as u64, Relaxed);
        add(&self.counts.flushes, 1);
        add(
            &self.counts.rows,
            changes.iter().map(|c| c.rows.len()).sum(),
        );
        add(
            &self.counts.flush_us,
            usize::try_from(took.as_micros()).unwrap_or(0),
        );
        let mut ends = lock(&self.ends);
        for (change, outcome) in changes.iter().zip(outcomes) {
            let ended = matches!(change.head, Head::Ended { .. });
            if !ended || !matches!(outcome, Outcome::Committed) {
                continue;
            }
            add(&self.counts.sagas, 1);
            match ends.waiting.remove(&change.saga) {
                Some(told) => drop(told.send(())),
                None => drop(ends.early.insert(change.saga)),
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) struct Metered<S> {
    inner: S,
    meter: Arc<Meter>,
}

impl<S> Metered<S> {
    pub(crate) fn new(inner: S, meter: &Arc<Meter>) -> Self {
        Self {
            inner,
            meter: Arc::clone(meter),
        }
    }

    fn read(&self) -> &S {
        self.meter.counts.reads.fetch_add(1, Relaxed);
        &self.inner
    }
}

#[async_trait]
impl<S: Store> Store for Metered<S> {
    async fn describe(&self, shapes: &[Shape], keep: bool) -> Result<Vec<String>, StoreError> {
        self.inner.describe(shapes, keep).await
    }

    async fn erase(&self, saga: Uuid) -> Result<bool, StoreError> {
        self.inner.erase(saga).await
    }

    fn has_hook(&self) -> bool {
        self.inner.has_hook()
    }

    async fn commit(
        &self,
        worker: WorkerId,
        changes: &[Change],
    ) -> Result<Vec<Outcome>, StoreError> {
        let start = Instant::now();
        let outcomes = self.inner.commit(worker, changes).await?;
        self.meter.flushed(changes, &outcomes, start.elapsed());
        Ok(outcomes)
    }

    async fn load_active(
        &self,
        group: &str,
        shard: u16,
        after: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<Loaded>, StoreError> {
        self.read().load_active(group, shard, after, limit).await
    }

    async fn load_due(&self, shards: &[ShardLease], limit: u32) -> Result<Vec<Loaded>, StoreError> {
        self.read().load_due(shards, limit).await
    }

    async fn load(&self, sagas: &[Uuid]) -> Result<Vec<Loaded>, StoreError> {
        self.read().load(sagas).await
    }

    async fn find(&self, definition: &str, id: &str) -> Result<Option<Found>, StoreError> {
        self.read().find(definition, id).await
    }

    async fn list(&self, page: Page) -> Result<Vec<Listed>, StoreError> {
        self.read().list(page).await
    }

    async fn history(&self, saga: Uuid, after: u32, limit: u32) -> Result<Vec<Row>, StoreError> {
        self.read().history(saga, after, limit).await
    }

    async fn register(
        &self,
        worker: WorkerId,
        definitions: &[(String, u32)],
        lease: Duration,
    ) -> Result<Timestamp, StoreError> {
        self.inner.register(worker, definitions, lease).await
    }

    async fn heartbeat(&self, worker: WorkerId, lease: Duration) -> Result<Timestamp, StoreError> {
        self.inner.heartbeat(worker, lease).await
    }

    async fn survey(&self, groups: &[String]) -> Result<Survey, StoreError> {
        self.inner.survey(groups).await
    }

    async fn claim(
        &self,
        worker: WorkerId,
        group: &str,
        max: u32,
    ) -> Result<Vec<ShardLease>, StoreError> {
        self.inner.claim(worker, group, max).await
    }

    async fn reclaim(
        &self,
        worker: WorkerId,
        shards: &[ShardLease],
    ) -> Result<Vec<ShardLease>, StoreError> {
        self.inner.reclaim(worker, shards).await
    }

    async fn release(&self, worker: WorkerId, shards: &[ShardLease]) -> Result<(), StoreError> {
        self.inner.release(worker, shards).await
    }

    async fn deregister(&self, worker: WorkerId) -> Result<(), StoreError> {
        self.inner.deregister(worker).await
    }

    async fn request(&self, request: Request) -> Result<Sighting, StoreError> {
        self.inner.request(request).await
    }

    async fn signal(&self, signal: StoredSignal) -> Result<SignalOutcome, StoreError> {
        self.inner.signal(signal).await
    }

    async fn prune(&self, age: Duration, limit: u32) -> Result<u64, StoreError> {
        self.inner.prune(age, limit).await
    }
}
