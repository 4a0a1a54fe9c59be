//! The worker's life in the database: its lease, its fair share of shards, and the sweeps.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};
use uuid::Uuid;

use crate::engine::error::Error;
use crate::engine::shared::{Event, LANES, Shared};
use crate::guard::Guard;
use crate::store::{ShardLease, Survey, Timestamp, WorkerId};

/// Shards of a group.
pub(crate) const SHARDS: u32 = 64;
/// Sagas read at a time.
const PAGE: u32 = 500;
/// Between surveys while a share is not full.
const SURVEY_EVERY: Duration = Duration::from_secs(1);
/// How long after another's lease has run out it is looked at: our reading of the database's
/// clock is late by the way of an answer at most.
const SURVEY_AFTER: Duration = Duration::from_millis(20);
/// Ended sagas deleted at a time, and between looks for more.
const PRUNE_MAX: u32 = 1000;
const PRUNE_EVERY: Duration = Duration::from_secs(60);
/// While there are more, the pause between two batches: so many times what the last one took,
/// which keeps up with thousands a second and leaves the database to others.
const PRUNE_REST: u32 = 2;
const PRUNE_REST_MIN: Duration = Duration::from_millis(10);
/// After a failure of the store.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

pub(crate) struct Keeper {
    shared: Arc<Shared>,
    groups: Vec<String>,
    definitions: Vec<(String, u32)>,
    /// Shards whose sagas are still to be read, and after which.
    unread: VecDeque<(ShardLease, Option<Uuid>)>,
    next_heartbeat: Instant,
    next_survey: Instant,
    next_sweep: Instant,
    next_prune: Instant,
    lanes: Vec<JoinHandle<()>>,
}

impl Keeper {
    /// Registers the worker and takes its first shards.
    pub(crate) async fn begin(shared: Arc<Shared>) -> Result<Self, Error> {
        let mut definitions = Vec::new();
        let mut groups = Vec::new();
        for registered in shared.registry.all() {
            let definition = &registered.definition;
            definitions.push((definition.name.to_string(), definition.version));
            groups.push(registered.group.to_string());
        }
        groups.sort();
        let now = Instant::now();
        let mut keeper = Self {
            shared,
            groups,
            definitions,
            unread: VecDeque::new(),
            next_heartbeat: now,
            next_survey: now,
            next_sweep: now,
            next_prune: now + PRUNE_EVERY,
            lanes: Vec::new(),
        };
        let store = &*keeper.shared.store;
        keeper.shared.registry.unchanged(store, true).await?;
        keeper.register().await?;
        keeper.survey().await?;
        Ok(keeper)
    }

    pub(crate) async fn run(mut self, lanes: Vec<JoinHandle<()>>) {
        self.lanes = lanes;
        while !self.shared.closing.load(Ordering::Relaxed) {
            let next = self
                .next_heartbeat
                .min(self.next_survey)
                .min(self.next_sweep)
                .min(self.next_prune);
            let shared = self.shared.clone();
            tokio::select! {
                biased;
                () = shared.hint.notified() => self.next_sweep = Instant::now(),
                () = sleep_until(next) => {}
            }
            if self.lanes.iter().any(JoinHandle::is_finished) {
                return self.give_up();
            }
            self.tick().await;
        }
    }

    /// A lane has panicked. Without heartbeats others take over, which this process cannot.
    fn give_up(&self) {
        if !self.shared.closing.swap(true, Ordering::Relaxed) {
            tracing::error!("a lane of the engine has died; others take over when the lease ends");
            self.shared.clock.stop();
            self.shared.send_all(|| Event::Stop);
        }
    }

    async fn tick(&mut self) {
        let now = Instant::now();
        if now >= self.next_heartbeat {
            self.heartbeat().await;
        }
        if now >= self.next_survey
            && let Err(error) = self.survey().await
        {
            tracing::warn!(%error, "the survey failed");
            self.next_survey = Instant::now() + AGAIN_AFTER;
        }
        self.read_active().await;
        if now >= self.next_sweep {
            self.sweep().await;
        }
        if now >= self.next_prune {
            self.prune().await;
        }
    }

    /// Deletes a batch of what ended long ago.
    async fn prune(&mut self) {
        self.next_prune = Instant::now() + PRUNE_EVERY;
        let Some(age) = self.shared.settings.retention else {
            return;
        };
        let began = Instant::now();
        match self.shared.store.prune(age, PRUNE_MAX).await {
            Ok(gone) if gone >= u64::from(PRUNE_MAX) => {
                let rest = (began.elapsed() * PRUNE_REST).max(PRUNE_REST_MIN);
                self.next_prune = Instant::now() + rest;
            }
            Ok(_) => (),
            Err(error) => tracing::warn!(%error, "old sagas could not be deleted"),
        }
    }

