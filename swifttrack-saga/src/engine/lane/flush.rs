//! One commit for a batch, and what follows from it.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::{BATCH_MAX, Lane};
use crate::engine::error::StartError;
use crate::engine::live::{Pending, Stuck};
use crate::engine::start::Started;
use crate::guard::Guard;
use crate::store::{Change, Head, Outcome, StoreError};

/// What became of a change.
pub(super) enum Fate {
    Told(Outcome),
    /// It failed alone; nothing happened.
    Failed(StoreError),
    /// It happened or it did not.
    Ambiguous,
}

/// The longest pause before a change that failed alone is tried again.
const STUCK_PAUSE_MAX: Duration = Duration::from_secs(30);

impl Lane {
    /// Commits what is dirty, and lets happen what that allows.
    pub(super) async fn flush(&mut self) {
        let mut changes = self.collect();
        #[cfg(test)]
        if !Guard::DurableFirst.stands() {
            self.begin_early(&changes);
        }
        self.starting.clear();
        if changes.is_empty() {
            return;
        }
        changes.sort_unstable_by_key(|change| change.saga);
        let transitions: usize = changes.iter().map(|change| change.rows.len()).sum();
        let began = Instant::now();
        let fates = self.commit(&changes).await;
        metrics::counter!("saga_transitions_total").increment(transitions as u64);
        metrics::histogram!("saga_batch_changes").record(changes.len() as f64);
        metrics::histogram!("saga_commit_seconds").record(began.elapsed().as_secs_f64());
        let mut ambiguous = Vec::new();
        for (change, fate) in changes.into_iter().zip(fates) {
            match fate {
                Fate::Told(outcome) => self.on_outcome(change, outcome),
                Fate::Failed(error) => self.on_failed(change, error),
                Fate::Ambiguous => ambiguous.push(change),
            }
        }
        metrics::gauge!("saga_active").set(self.shared.active.load(Ordering::Relaxed) as f64);
        if !ambiguous.is_empty() {
            self.resolve(ambiguous).await;
        }
    }

    /// What must never be done.
    #[cfg(test)]
    fn begin_early(&mut self, changes: &[Change]) {
        for change in changes {
            let live = self.sagas.get(&change.saga);
            let pending = live.and_then(|live| live.pending.as_ref());
            let starts = pending.map(|pending| pending.starts.clone());
            for node in starts.unwrap_or_default() {
                self.begin(change.saga, node);
            }
        }
    }

    fn collect(&mut self) -> Vec<Change> {
        let mut dirty = std::mem::take(&mut self.dirty);
        self.dirty = dirty.split_off(dirty.len().min(BATCH_MAX));
        // Sorted before there are changes, which are large to move.
        dirty.sort_unstable();
        let mut changes = Vec::with_capacity(dirty.len());
        for saga in dirty {
            let Some(live) = self.sagas.get_mut(&saga) else {
                continue;
            };
            let key = (live.registered.group.clone(), live.shard);
            let Some(held) = self.leases.get(&key) else {
                self.drop_saga(saga);
                continue;
            };
            changes.extend(live.change(held.lease.clone()));
        }
        let now = Instant::now();
        let stuck = std::mem::take(&mut self.stuck);
        for (at, saga) in stuck {
            if at > now || changes.len() >= BATCH_MAX {
                self.stuck.push((at, saga));
                continue;
            }
            let Some(live) = self.sagas.get_mut(&saga) else {
                continue;
            };
            let key = (live.registered.group.clone(), live.shard);
            if let (Some(stuck), Some(held)) = (&mut live.stuck, self.leases.get(&key)) {
                stuck.change.lease = held.lease.clone();
                changes.push(stuck.change.clone());
            }
        }
        changes
    }

