//! A partner that keeps its word, behind a network that does not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::time::Instant;

use super::seat::Seat;
use crate::error::{ForwardError, NotYet, StepError};
use crate::hook::Transition;
use crate::step::{Attempt, Compensate, Evidence, ForwardStep, Resolution, Step};

/// What everybody knows: the partner's ledger, what the journal allows, and what went wrong.
#[derive(Clone)]
pub(crate) struct Ledger {
    inner: Arc<Mutex<Inner>>,
}

pub(crate) struct Inner {
    pub(crate) rng: SmallRng,
    began: Instant,
    /// By key: effects that stand.
    pub(crate) live: BTreeSet<String>,
    tombstones: BTreeSet<String>,
    /// Keys in the order of their undoing.
    pub(crate) undone: Vec<String>,
    /// Keys that a durable transition has allowed.
    allowed: BTreeSet<String>,
    /// The last transition of each saga that the hook was told of.
    told: BTreeMap<String, u32>,
    pub(crate) story: Vec<String>,
    pub(crate) broken: Vec<String>,
    /// Faults may happen.
    pub(crate) trouble: bool,
}

impl Ledger {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            inner: Arc::new(Mutex::new(Inner {
                rng: SmallRng::seed_from_u64(seed),
                began: Instant::now(),
                live: BTreeSet::new(),
                tombstones: BTreeSet::new(),
                undone: Vec::new(),
                allowed: BTreeSet::new(),
                told: BTreeMap::new(),
                story: Vec::new(),
                broken: Vec::new(),
                trouble: true,
            })),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn tell(&self, what: impl Into<String>) {
        self.lock().tell(what);
    }

    /// One time in `of`, while faults may happen.
    pub(crate) fn chance(&self, of: u32) -> bool {
        let mut inner = self.lock();
        inner.trouble && inner.rng.random_ratio(1, of)
    }

    pub(crate) fn below(&self, most: u64) -> u64 {
        self.lock().rng.random_range(0..most)
    }

    /// Hears of transitions as they are committed.
    pub(crate) fn hook(&self, batch: &[&Transition]) {
        let mut inner = self.lock();
        for transition in batch {
            let (id, seq) = (transition.id.to_string(), transition.seq);
            inner.tell(format!("{id} #{seq} {:?}", transition.what));
            let before = inner.told.insert(id.clone(), seq).unwrap_or(0);
            if seq != before + 1 {
                inner.fault(format!("{id}: transition {seq} was told after {before}"));
            }
            for step in &transition.starts {
                inner.allowed.insert(format!("{id}:{step}"));
            }
            for step in &transition.undoes {
                inner.allowed.insert(format!("{id}:{step}:undo"));
            }
        }
    }

    /// A request arrives. False if the partner refuses it.
    fn arrive(&self, key: &str) -> bool {
        let mut inner = self.lock();
        if inner.tombstones.contains(key) {
            inner.tell(format!("partner refuses {key}: undone"));
            return false;
        }
        if inner.live.insert(key.to_owned()) {
            inner.tell(format!("partner does {key}"));
        }
        true
    }

    async fn forward(&self, seat: &Seat, attempt: &Attempt) -> Result<u32, StepError> {
        seat.thaw().await;
        let key = attempt.key().to_owned();
        let (fault, pause) = {
            let mut inner = self.lock();
            if !inner.allowed.contains(&key) {
                inner.fault(format!("{key} was sent before it was allowed"));
            }
            let fault = match inner.trouble {
                true => inner.rng.random_range(0..20),
                false => 99,
            };
            let pause = Duration::from_millis(inner.rng.random_range(0..800));
            inner.tell(format!("{} sends {key} ({fault})", seat.name));
            (fault, pause)
        };
        tokio::time::sleep(pause).await;
        let refused = || StepError::rejected("TOMBSTONE", "undone before");
        let known = self.lock().live.contains(&key);
        match fault {
            0 if !known => Err(StepError::rejected("NO", "no")),
            1 => Err(StepError::retry("BUSY", "busy")),
            2 => Err(StepError::unknown("LOST", "the request was lost")),
            3 | 4 => match self.arrive(&key) {
                true => Err(StepError::unknown("RESET", "the answer was lost")),
                false => Err(refused()),
            },
            5 => {
                // It is on its way for longer than anybody waits.
                let (ledger, late) = (self.clone(), Duration::from_millis(self.below(8000)));
                tokio::spawn(async move {
                    tokio::time::sleep(late).await;
                    ledger.arrive(&key);
                });
                Err(StepError::unknown("LATE", "nothing was heard"))
            }
            6 => std::future::pending().await,
            7 => Err(StepError::blocked("partner", Duration::from_secs(1))),
            _ => match self.arrive(&key) {
                true => Ok(attempt.number()),
                false => Err(refused()),
            },
        }
    }

