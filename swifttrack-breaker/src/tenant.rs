//! What a circuit has beside its core: a name, listeners, waiters, metrics.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use crate::circuit::core::Move;
use crate::circuit::word::{GENERATION_MASK, Phase};
use crate::classify::Outcome;
use crate::config::BreakerConfig;
use crate::events::Hub;
use crate::meter::Meters;
use crate::shadow::{LiveShadow, SHADOWS_MAX, Shadow};
use crate::slot::Slot;
use crate::state::{Reason, Snapshot, State, Transition};
use crate::wait::Waiting;

#[derive(Debug)]
pub(crate) struct Tenant {
    slot: &'static Slot,
    name: Arc<str>,
    /// A std mutex, since nothing is awaited while it is held.
    ledger: Mutex<Ledger>,
    hub: Hub,
    /// Of the registry that this circuit belongs to.
    above: Option<Arc<Hub>>,
    waiting: Arc<Waiting>,
    meters: Option<Meters>,
    /// A std mutex, since nothing is awaited while it is held.
    shadows: Mutex<Vec<Watcher>>,
}

/// A shadow, for as long as somebody holds it.
#[derive(Debug)]
struct Watcher {
    name: Arc<str>,
    shadow: Weak<Mutex<Shadow>>,
}

/// Puts transitions in order: threads make them one at a time, by generation,
/// but may come here to tell of them in any order.
#[derive(Debug)]
struct Ledger {
    next: u32,
    /// Transitions whose predecessor has not been told yet: at most one a thread.
    held: Vec<Move>,
    seq: u64,
    /// Failures in a row, as shown while the circuit is not closed.
    run: u32,
}

impl Tenant {
    pub(crate) fn new(name: Arc<str>, config: BreakerConfig, above: Option<Arc<Hub>>) -> Arc<Self> {
        let slot = Slot::take(config);
        let tenant = Arc::new(Self {
            slot,
            meters: config.metrics.then(|| Meters::new(&name)),
            name,
            ledger: Mutex::new(Ledger {
                next: following(slot.core.word().generation()),
                held: Vec::new(),
                seq: 0,
                run: 0,
            }),
            hub: Hub::new(),
            above,
            waiting: Arc::default(),
            shadows: Mutex::default(),
        });
        slot.settle_in(&tenant);
        tenant
    }

