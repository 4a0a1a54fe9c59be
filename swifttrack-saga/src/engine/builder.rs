//! How an engine is set up.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use uuid::Uuid;

use crate::engine::Engine;
use crate::engine::error::Error;
use crate::engine::keeper::Keeper;
use crate::engine::lane::Lane;
use crate::engine::meter;
use crate::engine::registry::{Registered, Registry, With};
use crate::engine::shared::{LANES, LaneSender, STARTS_MAX, Settings, Shared};
use crate::payload::PayloadCodec;
use crate::saga::Saga;
use crate::store::{Store, WorkerId};
use crate::trace::TraceLink;

/// What an engine is made of. Made by [`Engine::builder`].
///
/// # Defaults
///
/// - `lease`: 15 s
/// - `active_max`: 20,000 sagas in memory
/// - `attention_after`: 10 failures, 15 minutes blocked
/// - `sweep_every`: 2 s
/// - `crashes_max`: 3
/// - `retention`: for ever
#[must_use = "an engine begins with `spawn`"]
pub struct EngineBuilder {
    pub(super) store: Arc<dyn Store>,
    pub(super) registry: Registry,
    clash: Option<Error>,
    settings: Settings,
    with: With,
}

impl EngineBuilder {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            registry: Registry::default(),
            clash: None,
            settings: Settings {
                lease: Duration::from_secs(15),
                active_max: 20_000,
                attention_failures: 10,
                attention_blocked: Duration::from_mins(15),
                sweep_every: Duration::from_secs(2),
                crashes_max: 3,
                retention: None,
            },
            with: With::default(),
        }
    }

    /// Knows this saga: any number of definitions, and several versions of each.
    pub fn register<I, O>(mut self, saga: &Saga<I, O>) -> Self {
        if let Err(clash) = self.registry.add(Registered::new(saga)) {
            self.clash.get_or_insert(clash);
        }
        self
    }

    /// How long others wait before they take over what this process held when it dies. It is
    /// renewed three times as often. From 100 ms to an hour.
    pub fn lease(mut self, lease: Duration) -> Self {
        let (least, most) = (Duration::from_millis(100), Duration::from_hours(1));
        self.settings.lease = lease.clamp(least, most);
        self
    }

    /// So many sagas are in memory at most; the others wait in the store.
    pub fn active_max(mut self, sagas: usize) -> Self {
        self.settings.active_max = sagas.max(1);
        self
    }

    /// After how many failures in a row of an undo (or of a step after the pivot), or how
    /// long a refusal, a saga asks for a person's eyes while it goes on trying.
    pub fn attention_after(mut self, failures: u32, blocked: Duration) -> Self {
        self.settings.attention_failures = failures.max(1);
        self.settings.attention_blocked = blocked;
        self
    }

    /// How often it looks for what others made due, without a hint. At most 2 s.
    pub fn sweep_every(mut self, pause: Duration) -> Self {
        let (least, most) = (Duration::from_millis(10), Duration::from_secs(2));
        self.settings.sweep_every = pause.clamp(least, most);
        self
    }

    /// A saga that was running when its process died so many times in a row is a suspect: from
    /// then on one suspect runs at a time in a process, and one whose process dies once more is
    /// parked. A step that succeeds clears its saga.
    pub fn crashes_max(mut self, crashes: i16) -> Self {
        self.settings.crashes_max = crashes.max(1);
        self
    }

    /// Deletes sagas that ended longer ago than this, with their journals and their ids (which
    /// can be started anew then), in batches of 1000, for a third of the time while there are more.
    pub fn retention(mut self, age: Duration) -> Self {
        self.settings.retention = Some(age);
        self
    }

    /// What lies between payloads and the store, such as an
    /// [encryption](crate::payload::Encrypted). All processes on one store have the same.
    pub fn payload_codec(mut self, codec: impl PayloadCodec) -> Self {
        self.with.codec = Some(Arc::new(codec));
        self
    }

    /// Ties the spans of sagas to the trace of whoever started them, over restarts.
    pub fn trace_link(mut self, link: impl TraceLink) -> Self {
        self.with.trace = Some(Arc::new(link));
        self
    }

    /// Registers this process as a worker, takes its share of the shards, and begins.
    ///
    /// # Errors
    ///
    /// When the store cannot be used, its tables are missing or a newer version's, or a definition has [changed](Error::is_changed) under its
    /// version: from another that is registered here, or from how the store first saw it.
    /// Nothing is then written; but of a store that fails half-way this process's row, and shards
    /// that it took, are kept from others until its lease ends.
    pub async fn spawn(mut self) -> Result<Engine, Error> {
        self.check()?;
        meter::describe();
        self.registry.meter();
        let mut senders = Vec::with_capacity(LANES);
        let mut receivers = Vec::with_capacity(LANES);
        for _ in 0..LANES {
            let (events, events_in) = mpsc::unbounded_channel();
            let (starts, starts_in) = mpsc::channel(STARTS_MAX);
            senders.push(LaneSender { events, starts });
            receivers.push((events_in, starts_in));
        }
        let worker = WorkerId(Uuid::now_v7());
        let shared = Arc::new(Shared::new(
            self.store,
            self.registry,
            self.with,
            self.settings,
            senders,
            worker,
        ));
        let keeper = Keeper::begin(shared.clone()).await?;
        let lanes = receivers.into_iter().enumerate();
        let lanes = lanes.map(|(index, (events, starts))| {
            tokio::spawn(Lane::new(index, shared.clone(), events, starts).run())
        });
        tokio::spawn(keeper.run(lanes.collect()));
        Ok(Engine { shared })
    }

    /// Refuses definitions that clash, and makes the others ready.
    pub(super) fn check(&mut self) -> Result<(), Error> {
        self.registry.with(&self.with);
        self.clash.take().map_or(Ok(()), Err)
    }
}

impl fmt::Debug for EngineBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineBuilder")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
