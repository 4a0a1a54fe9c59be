//! A store in memory, for tests: the same laws, nothing survives the process, faults on demand.

mod rows;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use self::rows::{Inner, Worker};
use crate::guard::Guard;
use crate::hook::{HookError, Transition};
use crate::store::{
    Alive, Change, Command, Found, Listed, Loaded, Outcome, Page, Request, Row, Shape, ShardLease,
    Sighting, SignalOutcome, Store, StoreError, StoredSignal, Survey, Timestamp, WorkerId,
};

/// Shards of a group.
const SHARDS: u16 = 64;
/// The moment at which the clock of a new store stands.
const EPOCH_US: i64 = 1_700_000_000_000_000;

/// A definition and the caller's id of a saga.
type Name = (Arc<str>, Arc<str>);
type Hook = Arc<dyn Fn(&[&Transition]) -> Result<(), HookError> + Send + Sync>;

/// A [`Store`] in memory. Clones are the same store, as several processes share a database.
///
/// Its clock is tokio's, so a test may pause and advance it.
#[derive(Clone)]
pub struct MemoryStore {
    inner: Arc<Mutex<Inner>>,
    hook: Option<Hook>,
}

/// What befalls the next commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It happens, and the answer is lost.
    LostAnswer,
    /// It does not happen, and the answer is lost.
    LostCommit,
    /// It does not happen: the store cannot be reached.
    Unavailable,
    /// It does not happen: the store asks to try again.
    Retriable,
    /// It takes this long, and happens.
    Delay(Duration),
}

impl MemoryStore {
    /// An empty store. Its clock starts with the first call that needs it.
    #[must_use]
    pub fn new() -> Self {
        Self {
            inner: Arc::default(),
            hook: None,
        }
    }

    /// The same store, with a hook that sees every batch before it is committed.
    #[must_use]
    pub fn hook(
        mut self,
        hook: impl Fn(&[&Transition]) -> Result<(), HookError> + Send + Sync + 'static,
    ) -> Self {
        self.hook = Some(Arc::new(hook));
        self
    }

    /// Lets this befall the next commit that nothing else befalls.
    pub fn inject(&self, fault: Fault) {
        self.lock().faults.push_back(fault);
    }

    /// How many commits there were.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.lock().commits
    }

    /// The store's time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.lock().now()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn commit_now(&self, worker: WorkerId, changes: &[Change]) -> Result<Vec<Outcome>, StoreError> {
        let mut inner = self.lock();
        let mut refused: Vec<(Uuid, Outcome)> = Vec::new();
        loop {
            let outcomes: Vec<Outcome> = {
                let mut taken = HashMap::new();
                changes
                    .iter()
                    .map(|change| {
                        let known = refused.iter().find(|(saga, _)| *saga == change.saga);
                        match known {
                            Some((_, outcome)) => outcome.clone(),
                            None => inner.judge(worker, change, &mut taken),
                        }
                    })
                    .collect()
            };
            let accepted = || {
                let pairs = changes.iter().zip(&outcomes);
                pairs
                    .filter(|(_, outcome)| matches!(outcome, Outcome::Committed))
                    .map(|(change, _)| change)
            };
            if let Some(hook) = &self.hook {
                let batch = accepted().flat_map(|change| &change.transitions);
                let mut batch: Vec<&Transition> = batch.collect();
                if !Guard::Order.stands() {
                    batch.reverse();
                }
                match hook(&batch) {
                    Ok(()) => (),
                    Err(HookError::Failed(source)) => return Err(StoreError::hook(source)),
                    Err(HookError::Refuse(which)) => {
                        if which.is_empty() {
                            return Err(StoreError::hook("the hook refused nobody"));
                        }
                        refused.extend(
                            which
                                .into_iter()
                                .map(|(saga, why)| (saga, Outcome::Refused(why))),
                        );
                        continue;
                    }
                }
            }
            for change in accepted() {
                #[cfg(test)]
                inner.note_stale(worker, change);
                inner.write(change);
            }
            inner.commits += 1;
            return Ok(outcomes);
        }
    }
}