    pub(crate) const fn slot(&self) -> &'static Slot {
        self.slot
    }

    pub(crate) const fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(crate) const fn hub(&self) -> &Hub {
        &self.hub
    }

    pub(crate) const fn waiting(&self) -> &Arc<Waiting> {
        &self.waiting
    }

    /// Tells of a transition, and of those that had to wait for it.
    pub(crate) fn publish(&self, moved: Move) {
        let told = {
            let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
            let moves = ledger.in_order(moved);
            // Sent under the lock, which is what keeps the order; a channel runs none of our callers' code.
            let tell = |moved| {
                let transition = self.transition(&mut ledger, moved);
                self.hub.send(&transition);
                if let Some(above) = &self.above {
                    above.send(&transition);
                }
                transition
            };
            moves.into_iter().map(tell).collect::<Vec<_>>()
        };
        for transition in &told {
            trace(transition);
            if let Some(meters) = &self.meters {
                meters.moved(transition);
            }
        }
        self.waiting.nudge();
        self.flush();
    }

    /// Hands what was counted to the metrics recorder.
    pub(crate) fn flush(&self) {
        if let Some(meters) = &self.meters {
            meters.flush(self.slot);
        }
    }

    pub(crate) fn watch_with(&self, name: Arc<str>, config: BreakerConfig) -> Option<LiveShadow> {
        let mut shadows = self.shadows.lock().unwrap_or_else(PoisonError::into_inner);
        shadows.retain(|watcher| watcher.shadow.strong_count() != 0);
        if shadows.len() == SHADOWS_MAX {
            return None;
        }
        let shadow = Arc::new(Mutex::new(Shadow::new(config)));
        shadows.push(Watcher {
            name: Arc::clone(&name),
            shadow: Arc::downgrade(&shadow),
        });
        self.slot.set_watched(true);
        Some(LiveShadow { name, shadow })
    }

    /// Shows one outcome to the shadows.
    pub(crate) fn show(&self, outcome: Outcome, now: Option<u64>, took: Option<u64>) {
        let now = now.unwrap_or_else(|| self.slot.core.config().clock.now());
        let mut shadows = self.shadows.lock().unwrap_or_else(PoisonError::into_inner);
        let mut tripped = Vec::new();
        shadows.retain(|watcher| {
            let Some(shadow) = watcher.shadow.upgrade() else {
                return false;
            };
            let mut shadow = shadow.lock().unwrap_or_else(PoisonError::into_inner);
            let trip = shadow.feed(
                Duration::from_millis(now),
                outcome,
                took.map(Duration::from_millis),
            );
            tripped.extend(trip.map(|trip| (Arc::clone(&watcher.name), trip)));
            true
        });
        if shadows.is_empty() {
            self.slot.set_watched(false);
        }
        drop(shadows);
        for (shadow, trip) in tripped {
            tracing::info!(circuit = %self.name, %shadow, reason = %trip.reason, "shadow would have opened");
        }
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.flush();
        let ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let word = self.slot.core.word();
        let refusal = self
            .slot
            .refusal()
            .filter(|_| word.state() != State::ForcedOpen);
        let (consecutive_failures, probes_running) = match word.phase() {
            Phase::Closed { failures } | Phase::Observe { failures } => (failures, 0),
            Phase::HalfOpen { running, .. } => (ledger.run, running),
            _ => (ledger.run, 0),
        };
        drop(ledger);
        Snapshot {
            name: Arc::clone(&self.name),
            state: word.state(),
            consecutive_failures,
            last_failure: self.slot.last_failure(),
            until: refusal.as_ref().and_then(|refused| refused.until()),
            retry_after: refusal.as_ref().and_then(|refused| refused.retry_after()),
            probes_running,
            waiting: self.waiting.len(),
            counts: self.slot.counts(),
        }
    }

    fn transition(&self, ledger: &mut Ledger, moved: Move) -> Transition {
        ledger.seq += 1;
        let run = match moved.from.phase() {
            Phase::Closed { failures } | Phase::Observe { failures } => failures,
            _ => ledger.run,
        };
        let run = if moved.failed {
            run.saturating_add(1)
        } else {
            run
        };
        ledger.run = match moved.to.state() {
            State::Closed => 0,
            _ => run,
        };
        let (until, would_open) = match moved.to.phase() {
            Phase::Open { until, .. } => (Some(until), false),
            Phase::ObserveOpen { until } => (Some(until), true),
            _ => (None, false),
        };
        Transition {
            seq: ledger.seq,
            name: Arc::clone(&self.name),
            from: moved.from.state(),
            to: moved.to.state(),
            reason: moved.reason,
            at: SystemTime::now(),
            consecutive_failures: run,
            rate: moved.rate,
            open_for: until.map(|until| Duration::from_millis(until.saturating_sub(moved.now))),
            would_open,
            flight: match until {
                Some(_) => self.slot.flight(moved.now).into(),
                None => Arc::default(),
            },
        }
    }
}

impl Drop for Tenant {
    fn drop(&mut self) {
        self.flush();
        self.slot.retire();
        self.waiting.nudge();
    }
}

impl Ledger {
    /// What can be told now that this one has come.
    fn in_order(&mut self, moved: Move) -> Vec<Move> {
        let ahead = moved.to.generation().wrapping_sub(self.next) & GENERATION_MASK;
        if GENERATION_MASK / 2 < ahead {
            // Of the circuit that lived here before.
            return Vec::new();
        }
        self.held.push(moved);
        let mut told = Vec::new();
        while let Some(place) = self
            .held
            .iter()
            .position(|held| held.to.generation() == self.next)
        {
            told.push(self.held.swap_remove(place));
            self.next = following(self.next);
        }
        told
    }
}

const fn following(generation: u32) -> u32 {
    generation.wrapping_add(1) & GENERATION_MASK
}

fn trace(moved: &Transition) {
    let Transition {
        name,
        from,
        to,
        reason,
        consecutive_failures,
        ..
    } = moved;
    if moved.would_open {
        tracing::warn!(circuit = %name, %reason, consecutive_failures, "circuit would open");
    } else if *to == State::Open {
        let open_ms = moved.open_for.map(|time| time.as_millis());
        tracing::warn!(circuit = %name, %from, %reason, consecutive_failures, open_ms, "circuit opened");
    } else if *reason == Reason::LeaseExpired {
        tracing::warn!(circuit = %name, "probe did not come back in its lease");
    } else {
        tracing::info!(circuit = %name, %from, %to, %reason, "circuit changed");
    }
}
