//! A lane: one task that owns the sagas of its shards and writes all of their transitions.
//!
//! ```text
//!  events, starts, timers ──▶ apply ──▶ one commit ──▶ attempts, timers, answers
//!        ▲                   (a batch)                      │
//!        └──────────────────────────────────────────────────┘
//! ```
//!
//! While a commit is under way everything else queues, and is the next batch: alone, a
//! transition pays one commit; under load hundreds share one. There is no timer in this.

mod begin;
mod events;
mod flush;
mod reload;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use foldhash::fast::FixedState;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use crate::core::{Given, Input};
use crate::engine::live::Live;
use crate::engine::shared::{Event, Shared, StartRequest};
use crate::erased::Value;
use crate::store::{ShardLease, StoreError, Timestamp};

/// No commit has more changes.
const BATCH_MAX: usize = 500;
/// A saga that has nothing to do for longer than this leaves memory.
const EVICT_AFTER: Duration = Duration::from_secs(60);
/// How long a start waits for a shard.
const SHARD_WAIT: Duration = Duration::from_secs(10);
/// Between looks at what cannot go on at once.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

pub(crate) struct Lane {
    index: usize,
    shared: Arc<Shared>,
    events: mpsc::UnboundedReceiver<Event>,
    starts: mpsc::Receiver<StartRequest>,
    // A quick hasher in all of these: names and uuids are ours, so nobody chooses them to
    // collide. Its seed is fixed, so that a simulation can be run again.
    leases: HashMap<(Arc<str>, u16), Held, FixedState>,
    /// Shards by group that take starts.
    open: HashMap<Arc<str>, Vec<u16>, FixedState>,
    sagas: HashMap<Uuid, Live, FixedState>,
    timers: BinaryHeap<Reverse<(Timestamp, Uuid)>>,
    /// Sagas with something to commit.
    dirty: Vec<Uuid>,
    /// Sagas to be read again.
    reload: HashSet<Uuid, FixedState>,
    /// Sagas whose commit is tried again alone, and when.
    stuck: Vec<(Instant, Uuid)>,
    /// Attempts that may begin once the lease is renewed.
    postponed: Vec<(Uuid, u16)>,
    /// Starts without a shard, and until when they wait.
    shardless: VecDeque<(Instant, StartRequest)>,
    /// Ids whose start is in the batch.
    starting: HashSet<(Arc<str>, Arc<str>)>,
    /// Starts to be tried again, in the next batch.
    again: Vec<StartRequest>,
    rng: SmallRng,
}

struct Held {
    lease: ShardLease,
    /// Somebody waits for the shard to be quiet.
    draining: Option<oneshot::Sender<()>>,
}

impl Lane {
    pub(crate) fn new(
        index: usize,
        shared: Arc<Shared>,
        events: mpsc::UnboundedReceiver<Event>,
        starts: mpsc::Receiver<StartRequest>,
    ) -> Self {
        Self {
            index,
            shared,
            events,
            starts,
            leases: HashMap::default(),
            open: HashMap::default(),
            sagas: HashMap::default(),
            timers: BinaryHeap::new(),
            dirty: Vec::new(),
            reload: HashSet::default(),
            stuck: Vec::new(),
            postponed: Vec::new(),
            shardless: VecDeque::new(),
            starting: HashSet::new(),
            again: Vec::new(),
            rng: seed(),
        }
    }

    pub(crate) async fn run(mut self) {
        let mut events = Vec::with_capacity(BATCH_MAX);
        let mut starts = Vec::with_capacity(BATCH_MAX);
        loop {
            let wake = self.next_wake();
            tokio::select! {
                biased;
                n = self.events.recv_many(&mut events, BATCH_MAX) => {
                    if n == 0 {
                        return;
                    }
                }
                n = self.starts.recv_many(&mut starts, BATCH_MAX) => {
                    if n == 0 {
                        // The engine is gone, and nobody shut it down.
                        return;
                    }
                }
                () = sleep_until(wake) => {}
            }
            self.top_up(&mut events, &mut starts);
            for event in events.drain(..) {
                if matches!(event, Event::Stop) {
                    return;
                }
                self.on_event(event);
            }
            starts.append(&mut self.again);
            for start in starts.drain(..) {
                self.on_start(start);
            }
            self.on_time();
            self.flush().await;
            self.read_again().await;
            self.finish_drains();
        }
    }