    async fn register(&mut self) -> Result<(), Error> {
        let sent = Instant::now();
        let lease = self.shared.settings.lease;
        let worker = self.shared.worker();
        let time = self
            .shared
            .store
            .register(worker, &self.definitions, lease)
            .await?;
        self.renewed(sent, time);
        Ok(())
    }

    async fn heartbeat(&mut self) {
        let sent = Instant::now();
        let lease = self.shared.settings.lease;
        let worker = self.shared.worker();
        match self.shared.store.heartbeat(worker, lease).await {
            Ok(time) => self.renewed(sent, time),
            Err(error) if error.is_fenced() => self.lost().await,
            Err(error) => {
                tracing::warn!(%error, "the lease could not be renewed yet");
                self.next_heartbeat = Instant::now() + AGAIN_AFTER;
            }
        }
    }

    fn renewed(&mut self, sent: Instant, time: crate::store::Timestamp) {
        let lease = self.shared.settings.lease;
        self.shared.clock.read(time);
        // We stop earlier than the database says, since our clock may be slower than its.
        self.shared.clock.renew(sent + lease - lease / 5);
        self.next_heartbeat = sent + lease / 3;
    }

    /// Somebody else may own everything by now: begin again as a new worker.
    async fn lost(&mut self) {
        tracing::error!("the lease of this worker is gone; it begins again");
        self.unread.clear();
        self.shared.leases().clear();
        self.shared.send_all(|| Event::Lost);
        self.shared.become_worker(WorkerId(Uuid::now_v7()));
        match self.register().await {
            Ok(()) => self.next_survey = Instant::now(),
            Err(error) => {
                tracing::warn!(%error, "the worker could not begin again yet");
                self.next_heartbeat = Instant::now() + AGAIN_AFTER;
            }
        }
    }

    /// Takes what is free up to the fair share, gives back what is more.
    async fn survey(&mut self) -> Result<(), Error> {
        let survey = self.shared.store.survey(&self.groups).await?;
        let me = self.shared.worker();
        let mut hungry = false;
        for group in self.groups.clone() {
            let share = Share::of(&group, &survey, me);
            let held = u32::try_from(self.held(&group).len()).unwrap_or(SHARDS);
            let missing = share.fair.saturating_sub(held);
            let want = missing.min(share.free);
            let mut got = 0;
            if want > 0 {
                let leases = self.shared.store.claim(me, &group, want).await?;
                let unclean = leases.iter().filter(|lease| lease.unclean).count();
                metrics::counter!("saga_takeovers_total").increment(unclean as u64);
                for lease in leases {
                    got += 1;
                    self.own(lease);
                }
            }
            // Others give back what is more than their share, or are slow to let go.
            hungry |= got < missing && (share.surplus || got < want);
            if held > share.fair {
                self.give_back(&group, held - share.fair);
            }
        }
        metrics::gauge!("saga_shards").set(self.shared.leases().len() as f64);
        let every = match hungry {
            true => SURVEY_EVERY,
            false => self.shared.settings.lease / 3,
        };
        self.next_survey = Instant::now() + every;
        // Whoever dies is found when its lease runs out, and nobody is asked before.
        if let Some(first) = first_to_expire(&survey, me) {
            let at = Instant::now() + first.since(survey.now) + SURVEY_AFTER;
            self.next_survey = self.next_survey.min(at);
        }
        Ok(())
    }

    fn held(&self, group: &str) -> Vec<ShardLease> {
        let leases = self.shared.leases();
        leases
            .values()
            .filter(|lease| *lease.group == *group)
            .cloned()
            .collect()
    }

    fn own(&mut self, lease: ShardLease) {
        let key = (lease.group.clone(), lease.shard);
        self.shared.leases().insert(key, lease.clone());
        self.unread.push_back((lease.clone(), None));
        self.shared.send(lane(&lease), Event::Lease(lease));
        self.next_sweep = Instant::now();
    }

    fn give_back(&mut self, group: &str, many: u32) {
        let surplus: Vec<ShardLease> = self.held(group).into_iter().take(many as usize).collect();
        {
            let mut leases = self.shared.leases();
            for lease in &surplus {
                leases.remove(&(lease.group.clone(), lease.shard));
            }
        }
        self.unread.retain(|(lease, _)| !surplus.contains(lease));
        let shared = self.shared.clone();
        tokio::spawn(async move {
            drain(&shared, surplus).await;
        });
    }

