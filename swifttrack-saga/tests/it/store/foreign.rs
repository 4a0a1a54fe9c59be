//! A store as somebody else would write it: of public items only, and judged by the suite.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use swifttrack_saga::store::{
    Alive, Change, Command, Found, Head, Listed, Loaded, Outcome, Page, Request, Row, Shape,
    ShardLease, Sighting, SignalOutcome, Store, StoreError, StoredSignal, Survey, Timestamp,
    WorkerId,
};
use uuid::Uuid;

/// Rows in maps under one lock, which is its transaction.
#[derive(Default)]
struct Foreign(Mutex<Rows>);

type Answer<T> = Result<T, StoreError>;

#[derive(Default)]
struct Rows {
    shapes: HashMap<(String, u32), String>,
    workers: HashMap<WorkerId, (Timestamp, Vec<(String, u32)>)>,
    shards: BTreeMap<(String, u16), (Option<WorkerId>, i64)>,
    keys: BTreeMap<(String, String), (Uuid, [u8; 32])>,
    heads: BTreeMap<Uuid, (Loaded, String, i16, bool)>,
    journals: HashMap<Uuid, Vec<Row>>,
    /// What was ever said, by saga, name and key; a word that was taken is `None`.
    signals: BTreeMap<i64, (Uuid, StoredSignal, bool)>,
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Timestamp(0).saturating_add(since.unwrap_or_default())
}

impl Rows {
    fn alive(&self, worker: Option<WorkerId>) -> Option<WorkerId> {
        worker.filter(|worker| {
            self.workers
                .get(worker)
                .is_some_and(|(until, _)| *until > now())
        })
    }

    fn owns(&self, worker: WorkerId, lease: &ShardLease) -> bool {
        let key = (lease.group.to_string(), lease.shard);
        self.shards.get(&key) == Some(&(Some(worker), lease.epoch))
    }

    fn of(&self, definition: &str, id: &str) -> Option<(Uuid, [u8; 32])> {
        self.keys
            .get(&(definition.to_owned(), id.to_owned()))
            .copied()
    }

    fn whole(&self, saga: Uuid) -> Option<Loaded> {
        let (head, ..) = self.heads.get(&saga)?;
        let signals = self
            .signals
            .values()
            .filter(|(of, _, taken)| *of == saga && !taken);
        Some(Loaded {
            journal: self.journals[&saga].clone(),
            signals: signals.map(|(_, signal, _)| signal.clone()).collect(),
            ..head.clone()
        })
    }

    fn listed(&self, saga: Uuid) -> Option<Listed> {
        let (head, definition, state, attention) = self.heads.get(&saga)?;
        Some(Listed {
            saga,
            definition: definition.clone(),
            version: head.version,
            id: head.id.clone(),
            seq: head.seq,
            state: *state,
            attention: *attention,
            wake_at: head.wake_at,
        })
    }

    fn apply(&mut self, worker: WorkerId, change: &Change) -> Outcome {
        if !self.owns(worker, &change.lease) {
            return Outcome::Fenced;
        }
        if let Some(start) = &change.start {
            if let Some((saga, hash)) = self.of(&start.definition, &start.id) {
                let same_input = hash == start.input_hash;
                return Outcome::Exists { saga, same_input };
            }
            let key = (start.definition.to_string(), start.id.to_string());
            self.keys.insert(key, (change.saga, start.input_hash));
            let head = Loaded {
                saga: change.saga,
                definition: start.definition.to_string(),
                id: start.id.to_string(),
                version: start.version,
                shard: change.lease.shard,
                seq: 0,
                ctl: 0,
                crashes: 0,
                past_pivot: false,
                wake_at: None,
                journal: Vec::new(),
                commands: Vec::new(),
                signals: Vec::new(),
            };
            let definition = start.definition.to_string();
            self.heads.insert(change.saga, (head, definition, 0, false));
        }
        let Some((head, _, state, attention)) = self.heads.get_mut(&change.saga) else {
            return Outcome::Conflict;
        };
        let stray = head.shard != change.lease.shard;
        if stray || (head.seq, head.ctl) != (change.expect_seq, change.expect_ctl) {
            return Outcome::Conflict;
        }
        head.seq = change.rows.last().map_or(head.seq, |row| row.seq);
        head.commands
            .retain(|command| command.n > change.requests_until);
        match &change.head {
            Head::Ended { .. } => drop(self.heads.remove(&change.saga)),
            Head::Live {
                wake_at,
                past_pivot,
                state: new_state,
                attention: new_attention,
                crashes,
            } => {
                head.wake_at = *wake_at;
                head.past_pivot = *past_pivot;
                head.crashes = *crashes;
                (*state, *attention) = (*new_state, *new_attention);
            }
        }
        let journal = self.journals.entry(change.saga).or_default();
        journal.extend(change.rows.iter().cloned());
        for n in &change.signals {
            if let Some((.., taken)) = self.signals.get_mut(n) {
                *taken = true;
            }
        }
        Outcome::Committed
    }