    /// What came meanwhile goes into the same batch.
    fn top_up(&mut self, events: &mut Vec<Event>, starts: &mut Vec<StartRequest>) {
        while events.len() < BATCH_MAX {
            let Ok(event) = self.events.try_recv() else {
                break;
            };
            events.push(event);
        }
        while starts.len() + events.len() < BATCH_MAX {
            let Ok(start) = self.starts.try_recv() else {
                break;
            };
            starts.push(start);
        }
    }

    fn next_wake(&self) -> Instant {
        let soon = Instant::now() + AGAIN_AFTER;
        if !self.dirty.is_empty() || !self.again.is_empty() {
            return Instant::now();
        }
        let mut wake = Instant::now() + Duration::from_secs(60);
        if let Some(Reverse((at, _))) = self.timers.peek() {
            wake = wake.min(self.shared.clock.instant(*at));
        }
        if let Some(at) = self.stuck.iter().map(|(at, _)| *at).min() {
            wake = wake.min(at);
        }
        let waits =
            !self.postponed.is_empty() || !self.shardless.is_empty() || !self.reload.is_empty();
        if waits { wake.min(soon) } else { wake }
    }

    fn given(&mut self, hold: bool) -> Given {
        Given {
            at: self.shared.clock.now(),
            noise: self.rng.random(),
            hold,
        }
    }

    /// Takes an input in, if it still means something.
    fn feed(&mut self, saga: Uuid, input: Input, value: Option<Value>) {
        let hold = self.holds(saga);
        self.feed_held(saga, input, value, hold);
    }

    fn feed_held(&mut self, saga: Uuid, input: Input, value: Option<Value>, hold: bool) {
        let given = self.given(hold);
        let limits = self.shared.settings.limits();
        let Some(live) = self.sagas.get_mut(&saga) else {
            return;
        };
        if let Some(stuck) = &mut live.stuck {
            stuck.deferred.push((input, value));
            return;
        }
        let clean = live.pending.is_none();
        match live.feed(input, value, given, limits) {
            Ok(()) => (),
            Err(illegal) => {
                tracing::debug!(saga = %saga, %illegal, "stale input");
                return;
            }
        }
        let pointless: Vec<u16> = live.waiting.iter().map(|waiting| waiting.node).collect();
        if clean && live.pending.is_some() {
            self.dirty.push(saga);
        }
        for node in pointless {
            let live = &self.sagas[&saga];
            if live.pointless(node) || (hold && self.drains(live)) {
                self.withdraw(saga, node);
            }
        }
    }

    /// Takes back an attempt that has not begun.
    fn withdraw(&mut self, saga: Uuid, node: u16) {
        self.stop_waiting(saga, node);
        self.feed(saga, Input::Withdrawn { node }, None);
    }

    /// Whether nothing new may start in this saga.
    fn holds(&self, saga: Uuid) -> bool {
        self.sagas.get(&saga).is_some_and(|live| self.drains(live))
    }

    fn drains(&self, live: &Live) -> bool {
        let key = (live.registered.group.clone(), live.shard);
        self.leases
            .get(&key)
            .is_none_or(|held| held.draining.is_some())
    }

    fn insert(&mut self, live: Live) {
        let before = self.sagas.insert(live.saga, live);
        debug_assert!(before.is_none(), "a saga is in memory once");
        self.shared.active.fetch_add(1, Ordering::Relaxed);
    }

    /// Lets a saga go: its attempts are dropped, and whoever waits to hear is told.
    fn remove(&mut self, saga: Uuid) -> Option<Live> {
        let mut live = self.sagas.remove(&saga)?;
        self.shared.active.fetch_sub(1, Ordering::Relaxed);
        self.shared.not_alone(saga);
        for waiting in std::mem::take(&mut live.waiting) {
            self.leave_queue(&live, &waiting);
        }
        Some(live)
    }

    fn set_timer(&mut self, saga: Uuid) {
        let Some(live) = self.sagas.get_mut(&saga) else {
            return;
        };
        let next = live.next_timer();
        if let Some(next) = next
            && live.timer.is_none_or(|timer| next < timer)
        {
            live.timer = Some(next);
            self.timers.push(Reverse((next, saga)));
        }
    }

    fn refuse(start: StartRequest, error: StoreError) {
        let _ = start.reply.send(Err(error.into()));
    }
}

#[cfg(not(test))]
fn seed() -> SmallRng {
    SmallRng::from_rng(&mut rand::rng())
}

/// The same in every run, so that a simulation can be run again.
#[cfg(test)]
fn seed() -> SmallRng {
    let seed = crate::guard::SEED.with(|next| next.replace(next.get() + 1));
    SmallRng::seed_from_u64(seed)
}