    /// Reads the sagas of shards that were taken, as far as there is room.
    async fn read_active(&mut self) {
        while let Some((lease, after)) = self.unread.front().cloned() {
            if self.shared.room() == 0 {
                self.next_sweep = self.next_sweep.min(Instant::now() + AGAIN_AFTER);
                return;
            }
            let page = self
                .shared
                .store
                .load_active(&lease.group, lease.shard, after, PAGE)
                .await;
            let page = match page {
                Ok(page) => page,
                Err(error) => {
                    tracing::warn!(%error, "sagas could not be read yet");
                    self.next_sweep = self.next_sweep.min(Instant::now() + AGAIN_AFTER);
                    return;
                }
            };
            let last = page.last().map(|loaded| loaded.saga);
            let full = page.len() >= PAGE as usize;
            if !page.is_empty() {
                self.shared.send(lane(&lease), Event::Take(page));
            }
            match last.filter(|_| full) {
                Some(last) => {
                    if let Some(front) = self.unread.front_mut() {
                        front.1 = Some(last);
                    }
                }
                None => {
                    self.unread.pop_front();
                }
            }
        }
    }

    /// Finds what is due, whoever made it so.
    async fn sweep(&mut self) {
        self.next_sweep = Instant::now() + self.shared.settings.sweep_every;
        let active = self.shared.active.load(Ordering::Relaxed);
        metrics::gauge!("saga_active").set(active as f64);
        let leases: Vec<ShardLease> = self.shared.leases().values().cloned().collect();
        if leases.is_empty() || !Guard::Sweep.stands() {
            return;
        }
        let found = match self.shared.store.load_due(&leases, PAGE).await {
            Ok(found) => found,
            Err(error) => return tracing::warn!(%error, "the sweep failed"),
        };
        if found.len() >= PAGE as usize {
            // There is more than one page: soon again.
            self.next_sweep = Instant::now() + AGAIN_AFTER.min(self.shared.settings.sweep_every);
        }
        let mut lanes: Vec<Vec<_>> = (0..LANES).map(|_| Vec::new()).collect();
        for loaded in found {
            lanes[Shared::lane_of(loaded.shard)].push(loaded);
        }
        for (lane, loaded) in lanes.into_iter().enumerate() {
            if !loaded.is_empty() {
                self.shared.send(lane, Event::Take(loaded));
            }
        }
    }
}

/// When the first of the other leases runs out.
fn first_to_expire(survey: &Survey, me: WorkerId) -> Option<Timestamp> {
    let others = survey.workers.iter().filter(|alive| alive.worker != me);
    others.map(|alive| alive.lease_until).min()
}

/// What one worker should hold of a group.
struct Share {
    fair: u32,
    free: u32,
    /// Somebody else holds more than the fair share, and will give it back.
    surplus: bool,
}

impl Share {
    fn of(group: &str, survey: &Survey, me: WorkerId) -> Self {
        let (name, version) = group.rsplit_once('@').unwrap_or((group, "0"));
        let version: u32 = version.parse().unwrap_or_default();
        let able = survey.workers.iter().filter(|alive| {
            alive
                .definitions
                .iter()
                .any(|(known, of)| known == name && *of == version)
        });
        let able = u32::try_from(able.count()).unwrap_or(u32::MAX).max(1);
        let fair = SHARDS.div_ceil(able);
        let mut others = survey.held.iter();
        let surplus = others.any(|(of, worker, held)| of == group && *worker != me && *held > fair);
        let free = survey.free.iter().find(|(of, _)| of == group);
        Self {
            fair,
            free: free.map_or(SHARDS, |(_, free)| *free),
            surplus,
        }
    }
}

fn lane(lease: &ShardLease) -> usize {
    Shared::lane_of(lease.shard)
}

/// Gives shards back cleanly: no new attempts, those that run end, what is decided is written.
pub(crate) async fn drain(shared: &Shared, leases: Vec<ShardLease>) {
    let answers = leases.iter().map(|lease| {
        let (reply, answer) = oneshot::channel();
        shared.send(lane(lease), Event::Drain(lease.clone(), reply));
        async move {
            // A lane that is gone has nothing of it any more.
            let _ = answer.await;
        }
    });
    join_all(answers).await;
    // Until then nobody runs what is in them: we do not, and to others they are ours. Once our
    // lease is over they come free with it.
    while let Err(error) = shared.store.release(shared.worker(), &leases).await {
        tracing::warn!(%error, "shards could not be given back yet");
        if error.is_fenced() || !shared.clock.may_act() {
            return;
        }
        sleep(AGAIN_AFTER).await;
    }
}