    /// Every shard of a group, owned or not.
    fn shards_of(&mut self, group: &str) -> Vec<(u16, Option<WorkerId>, i64)> {
        let shards = (0..64).map(|shard| {
            let key = (group.to_owned(), shard);
            let (owner, epoch) = *self.shards.entry(key).or_default();
            (shard, owner, epoch)
        });
        shards.collect()
    }
}

#[async_trait::async_trait]
impl Store for Foreign {
    async fn describe(&self, shapes: &[Shape], keep: bool) -> Answer<Vec<String>> {
        let mut rows = self.0.lock().unwrap();
        let kept = shapes.iter().map(|shape| {
            let key = (shape.definition.clone(), shape.version);
            let known = rows.shapes.get(&key).unwrap_or(&shape.text).clone();
            if keep {
                rows.shapes.insert(key, known.clone());
            }
            known
        });
        Ok(kept.collect())
    }

    async fn register(
        &self,
        worker: WorkerId,
        definitions: &[(String, u32)],
        lease: Duration,
    ) -> Answer<Timestamp> {
        let at = now();
        let row = (at.saturating_add(lease), definitions.to_vec());
        self.0.lock().unwrap().workers.insert(worker, row);
        Ok(at)
    }

    async fn heartbeat(&self, worker: WorkerId, lease: Duration) -> Answer<Timestamp> {
        let mut rows = self.0.lock().unwrap();
        if rows.alive(Some(worker)).is_none() {
            return Err(StoreError::fenced("its lease ran out"));
        }
        let at = now();
        if let Some((until, _)) = rows.workers.get_mut(&worker) {
            *until = at.saturating_add(lease);
        }
        Ok(at)
    }

    async fn survey(&self, groups: &[String]) -> Answer<Survey> {
        let mut rows = self.0.lock().unwrap();
        let mut survey = Survey {
            now: now(),
            ..Survey::default()
        };
        for group in groups {
            let shards = rows.shards_of(group);
            let owners = shards.iter().map(|(_, owner, _)| rows.alive(*owner));
            let mut held: HashMap<WorkerId, u32> = HashMap::new();
            let mut free = 0;
            for owner in owners {
                match owner {
                    Some(owner) => *held.entry(owner).or_default() += 1,
                    None => free += 1,
                }
            }
            survey.free.push((group.clone(), free));
            let held = held.into_iter().map(|(owner, n)| (group.clone(), owner, n));
            survey.held.extend(held);
        }
        for (worker, (until, definitions)) in &rows.workers {
            if *until > survey.now {
                survey.workers.push(Alive {
                    worker: *worker,
                    lease_until: *until,
                    definitions: definitions.clone(),
                });
            }
        }
        Ok(survey)
    }