    async fn resolve(&self, seat: &Seat, attempt: &Attempt) -> Resolution<u32> {
        seat.thaw().await;
        let done = self.lock().live.contains(attempt.key());
        match (done, self.chance(3)) {
            (_, true) => Resolution::CannotTell,
            (true, false) => Resolution::Done(0),
            (false, false) => Resolution::NotYet,
        }
    }

    async fn undo(&self, seat: &Seat, attempt: &Attempt, maybe: bool) -> Result<(), NotYet> {
        seat.thaw().await;
        let undo_key = attempt.key().to_owned();
        let key = undo_key.trim_end_matches(":undo").to_owned();
        let (fault, pause) = {
            let mut inner = self.lock();
            if !inner.allowed.contains(&undo_key) {
                inner.fault(format!("{undo_key} was sent before it was allowed"));
            }
            let fault = match inner.trouble {
                true => inner.rng.random_range(0..10),
                false => 99,
            };
            let pause = Duration::from_millis(inner.rng.random_range(0..500));
            inner.tell(format!(
                "{} sends {undo_key} maybe={maybe} ({fault})",
                seat.name
            ));
            (fault, pause)
        };
        tokio::time::sleep(pause).await;
        if fault == 0 {
            return Err(NotYet::new("BUSY", "busy"));
        }
        {
            let mut inner = self.lock();
            let first = inner.tombstones.insert(key.clone());
            inner.live.remove(&key);
            if first {
                inner.undone.push(key.clone());
                inner.tell(format!("partner undoes {key}"));
            }
        }
        if fault == 1 {
            return Err(NotYet::new("RESET", "the answer was lost"));
        }
        Ok(())
    }
}

impl Inner {
    pub(crate) fn tell(&mut self, what: impl Into<String>) {
        let at = self.began.elapsed().as_millis();
        self.story.push(format!("{at:>7} ms  {}", what.into()));
    }

    pub(crate) fn fault(&mut self, what: String) {
        self.tell(format!("BROKEN: {what}"));
        self.broken.push(what);
    }
}

/// A step at the partner.
pub(crate) struct Act(pub(crate) Ledger, pub(crate) Seat);

impl Step for Act {
    const NAME: &'static str = "act";
    type In = u32;
    type Out = u32;

    async fn run(&self, attempt: &Attempt, _: &u32) -> Result<u32, StepError> {
        self.0.forward(&self.1, attempt).await
    }

    async fn resolve(&self, attempt: &Attempt, _: &u32) -> Result<Resolution<u32>, NotYet> {
        Ok(self.0.resolve(&self.1, attempt).await)
    }
}

impl Compensate for Act {
    async fn undo(&self, attempt: &Attempt, _: &u32, known: Evidence<&u32>) -> Result<(), NotYet> {
        let maybe = matches!(known, Evidence::Maybe);
        self.0.undo(&self.1, attempt, maybe).await
    }
}

/// A step at the partner, after the pivot.
pub(crate) struct Onward(pub(crate) Ledger, pub(crate) Seat);

impl ForwardStep for Onward {
    const NAME: &'static str = "onward";
    type In = u32;
    type Out = u32;

    async fn run(&self, attempt: &Attempt, _: &u32) -> Result<u32, ForwardError> {
        let outcome = self.0.forward(&self.1, attempt).await;
        outcome.map_err(|error| ForwardError::unknown("ONWARD", error))
    }

    async fn resolve(&self, attempt: &Attempt, _: &u32) -> Result<Resolution<u32>, NotYet> {
        Ok(self.0.resolve(&self.1, attempt).await)
    }
}
