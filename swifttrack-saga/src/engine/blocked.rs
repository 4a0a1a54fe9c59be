//! Attempts that wait for the way to a partner to open.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use crate::engine::gate::Ticket;

/// Who waits for what, oldest first. Bounded by the sagas in memory.
#[derive(Debug, Default)]
pub(crate) struct Blocked {
    // A std mutex, since nothing is awaited while it is held.
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    waiting: HashMap<Arc<str>, BTreeMap<u64, Ticket>>,
    /// How often each was woken: a refusal from before the last time is stale.
    woken: HashMap<Arc<str>, u64>,
    wakes: u64,
}

impl Blocked {
    /// A place in the order of those who wait, kept over repeated refusals of one attempt.
    pub(crate) fn turn(&self) -> u64 {
        let mut inner = self.lock();
        inner.next += 1;
        inner.next
    }

    /// How often anybody was woken: taken when an attempt begins.
    pub(crate) fn wakes(&self) -> u64 {
        self.lock().wakes
    }

    /// Waits, unless `on` was woken since the attempt began. True if it waits.
    pub(crate) fn wait(&self, on: &Arc<str>, turn: u64, ticket: Ticket, began: u64) -> bool {
        let mut inner = self.lock();
        if inner.woken.get(on).is_some_and(|woken| *woken > began) {
            return false;
        }
        let waiting = inner.waiting.entry(on.clone()).or_default();
        waiting.insert(turn, ticket);
        true
    }

    /// Stops waiting.
    pub(crate) fn give_up(&self, on: &Arc<str>, turn: u64) {
        let mut inner = self.lock();
        if let Some(waiting) = inner.waiting.get_mut(on) {
            waiting.remove(&turn);
            if waiting.is_empty() {
                inner.waiting.remove(on);
            }
        }
    }

    /// Everybody who waits for `on`, oldest first.
    pub(crate) fn wake(&self, on: &str) -> Vec<Ticket> {
        let mut inner = self.lock();
        inner.wakes += 1;
        let wakes = inner.wakes;
        inner.woken.insert(on.into(), wakes);
        let waiting = inner.waiting.remove(on).unwrap_or_default();
        waiting.into_values().collect()
    }

    /// How many wait, by what they wait for.
    pub(crate) fn count(&self) -> Vec<(Arc<str>, usize)> {
        let inner = self.lock();
        let waiting = inner.waiting.iter();
        let mut counts: Vec<_> = waiting.map(|(on, who)| (on.clone(), who.len())).collect();
        counts.sort();
        counts
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