    async fn claim(&self, worker: WorkerId, group: &str, max: u32) -> Answer<Vec<ShardLease>> {
        let mut rows = self.0.lock().unwrap();
        let mut leases = Vec::new();
        for (shard, owner, epoch) in rows.shards_of(group) {
            let able = rows.alive(Some(worker)).is_some() && rows.alive(owner).is_none();
            if !able || leases.len() >= max as usize {
                continue;
            }
            let key = (group.to_owned(), shard);
            rows.shards.insert(key, (Some(worker), epoch + 1));
            leases.push(ShardLease {
                group: group.into(),
                shard,
                epoch: epoch + 1,
                unclean: owner.is_some(),
            });
        }
        Ok(leases)
    }

    async fn reclaim(&self, worker: WorkerId, shards: &[ShardLease]) -> Answer<Vec<ShardLease>> {
        let mut rows = self.0.lock().unwrap();
        let mut leases = Vec::new();
        for lease in shards.iter().filter(|lease| rows.owns(worker, lease)) {
            let epoch = lease.epoch + 1;
            leases.push(ShardLease {
                epoch,
                unclean: false,
                ..lease.clone()
            });
        }
        for lease in &leases {
            let key = (lease.group.to_string(), lease.shard);
            rows.shards.insert(key, (Some(worker), lease.epoch));
        }
        Ok(leases)
    }

    async fn release(&self, worker: WorkerId, shards: &[ShardLease]) -> Answer<()> {
        let mut rows = self.0.lock().unwrap();
        for lease in shards {
            if rows.owns(worker, lease) {
                let key = (lease.group.to_string(), lease.shard);
                rows.shards.insert(key, (None, lease.epoch));
            }
        }
        Ok(())
    }

    async fn deregister(&self, worker: WorkerId) -> Answer<()> {
        let mut rows = self.0.lock().unwrap();
        rows.workers.remove(&worker);
        for (owner, _) in rows.shards.values_mut() {
            *owner = owner.filter(|owner| *owner != worker);
        }
        Ok(())
    }

    async fn load_active(
        &self,
        group: &str,
        shard: u16,
        after: Option<Uuid>,
        limit: u32,
    ) -> Answer<Vec<Loaded>> {
        let rows = self.0.lock().unwrap();
        let heads = rows.heads.values().map(|(head, ..)| head);
        let found = heads.filter(|head| {
            group == format!("{}@{}", head.definition, head.version)
                && head.shard == shard
                && head.wake_at.is_none()
                && after.is_none_or(|after| head.saga > after)
        });
        let found = found.take(limit as usize);
        Ok(found.filter_map(|head| rows.whole(head.saga)).collect())
    }

    async fn load_due(&self, shards: &[ShardLease], limit: u32) -> Answer<Vec<Loaded>> {
        let rows = self.0.lock().unwrap();
        let ours: BTreeSet<(&str, u16)> = shards.iter().map(|l| (&*l.group, l.shard)).collect();
        let heads = rows.heads.values().map(|(head, ..)| head);
        let due = heads.filter(|head| {
            let group = format!("{}@{}", head.definition, head.version);
            ours.contains(&(&*group, head.shard)) && head.wake_at.is_some_and(|at| at <= now())
        });
        let mut due: Vec<_> = due.map(|head| (head.wake_at, head.saga)).collect();
        due.sort_unstable();
        due.truncate(limit as usize);
        Ok(due
            .into_iter()
            .filter_map(|(_, saga)| rows.whole(saga))
            .collect())
    }

    async fn load(&self, sagas: &[Uuid]) -> Answer<Vec<Loaded>> {
        let rows = self.0.lock().unwrap();
        Ok(sagas.iter().filter_map(|saga| rows.whole(*saga)).collect())
    }

    async fn commit(&self, worker: WorkerId, changes: &[Change]) -> Answer<Vec<Outcome>> {
        let mut rows = self.0.lock().unwrap();
        Ok(changes
            .iter()
            .map(|change| rows.apply(worker, change))
            .collect())
    }