#[cfg(test)]
impl MemoryStore {
    /// Whatever stale owners have written.
    pub(crate) fn stale(&self) -> Vec<String> {
        self.lock().stale.clone()
    }

    /// Sets the clock forward or back, as a database does that fails over to another machine.
    pub(crate) fn set_clock(&self, by: i64) {
        self.lock().set_by += by;
    }

    /// Commits now, whatever faults are due.
    pub(crate) fn commit_plainly(
        &self,
        worker: WorkerId,
        changes: &[Change],
    ) -> Result<Vec<Outcome>, StoreError> {
        self.commit_now(worker, changes)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn describe(&self, shapes: &[Shape], keep: bool) -> Result<Vec<String>, StoreError> {
        let mut inner = self.lock();
        let kept = shapes.iter().map(|shape| {
            let key = (shape.definition.clone(), shape.version);
            let kept = inner.shapes.get(&key).unwrap_or(&shape.text).clone();
            if keep {
                inner.shapes.insert(key, kept.clone());
            }
            kept
        });
        Ok(kept.collect())
    }

    fn has_hook(&self) -> bool {
        self.hook.is_some()
    }

    async fn register(
        &self,
        worker: WorkerId,
        definitions: &[(String, u32)],
        lease: Duration,
    ) -> Result<Timestamp, StoreError> {
        let mut inner = self.lock();
        let worker_row = Worker {
            until: inner.now().saturating_add(lease),
            definitions: definitions.to_vec(),
        };
        inner.workers.insert(worker, worker_row);
        Ok(inner.now())
    }

    async fn heartbeat(&self, worker: WorkerId, lease: Duration) -> Result<Timestamp, StoreError> {
        let mut inner = self.lock();
        if !inner.lives(worker) {
            return Err(StoreError::fenced("the worker's row has expired"));
        }
        let until = inner.now().saturating_add(lease);
        if let Some(row) = inner.workers.get_mut(&worker) {
            row.until = until;
        }
        Ok(inner.now())
    }

    async fn survey(&self, groups: &[String]) -> Result<Survey, StoreError> {
        let mut inner = self.lock();
        let mut survey = Survey {
            now: inner.now(),
            ..Survey::default()
        };
        for (worker, row) in &inner.workers {
            if inner.lives(*worker) {
                survey.workers.push(Alive {
                    worker: *worker,
                    lease_until: row.until,
                    definitions: row.definitions.clone(),
                });
            }
        }
        for group in groups {
            let mut held: HashMap<WorkerId, u32> = HashMap::new();
            for ((_, _), shard) in inner.shards.iter().filter(|((of, _), _)| **of == **group) {
                if let Some(owner) = shard.owner.filter(|owner| inner.lives(*owner)) {
                    *held.entry(owner).or_default() += 1;
                }
            }
            let taken: u32 = held.values().sum();
            survey.free.push((group.clone(), u32::from(SHARDS) - taken));
            survey
                .held
                .extend(held.into_iter().map(|(owner, n)| (group.clone(), owner, n)));
        }
        Ok(survey)
    }

    async fn claim(
        &self,
        worker: WorkerId,
        group: &str,
        max: u32,
    ) -> Result<Vec<ShardLease>, StoreError> {
        let mut inner = self.lock();
        if !inner.lives(worker) {
            return Err(StoreError::fenced("the worker's row has expired"));
        }
        inner.forget_expired();
        let group: Arc<str> = group.into();
        let mut leases = Vec::new();
        for shard in 0..SHARDS {
            if leases.len() >= max as usize {
                break;
            }
            let row = inner.shards.entry((group.clone(), shard)).or_default();
            let owner = row.owner;
            if owner.is_some_and(|owner| inner.lives(owner)) {
                continue;
            }
            let row = inner.shards.entry((group.clone(), shard)).or_default();
            row.owner = Some(worker);
            row.epoch += 1;
            leases.push(ShardLease {
                group: group.clone(),
                shard,
                epoch: row.epoch,
                unclean: owner.is_some(),
            });
        }
        Ok(leases)
    }

    async fn reclaim(
        &self,
        worker: WorkerId,
        shards: &[ShardLease],
    ) -> Result<Vec<ShardLease>, StoreError> {
        let mut inner = self.lock();
        let mut leases = Vec::new();
        for lease in shards {
            let key = (lease.group.clone(), lease.shard);
            let Some(row) = inner.shards.get_mut(&key) else {
                continue;
            };
            if row.owner == Some(worker) && row.epoch == lease.epoch {
                row.epoch += 1;
                leases.push(ShardLease {
                    epoch: row.epoch,
                    unclean: false,
                    ..lease.clone()
                });
            }
        }
        Ok(leases)
    }

    async fn release(&self, worker: WorkerId, shards: &[ShardLease]) -> Result<(), StoreError> {
        let mut inner = self.lock();
        for lease in shards {
            let key = (lease.group.clone(), lease.shard);
            if let Some(row) = inner.shards.get_mut(&key)
                && row.owner == Some(worker)
                && row.epoch == lease.epoch
            {
                row.owner = None;
            }
        }
        Ok(())
    }

    async fn deregister(&self, worker: WorkerId) -> Result<(), StoreError> {
        let mut inner = self.lock();
        inner.workers.remove(&worker);
        for shard in inner.shards.values_mut() {
            if shard.owner == Some(worker) {
                shard.owner = None;
            }
        }
        Ok(())
    }

    async fn load_active(
        &self,
        group: &str,
        shard: u16,
        after: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<Loaded>, StoreError> {
        let inner = self.lock();
        let active = inner.heads.iter().filter(|(saga, head)| {
            *head.group == *group
                && head.shard == shard
                && head.wake_at.is_none()
                && after.is_none_or(|after| **saga > after)
        });
        Ok(active
            .take(limit as usize)
            .map(|(saga, head)| inner.loaded(*saga, head))
            .collect())
    }

    async fn load_due(&self, shards: &[ShardLease], limit: u32) -> Result<Vec<Loaded>, StoreError> {
        let mut inner = self.lock();
        let now = inner.now();
        let ours: HashSet<(&str, u16)> = shards
            .iter()
            .map(|lease| (&*lease.group, lease.shard))
            .collect();
        let mut due: Vec<(Timestamp, Uuid)> = inner
            .heads
            .iter()
            .filter(|(_, head)| ours.contains(&(&*head.group, head.shard)))
            .filter_map(|(saga, head)| Some((head.wake_at.filter(|at| *at <= now)?, *saga)))
            .collect();
        due.sort_unstable();
        Ok(due
            .into_iter()
            .take(limit as usize)
            .map(|(_, saga)| inner.loaded(saga, &inner.heads[&saga]))
            .collect())
    }

    async fn load(&self, sagas: &[Uuid]) -> Result<Vec<Loaded>, StoreError> {
        let inner = self.lock();
        let heads = sagas
            .iter()
            .filter_map(|saga| Some((*saga, inner.heads.get(saga)?)));
        Ok(heads.map(|(saga, head)| inner.loaded(saga, head)).collect())
    }

    async fn commit(
        &self,
        worker: WorkerId,
        changes: &[Change],
    ) -> Result<Vec<Outcome>, StoreError> {
        let fault = self.lock().faults.pop_front();
        match fault {
            None => self.commit_now(worker, changes),
            Some(Fault::Delay(pause)) => {
                tokio::time::sleep(pause).await;
                self.commit_now(worker, changes)
            }
            Some(Fault::LostAnswer) => {
                self.commit_now(worker, changes)?;
                Err(StoreError::ambiguous("the answer was lost"))
            }
            Some(Fault::LostCommit) => Err(StoreError::ambiguous("the commit was lost")),
            Some(Fault::Unavailable) => Err(StoreError::unavailable("out of reach")),
            Some(Fault::Retriable) => Err(StoreError::retriable("try again")),
        }
    }

    async fn request(&self, request: Request) -> Result<Sighting, StoreError> {
        let mut inner = self.lock();
        let now = inner.now();
        let Some(saga) = inner
            .key(&request.definition, &request.id)
            .map(|key| key.saga)
        else {
            return Ok(Sighting::NotFound);
        };
        let Some(head) = inner.heads.get_mut(&saga) else {
            return Ok(Sighting::Ended);
        };
        if request.before_pivot && head.past_pivot && Guard::PastPivot.stands() {
            return Ok(Sighting::PastPivot);
        }
        if request.if_seq.is_some_and(|seq| seq != head.seq) {
            return Ok(Sighting::Moved { seq: head.seq });
        }
        head.ctl += 1;
        head.wake_at = Some(now);
        head.commands.push(Command {
            n: head.ctl,
            ..request.command
        });
        Ok(Sighting::Accepted { saga, n: head.ctl })
    }

    async fn signal(&self, signal: StoredSignal) -> Result<SignalOutcome, StoreError> {
        let mut inner = self.lock();
        let now = inner.now();
        let Some(saga) = inner
            .key(&signal.definition, &signal.id)
            .map(|key| key.saga)
        else {
            return Ok(SignalOutcome::NotFound);
        };
        if !inner.heads.contains_key(&saga) {
            return Ok(SignalOutcome::Ended);
        }
        if !inner
            .dedupe
            .insert((saga, signal.name.clone(), signal.dedupe.clone()))
        {
            return Ok(SignalOutcome::Duplicate);
        }
        inner.last_signal += 1;
        let n = inner.last_signal;
        inner
            .signals
            .insert(n, (saga, StoredSignal { n, ..signal }));
        if let Some(head) = inner.heads.get_mut(&saga) {
            head.ctl += 1;
            head.wake_at = Some(now);
        }
        Ok(SignalOutcome::Accepted { saga })
    }

    async fn find(&self, definition: &str, id: &str) -> Result<Option<Found>, StoreError> {
        let inner = self.lock();
        Ok(inner.key(definition, id).map(|key| Found {
            saga: key.saga,
            input_hash: key.input_hash,
            running: inner
                .heads
                .get(&key.saga)
                .map(|head| Inner::listed(key.saga, head)),
        }))
    }

    async fn list(&self, page: Page) -> Result<Vec<Listed>, StoreError> {
        let inner = self.lock();
        let heads = inner.heads.iter().filter(|(saga, head)| {
            page.definition
                .as_deref()
                .is_none_or(|definition| *head.definition == *definition)
                && page.state.is_none_or(|state| head.state == state)
                && page.after.is_none_or(|after| **saga > after)
        });
        Ok(heads
            .take(page.limit as usize)
            .map(|(saga, head)| Inner::listed(*saga, head))
            .collect())
    }

    async fn history(&self, saga: Uuid, after: u32, limit: u32) -> Result<Vec<Row>, StoreError> {
        let inner = self.lock();
        let rows = inner.journals.get(&saga).into_iter().flatten();
        Ok(rows
            .filter(|row| row.seq > after)
            .take(limit as usize)
            .cloned()
            .collect())
    }

    async fn erase(&self, saga: Uuid) -> Result<bool, StoreError> {
        let mut inner = self.lock();
        if inner.heads.contains_key(&saga) {
            return Ok(false);
        }
        for row in inner.journals.get_mut(&saga).into_iter().flatten() {
            row.payload = None;
        }
        Ok(true)
    }

    async fn prune(&self, age: Duration, limit: u32) -> Result<u64, StoreError> {
        let mut inner = self.lock();
        let now = inner.now();
        let old: HashSet<Uuid> = inner
            .ended
            .iter()
            .filter(|(_, (at, _))| at.saturating_add(age) <= now)
            .take(limit as usize)
            .map(|(saga, _)| *saga)
            .collect();
        for saga in &old {
            inner.journals.remove(saga);
            inner.ended.remove(saga);
        }
        inner.keys.retain(|_, key| !old.contains(&key.saga));
        inner.dedupe.retain(|(saga, ..)| !old.contains(saga));
        Ok(old.len() as u64)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("hook", &self.hook.is_some())
            .finish_non_exhaustive()
    }
}