    /// Commits in halves until a culprit is alone.
    async fn commit(&self, changes: &[Change]) -> Vec<Fate> {
        let worker = self.shared.worker();
        let mut fates = Vec::with_capacity(changes.len());
        // Ranges still to be committed, the first on top: halving gives at most
        // log2(BATCH_MAX) + 1 of them at a time.
        let mut ranges = Vec::with_capacity(16);
        ranges.push(0..changes.len());
        while let Some(range) = ranges.pop() {
            let result = self
                .shared
                .store
                .commit(worker, &changes[range.clone()])
                .await;
            match result {
                Ok(outcomes) => {
                    debug_assert_eq!(outcomes.len(), range.len(), "an outcome for each change");
                    fates.extend(outcomes.into_iter().map(Fate::Told));
                }
                Err(error) if error.is_ambiguous() => {
                    tracing::warn!(changes = range.len(), "the outcome of a commit is unknown");
                    // Our epochs change before anything else is written.
                    fates.extend(range.map(|_| Fate::Ambiguous));
                    for range in ranges.drain(..).rev() {
                        fates.extend(range.map(|_| Fate::Ambiguous));
                    }
                }
                Err(error) if error.is_fenced() => {
                    fates.extend(range.map(|_| Fate::Told(Outcome::Fenced)));
                }
                Err(error) if range.len() == 1 || error.is_unavailable() => {
                    let reason = error.to_string();
                    tracing::warn!(changes = range.len(), %error, "a commit failed");
                    let mut first = Some(error);
                    fates.extend(range.map(|_| {
                        let again = || StoreError::unavailable(reason.clone());
                        Fate::Failed(first.take().unwrap_or_else(again))
                    }));
                }
                Err(error) => {
                    tracing::debug!(changes = range.len(), %error, "a batch is run again in halves");
                    let middle = range.start + range.len() / 2;
                    ranges.push(middle..range.end);
                    ranges.push(range.start..middle);
                }
            }
        }
        fates
    }

    pub(super) fn on_outcome(&mut self, change: Change, outcome: Outcome) {
        let saga = change.saga;
        match outcome {
            Outcome::Committed => self.on_committed(&change),
            Outcome::Conflict if change.start.is_some() => self.start_again(saga),
            Outcome::Conflict => {
                self.reload.insert(saga);
            }
            Outcome::Fenced => self.on_fenced(&change),
            Outcome::Exists {
                saga: other,
                same_input,
            } => {
                let Some(mut live) = self.remove(saga) else {
                    return;
                };
                if let Some(starter) = live.starter.take() {
                    let _ = starter.reply.send(match same_input {
                        true => Ok(Started {
                            saga: other,
                            existing: true,
                        }),
                        false => Err(StartError::conflict(other)),
                    });
                }
            }
            Outcome::Refused(reason) => {
                if let Some(mut live) = self.remove(saga)
                    && let Some(starter) = live.starter.take()
                {
                    let _ = starter.reply.send(Err(StartError::refused(reason)));
                }
            }
        }
    }

    /// It is durable: now, and not before, what it allows may happen.
    pub(super) fn on_committed(&mut self, change: &Change) {
        let saga = change.saga;
        self.shared.watchers.tell(saga);
        let Some(live) = self.sagas.get_mut(&saga) else {
            return;
        };
        if let Some(starter) = live.starter.take() {
            let started = Started {
                saga,
                existing: false,
            };
            // Who does not wait any more need not know.
            let _ = starter.reply.send(Ok(started));
        }
        live.foreign = false;
        if let Some(meter) = &live.registered.meter {
            meter.committed(change);
        }
        let stuck = live.stuck.take();
        let pending = live
            .pending
            .take()
            .map(|pending| *pending)
            .unwrap_or_default();
        if matches!(change.head, Head::Ended { .. }) {
            self.remove(saga);
            return;
        }
        let Pending { starts, undoes, .. } = pending;
        for node in starts.into_iter().chain(undoes) {
            self.begin(saga, node);
        }
        if let Some(stuck) = stuck {
            for (input, value) in stuck.deferred {
                self.feed(saga, input, value);
            }
        }
        self.set_timer(saga);
        self.evict_if_idle(saga);
    }

    fn on_failed(&mut self, change: Change, error: StoreError) {
        let saga = change.saga;
        let Some(live) = self.sagas.get_mut(&saga) else {
            return;
        };
        if change.start.is_some() {
            if let Some(mut live) = self.remove(saga)
                && let Some(starter) = live.starter.take()
            {
                Self::refuse(*starter, error);
            }
            return;
        }
        let stuck = live.stuck.get_or_insert_with(|| {
            Box::new(Stuck {
                change,
                times: 0,
                deferred: Vec::new(),
            })
        });
        stuck.times += 1;
        let pause = Duration::from_millis(50) * 2_u32.saturating_pow(stuck.times.min(10));
        let pause = pause.min(STUCK_PAUSE_MAX);
        metrics::counter!("saga_commits_stuck_total").increment(1);
        tracing::warn!(%saga, %error, times = stuck.times, ?pause, "a transition cannot be committed");
        self.stuck.push((Instant::now() + pause, saga));
    }