    async fn request(&self, request: Request) -> Answer<Sighting> {
        let mut rows = self.0.lock().unwrap();
        let Some((saga, _)) = rows.of(&request.definition, &request.id) else {
            return Ok(Sighting::NotFound);
        };
        let Some((head, ..)) = rows.heads.get_mut(&saga) else {
            return Ok(Sighting::Ended);
        };
        if request.before_pivot && head.past_pivot {
            return Ok(Sighting::PastPivot);
        }
        if request.if_seq.is_some_and(|seq| seq != head.seq) {
            return Ok(Sighting::Moved { seq: head.seq });
        }
        head.ctl += 1;
        head.wake_at = Some(now());
        let n = head.ctl;
        head.commands.push(Command {
            n,
            ..request.command
        });
        Ok(Sighting::Accepted { saga, n })
    }

    async fn signal(&self, signal: StoredSignal) -> Answer<SignalOutcome> {
        let mut rows = self.0.lock().unwrap();
        let Some((saga, _)) = rows.of(&signal.definition, &signal.id) else {
            return Ok(SignalOutcome::NotFound);
        };
        let known = rows.signals.values().any(|(of, other, _)| {
            *of == saga && other.name == signal.name && other.dedupe == signal.dedupe
        });
        if known {
            return Ok(SignalOutcome::Duplicate);
        }
        let Some((head, ..)) = rows.heads.get_mut(&saga) else {
            return Ok(SignalOutcome::Ended);
        };
        head.ctl += 1;
        head.wake_at = Some(now());
        let n = rows.signals.keys().last().map_or(1, |last| last + 1);
        rows.signals
            .insert(n, (saga, StoredSignal { n, ..signal }, false));
        Ok(SignalOutcome::Accepted { saga })
    }

    async fn find(&self, definition: &str, id: &str) -> Answer<Option<Found>> {
        let rows = self.0.lock().unwrap();
        let key = rows.of(definition, id);
        Ok(key.map(|(saga, input_hash)| Found {
            saga,
            input_hash,
            running: rows.listed(saga),
        }))
    }

    async fn list(&self, page: Page) -> Answer<Vec<Listed>> {
        let rows = self.0.lock().unwrap();
        let all = rows.heads.keys().filter_map(|saga| rows.listed(*saga));
        let fits = all.filter(|listed| {
            page.definition
                .as_ref()
                .is_none_or(|of| *of == listed.definition)
                && page.state.is_none_or(|state| state == listed.state)
                && page.after.is_none_or(|after| listed.saga > after)
        });
        Ok(fits.take(page.limit as usize).collect())
    }

    async fn history(&self, saga: Uuid, after: u32, limit: u32) -> Answer<Vec<Row>> {
        let rows = self.0.lock().unwrap();
        let journal = rows.journals.get(&saga).into_iter().flatten();
        let later = journal.filter(|row| row.seq > after);
        Ok(later.take(limit as usize).cloned().collect())
    }

    async fn erase(&self, saga: Uuid) -> Answer<bool> {
        let mut rows = self.0.lock().unwrap();
        if rows.heads.contains_key(&saga) {
            return Ok(false);
        }
        for row in rows.journals.get_mut(&saga).into_iter().flatten() {
            row.payload = None;
        }
        for (of, signal, _) in rows.signals.values_mut() {
            if *of == saga {
                signal.payload = Arc::default();
            }
        }
        Ok(true)
    }

    async fn prune(&self, age: Duration, limit: u32) -> Answer<u64> {
        let mut rows = self.0.lock().unwrap();
        let old = |saga: &Uuid| {
            let last = rows.journals.get(saga).and_then(|journal| journal.last());
            !rows.heads.contains_key(saga)
                && last.is_some_and(|row| row.at.saturating_add(age) <= now())
        };
        let sagas = rows.keys.values().map(|(saga, _)| *saga);
        let old: Vec<Uuid> = sagas.filter(old).take(limit as usize).collect();
        rows.keys.retain(|_, (saga, _)| !old.contains(saga));
        rows.signals.retain(|_, (saga, ..)| !old.contains(saga));
        for saga in &old {
            rows.journals.remove(saga);
        }
        Ok(old.len() as u64)
    }
}

#[allow(clippy::unused_async)] // the suite's shape
async fn make() -> (Foreign, ()) {
    (Foreign::default(), ())
}

swifttrack_saga::store_conformance!(make);
