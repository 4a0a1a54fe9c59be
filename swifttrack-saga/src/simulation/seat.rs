//! One process's way to the store: delayed, cut off, frozen.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use uuid::Uuid;

use super::partner::Ledger;
use crate::guard::Guard;
use crate::store::memory::MemoryStore;
use crate::store::{
    Change, Found, Listed, Loaded, Outcome, Page, Request, Row, Shape, ShardLease, Sighting,
    SignalOutcome, Store, StoreError, StoredSignal, Survey, Timestamp, WorkerId,
};

/// Where one process sits.
#[derive(Clone)]
pub(crate) struct Seat {
    pub(crate) name: String,
    ledger: Ledger,
    store: MemoryStore,
    frozen: Arc<watch::Sender<bool>>,
}

impl Seat {
    pub(crate) fn new(name: String, ledger: Ledger, store: MemoryStore) -> Self {
        Self {
            name,
            ledger,
            store,
            frozen: Arc::new(watch::Sender::new(false)),
        }
    }

    /// Stops or continues the process, as SIGSTOP and SIGCONT do.
    pub(crate) fn freeze(&self, frozen: bool) {
        self.frozen.send_replace(frozen);
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub(crate) async fn thaw(&self) {
        let mut frozen = self.frozen.subscribe();
        // The sender lives in self.
        let _ = frozen.wait_for(|frozen| !frozen).await;
    }

    /// A round trip: it takes its time, and may not happen.
    async fn travel(&self) -> Result<(), StoreError> {
        self.thaw().await;
        if self.ledger.chance(3) {
            tokio::time::sleep(Duration::from_millis(self.ledger.below(60))).await;
            self.thaw().await;
        }
        if self.ledger.chance(40) {
            return Err(StoreError::unavailable("cut off"));
        }
        Ok(())
    }
}

#[async_trait]
impl Store for Seat {
    async fn describe(&self, shapes: &[Shape], keep: bool) -> Result<Vec<String>, StoreError> {
        self.travel().await?;
        self.store.describe(shapes, keep).await
    }

    fn has_hook(&self) -> bool {
        self.store.has_hook()
    }

    async fn register(
        &self,
        worker: WorkerId,
        definitions: &[(String, u32)],
        lease: Duration,
    ) -> Result<Timestamp, StoreError> {
        self.travel().await?;
        self.store.register(worker, definitions, lease).await
    }

    async fn heartbeat(&self, worker: WorkerId, lease: Duration) -> Result<Timestamp, StoreError> {
        self.travel().await?;
        self.store.heartbeat(worker, lease).await
    }

    async fn survey(&self, groups: &[String]) -> Result<Survey, StoreError> {
        self.travel().await?;
        self.store.survey(groups).await
    }

    async fn claim(
        &self,
        worker: WorkerId,
        group: &str,
        max: u32,
    ) -> Result<Vec<ShardLease>, StoreError> {
        self.travel().await?;
        let leases = self.store.claim(worker, group, max).await?;
        if !leases.is_empty() {
            let many = leases.len();
            self.ledger
                .tell(format!("{} claims {many} of {group}", self.name));
        }
        Ok(leases)
    }

    async fn reclaim(
        &self,
        worker: WorkerId,
        shards: &[ShardLease],
    ) -> Result<Vec<ShardLease>, StoreError> {
        self.travel().await?;
        self.store.reclaim(worker, shards).await
    }

    async fn release(&self, worker: WorkerId, shards: &[ShardLease]) -> Result<(), StoreError> {
        self.travel().await?;
        self.store.release(worker, shards).await
    }

    async fn deregister(&self, worker: WorkerId) -> Result<(), StoreError> {
        self.store.deregister(worker).await
    }

    async fn load_active(
        &self,
        group: &str,
        shard: u16,
        after: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<Loaded>, StoreError> {
        self.travel().await?;
        self.store.load_active(group, shard, after, limit).await
    }

    async fn load_due(&self, shards: &[ShardLease], limit: u32) -> Result<Vec<Loaded>, StoreError> {
        self.travel().await?;
        self.store.load_due(shards, limit).await
    }

    async fn load(&self, sagas: &[Uuid]) -> Result<Vec<Loaded>, StoreError> {
        self.travel().await?;
        self.store.load(sagas).await
    }

    async fn commit(
        &self,
        worker: WorkerId,
        changes: &[Change],
    ) -> Result<Vec<Outcome>, StoreError> {
        self.travel().await?;
        let what = format!("{} commits {}", self.name, changes.len());
        // A world without this guard is bent to where it would be needed.
        let bent = !Guard::Reclaim.stands();
        let fault = match self.ledger.chance(if bent { 2 } else { 6 }) {
            true if bent => 2,
            true => self.ledger.below(6),
            false => 99,
        };
        match fault {
            0 => {
                self.ledger.tell(format!("{what}, and the answer is lost"));
                self.store.commit_plainly(worker, changes)?;
                Err(StoreError::ambiguous("the answer was lost"))
            }
            1 => {
                self.ledger.tell(format!("{what}, and it is lost"));
                Err(StoreError::ambiguous("the commit was lost"))
            }
            2 | 3 => {
                // The backend goes on by itself, some time later.
                // Mostly soon: that is when it meets what follows.
                let root = self.ledger.below(if bent { 12 } else { 55 });
                let late = Duration::from_millis(root * root);
                self.ledger
                    .tell(format!("{what}, and it happens {late:?} later"));
                let (store, changes) = (self.store.clone(), changes.to_vec());
                tokio::spawn(async move {
                    tokio::time::sleep(late).await;
                    // Nobody hears of it.
                    let _ = store.commit_plainly(worker, &changes);
                });
                Err(StoreError::ambiguous("the connection was lost"))
            }
            4 => Err(StoreError::retriable("a deadlock")),
            5 => {
                // A frozen client, or a slow disk: the commit is on its way all the while.
                let late = Duration::from_millis(self.ledger.below(4000));
                tokio::time::sleep(late).await;
                self.store.commit_plainly(worker, changes)
            }
            _ => self.store.commit_plainly(worker, changes),
        }
    }

    async fn request(&self, request: Request) -> Result<Sighting, StoreError> {
        self.travel().await?;
        self.store.request(request).await
    }

    async fn signal(&self, signal: StoredSignal) -> Result<SignalOutcome, StoreError> {
        self.travel().await?;
        self.store.signal(signal).await
    }

    async fn find(&self, definition: &str, id: &str) -> Result<Option<Found>, StoreError> {
        self.store.find(definition, id).await
    }

    async fn list(&self, page: Page) -> Result<Vec<Listed>, StoreError> {
        self.store.list(page).await
    }

    async fn history(&self, saga: Uuid, after: u32, limit: u32) -> Result<Vec<Row>, StoreError> {
        self.travel().await?;
        self.store.history(saga, after, limit).await
    }

    async fn erase(&self, saga: Uuid) -> Result<bool, StoreError> {
        self.store.erase(saga).await
    }

    async fn prune(&self, age: Duration, limit: u32) -> Result<u64, StoreError> {
        self.store.prune(age, limit).await
    }
}
