//! Many circuits, by name.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use crate::clock::Clock;
use crate::config::BreakerConfig;
use crate::events::{Hub, Transitions};
use crate::handle::BreakerHandle;
use crate::policy::whole_ms;
use crate::state::Snapshot;

/// Circuits by name or by key: one a partner, a tenant, a host.
///
/// At most [`cap`](Self::with_cap) of them are kept. When that many are there,
/// a new key takes the place of one that nobody holds, that is closed and has
/// no failure on record. If all are held or in trouble, it gets the shared
/// [`overflow`](Self::overflow) circuit: forgetting that a partner is down, to
/// remember one that nobody has called yet, would be the wrong way round.
///
/// Clones are the same registry.
///
/// # Defaults
///
/// - `cap`: 10,000
///
/// # Examples
///
/// ```
/// use swifttrack_breaker::{BreakerConfig, Registry, State};
///
/// let partners = Registry::new(BreakerConfig::new().trip_after(1));
/// partners.get("wms.example").try_acquire()?.failure();
/// assert_eq!(partners.get("wms.example").state(), State::Open);
/// assert_eq!(partners.get("ros.example").state(), State::Closed);
/// # Ok::<(), swifttrack_breaker::Refused>(())
/// ```
#[derive(Clone, Debug)]
pub struct Registry(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: BreakerConfig,
    cap: usize,
    len: AtomicUsize,
    hasher: RandomState,
    shards: [RwLock<Shard>; SHARDS],
    overflow: BreakerHandle,
    hub: Arc<Hub>,
}

type Shard = HashMap<Arc<str>, Entry>;

#[derive(Debug)]
struct Entry {
    circuit: BreakerHandle,
    /// On the coarse clock, which is good enough to know who is idle.
    used: AtomicU64,
}

const SHARDS: usize = 16;

/// How many circuits are looked at, at most, to find one that can go.
const EVICTION_SCAN_MAX: usize = 256;

impl Registry {
    /// Circuits of this configuration, at most 10,000.
    #[must_use]
    pub fn new(config: BreakerConfig) -> Self {
        Self::with_cap(config, 10_000)
    }

    /// Circuits of this configuration, at most `cap`.
    #[must_use]
    pub fn with_cap(config: BreakerConfig, cap: usize) -> Self {
        let hub = Arc::new(Hub::new());
        Self(Arc::new(Inner {
            config,
            cap,
            len: AtomicUsize::new(0),
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| RwLock::default()),
            overflow: BreakerHandle::listed("overflow".into(), config, Some(Arc::clone(&hub))),
            hub,
        }))
    }

    /// The circuit of this key; made if there is none yet.
    #[must_use]
    pub fn get(&self, key: &str) -> BreakerHandle {
        self.get_with(key, self.0.config)
    }

    /// The same with a configuration of its own, which matters only if it is made now.
    #[must_use]
    pub fn get_with(&self, key: &str, config: BreakerConfig) -> BreakerHandle {
        if let Some(circuit) = self.find(key) {
            return circuit;
        }
        let inner = &*self.0;
        let placed = inner.reserve() || (inner.evict_one() && inner.reserve());
        if !placed {
            return inner.overflow.clone();
        }
        let name: Arc<str> = key.into();
        let made = BreakerHandle::listed(Arc::clone(&name), config, Some(Arc::clone(&inner.hub)));
        let mut shard = inner.write(inner.shard_of(key));
        if let Some(other) = shard.get(key) {
            // Another thread was faster.
            inner.len.fetch_sub(1, Ordering::Relaxed);
            return other.circuit.clone();
        }
        let entry = Entry {
            circuit: made.clone(),
            used: AtomicU64::new(Clock::coarse().now()),
        };
        shard.insert(name, entry);
        made
    }

    /// The circuit of this key, if there is one.
    #[must_use]
    pub fn find(&self, key: &str) -> Option<BreakerHandle> {
        let shard = self.0.read(self.0.shard_of(key));
        let entry = shard.get(key)?;
        entry.used.store(Clock::coarse().now(), Ordering::Relaxed);
        Some(entry.circuit.clone())
    }

    /// The circuit that those share who found no place.
    #[must_use]
    pub fn overflow(&self) -> &BreakerHandle {
        &self.0.overflow
    }

    /// How many circuits there are, the overflow not counted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len.load(Ordering::Relaxed)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All circuits as they are now, by name.
    #[must_use]
    pub fn snapshots(&self) -> Vec<Snapshot> {
        let mut all = Vec::with_capacity(self.len());
        for shard in 0..SHARDS {
            // Held while the shard is copied, and not while the snapshots are made.
            let circuits: Vec<_> = self
                .0
                .read(shard)
                .values()
                .map(|entry| entry.circuit.clone())
                .collect();
            all.extend(circuits.iter().map(BreakerHandle::snapshot));
        }
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }

    /// Listens to the transitions of all circuits, from now on.
    #[must_use]
    pub fn subscribe(&self) -> Transitions {
        self.0.hub.subscribe()
    }

    /// Forgets the circuits that nobody holds, that are healthy, and that were not asked for in this time; says how many.
    pub fn evict_idle(&self, idle: Duration) -> usize {
        let oldest = Clock::coarse().now().saturating_sub(whole_ms(idle));
        let mut evicted = 0;
        for shard in 0..SHARDS {
            let mut gone = Vec::new();
            let mut entries = self.0.write(shard);
            entries.retain(|_, entry| {
                let goes = entry.can_go() && entry.used.load(Ordering::Relaxed) <= oldest;
                if goes {
                    gone.push(entry.circuit.clone());
                }
                !goes
            });
            self.0.len.fetch_sub(gone.len(), Ordering::Relaxed);
            drop(entries);
            evicted += gone.len();
        }
        evicted
    }
}

impl Inner {
    fn shard_of(&self, key: &str) -> usize {
        self.hasher.hash_one(key) as usize % SHARDS
    }

    fn read(&self, shard: usize) -> RwLockReadGuard<'_, Shard> {
        self.shards[shard]
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, shard: usize) -> RwLockWriteGuard<'_, Shard> {
        self.shards[shard]
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place, if one is free.
    fn reserve(&self) -> bool {
        let room = |len| (len < self.cap).then_some(len + 1);
        self.len
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, room)
            .is_ok()
    }

    /// Forgets the one that was idle longest among the first that can go.
    fn evict_one(&self) -> bool {
        let first = self.hasher.hash_one(self.len.load(Ordering::Relaxed)) as usize;
        let mut left = EVICTION_SCAN_MAX;
        for shard in (0..SHARDS).map(|step| (first + step) % SHARDS) {
            let mut entries = self.write(shard);
            let looked_at = left.min(entries.len());
            left -= looked_at;
            let oldest = entries
                .iter()
                .take(looked_at)
                .filter(|(_, entry)| entry.can_go())
                .min_by_key(|(_, entry)| entry.used.load(Ordering::Relaxed))
                .map(|(key, _)| Arc::clone(key));
            if let Some(key) = oldest {
                let gone = entries.remove(&key);
                self.len.fetch_sub(1, Ordering::Relaxed);
                drop(entries);
                drop(gone);
                return true;
            }
            if left == 0 {
                return false;
            }
        }
        false
    }
}

impl Entry {
    /// Asked under the shard's lock for writing, where no new handle can come from.
    fn can_go(&self) -> bool {
        self.circuit.is_only() && self.circuit.is_healthy()
    }
}
