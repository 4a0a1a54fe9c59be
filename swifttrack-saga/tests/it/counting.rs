//! A store around another that counts what it is asked, asks for something itself, and loses
//! heartbeats.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use swifttrack_saga::store::{
    Change, Found, Listed, Loaded, Outcome, Page, Request, Row, Shape, ShardLease, Sighting,
    SignalOutcome, Store, StoreError, StoredSignal, Survey, Timestamp, WorkerId,
};
use uuid::Uuid;

#[derive(Clone)]
pub(crate) struct Counting {
    inner: Arc<dyn Store>,
    calls: Arc<Mutex<BTreeMap<&'static str, u64>>>,
    before_commit: Arc<Mutex<Option<Request>>>,
    heartbeats_lost: Arc<AtomicBool>,
}

impl Counting {
    pub(crate) fn new(inner: impl Store) -> Self {
        Self {
            inner: Arc::new(inner),
            calls: Arc::default(),
            before_commit: Arc::default(),
            heartbeats_lost: Arc::default(),
        }
    }

    pub(crate) fn calls(&self) -> u64 {
        self.calls.lock().unwrap().values().sum()
    }

    pub(crate) fn by_name(&self) -> BTreeMap<&'static str, u64> {
        self.calls.lock().unwrap().clone()
    }

    /// Makes the request just before the next commit.
    pub(crate) fn request_before_commit(&self, request: Request) {
        *self.before_commit.lock().unwrap() = Some(request);
    }

    /// Heartbeats do not arrive, and everything else does.
    pub(crate) fn lose_heartbeats(&self, lose: bool) {
        self.heartbeats_lost.store(lose, Ordering::Relaxed);
    }

    fn count(&self, name: &'static str) {
        *self.calls.lock().unwrap().entry(name).or_default() += 1;
    }
}

#[async_trait::async_trait]
impl Store for Counting {
    async fn describe(&self, shapes: &[Shape], keep: bool) -> Result<Vec<String>, StoreError> {
        self.count("describe");
        self.inner.describe(shapes, keep).await
    }

    async fn register(
        &self,
        worker: WorkerId,
        definitions: &[(String, u32)],
        lease: Duration,
    ) -> Result<Timestamp, StoreError> {
        self.count("register");
        self.inner.register(worker, definitions, lease).await
    }

    async fn heartbeat(&self, worker: WorkerId, lease: Duration) -> Result<Timestamp, StoreError> {
        self.count("heartbeat");
        if self.heartbeats_lost.load(Ordering::Relaxed) {
            return Err(StoreError::unavailable("the heartbeat was lost"));
        }
        self.inner.heartbeat(worker, lease).await
    }

    async fn survey(&self, groups: &[String]) -> Result<Survey, StoreError> {
        self.count("survey");
        self.inner.survey(groups).await
    }

    async fn claim(
        &self,
        worker: WorkerId,
        group: &str,
        max: u32,
    ) -> Result<Vec<ShardLease>, StoreError> {
        self.count("claim");
        self.inner.claim(worker, group, max).await
    }

    async fn reclaim(
        &self,
        worker: WorkerId,
        shards: &[ShardLease],
    ) -> Result<Vec<ShardLease>, StoreError> {
        self.count("reclaim");
        self.inner.reclaim(worker, shards).await
    }

    async fn release(&self, worker: WorkerId, shards: &[ShardLease]) -> Result<(), StoreError> {
        self.count("release");
        self.inner.release(worker, shards).await
    }

    async fn deregister(&self, worker: WorkerId) -> Result<(), StoreError> {
        self.count("deregister");
        self.inner.deregister(worker).await
    }

    async fn load_active(
        &self,
        group: &str,
        shard: u16,
        after: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<Loaded>, StoreError> {
        self.count("load_active");
        self.inner.load_active(group, shard, after, limit).await
    }

    async fn load_due(&self, shards: &[ShardLease], limit: u32) -> Result<Vec<Loaded>, StoreError> {
        self.count("load_due");
        self.inner.load_due(shards, limit).await
    }

    async fn load(&self, sagas: &[Uuid]) -> Result<Vec<Loaded>, StoreError> {
        self.count("load");
        self.inner.load(sagas).await
    }

    async fn commit(
        &self,
        worker: WorkerId,
        changes: &[Change],
    ) -> Result<Vec<Outcome>, StoreError> {
        self.count("commit");
        let request = self.before_commit.lock().unwrap().take();
        if let Some(request) = request {
            self.request(request).await?;
        }
        self.inner.commit(worker, changes).await
    }

    async fn request(&self, request: Request) -> Result<Sighting, StoreError> {
        self.count("request");
        self.inner.request(request).await
    }

    async fn signal(&self, signal: StoredSignal) -> Result<SignalOutcome, StoreError> {
        self.count("signal");
        self.inner.signal(signal).await
    }

    async fn find(&self, definition: &str, id: &str) -> Result<Option<Found>, StoreError> {
        self.count("find");
        self.inner.find(definition, id).await
    }

    async fn list(&self, page: Page) -> Result<Vec<Listed>, StoreError> {
        self.count("list");
        self.inner.list(page).await
    }

    async fn history(&self, saga: Uuid, after: u32, limit: u32) -> Result<Vec<Row>, StoreError> {
        self.count("history");
        self.inner.history(saga, after, limit).await
    }

    async fn erase(&self, saga: Uuid) -> Result<bool, StoreError> {
        self.count("erase");
        self.inner.erase(saga).await
    }

    async fn prune(&self, age: Duration, limit: u32) -> Result<u64, StoreError> {
        self.count("prune");
        self.inner.prune(age, limit).await
    }
}