    /// Another start of the same id was in the same batch.
    fn start_again(&mut self, saga: Uuid) {
        if let Some(mut live) = self.remove(saga)
            && let Some(starter) = live.starter.take()
        {
            self.again.push(*starter);
        }
    }

    fn on_fenced(&mut self, change: &Change) {
        metrics::counter!("saga_fenced_total").increment(1);
        let key = (change.lease.group.clone(), change.lease.shard);
        let held = self.leases.get(&key);
        if held.is_some_and(|held| held.lease.epoch == change.lease.epoch) {
            tracing::warn!(group = %key.0, shard = key.1, "a shard was taken over");
            self.lose_shard(&key);
        }
        self.drop_saga(change.saga);
    }

    pub(super) fn lose_shard(&mut self, key: &(std::sync::Arc<str>, u16)) {
        if let Some(held) = self.leases.remove(key)
            && let Some(reply) = held.draining
        {
            let _ = reply.send(());
        }
        self.shared.leases().remove(key);
        if let Some(shards) = self.open.get_mut(&key.0) {
            shards.retain(|shard| *shard != key.1);
        }
        let of_shard: Vec<Uuid> = self
            .sagas
            .values()
            .filter(|live| live.shard == key.1 && live.registered.group == key.0)
            .map(|live| live.saga)
            .collect();
        for saga in of_shard {
            self.drop_saga(saga);
        }
    }

    /// Forgets a saga that is somebody else's; a start that did not happen is tried elsewhere.
    pub(super) fn drop_saga(&mut self, saga: Uuid) {
        self.reload.remove(&saga);
        if let Some(mut live) = self.remove(saga)
            && let Some(starter) = live.starter.take()
        {
            self.again.push(*starter);
        }
    }

    /// Takes our shards over ourselves, which waits for the lost commit, and reads back.
    async fn resolve(&mut self, changes: Vec<Change>) {
        let mut leases: Vec<_> = changes.iter().map(|change| change.lease.clone()).collect();
        leases.sort_by(|a, b| (&a.group, a.shard).cmp(&(&b.group, b.shard)));
        leases.dedup();
        let regained = match Guard::Reclaim.stands() {
            true => self.reclaim(&leases).await,
            false => Some(leases.clone()),
        };
        let Some(regained) = regained else {
            return self.lose_all();
        };
        for lease in &leases {
            let key = (lease.group.clone(), lease.shard);
            let new = regained
                .iter()
                .find(|new| new.group == lease.group && new.shard == lease.shard);
            match (new, self.leases.get_mut(&key)) {
                (Some(new), Some(held)) => {
                    held.lease = new.clone();
                    self.shared.leases().insert(key, new.clone());
                }
                _ => self.lose_shard(&key),
            }
        }
        let Some(seqs) = self.read_back(&changes).await else {
            return self.lose_all();
        };
        for change in changes {
            let saga = change.saga;
            let last = change.rows.last().map_or(0, |row| row.seq);
            match seqs.get(&saga).copied().unwrap_or_default() {
                seq if seq >= last => self.on_outcome(change, Outcome::Committed),
                _ if change.start.is_some() => self.start_again(saga),
                _ => {
                    self.reload.insert(saga);
                }
            }
        }
    }

    async fn reclaim(
        &self,
        leases: &[crate::store::ShardLease],
    ) -> Option<Vec<crate::store::ShardLease>> {
        while self.shared.clock.may_act() {
            let worker = self.shared.worker();
            match self.shared.store.reclaim(worker, leases).await {
                Ok(regained) => return Some(regained),
                Err(error) if error.is_fenced() => return None,
                Err(error) => tracing::warn!(%error, "shards could not be taken back yet"),
            }
            tokio::time::sleep(super::AGAIN_AFTER).await;
        }
        None
    }

    /// How far the journal of each goes.
    async fn read_back(&self, changes: &[Change]) -> Option<HashMap<Uuid, u32>> {
        let mut seqs = HashMap::new();
        for change in changes {
            let last = change.rows.last().map_or(0, |row| row.seq);
            loop {
                // Its last row is there, or it is not; nobody else writes in our epoch.
                let found = self.shared.store.history(change.saga, last - 1, 1).await;
                match found {
                    Ok(rows) => {
                        seqs.insert(change.saga, rows.first().map_or(0, |row| row.seq));
                        break;
                    }
                    Err(error) => tracing::warn!(%error, "the journal could not be read back yet"),
                }
                if !self.shared.clock.may_act() {
                    return None;
                }
                tokio::time::sleep(super::AGAIN_AFTER).await;
            }
        }
        Some(seqs)
    }
}
