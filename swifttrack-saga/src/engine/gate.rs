//! How many of one step run at a time.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

/// Lets `max` in; the rest wait in the order in which they came. Who waits is bounded by the
/// sagas in memory.
#[derive(Debug)]
pub(crate) struct Gate {
    max: usize,
    // A std mutex, since nothing is awaited while it is held.
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    inside: usize,
    queue: VecDeque<Ticket>,
}

/// Who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) lane: usize,
    pub(crate) saga: Uuid,
    pub(crate) node: u16,
}

impl Gate {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max,
            inner: Mutex::default(),
        }
    }

    /// Goes in, or waits. True if it is in.
    pub(crate) fn enter(&self, ticket: Ticket) -> bool {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.inside < self.max {
            inner.inside += 1;
            return true;
        }
        inner.queue.push_back(ticket);
        false
    }

    /// Goes out; returns who goes in instead.
    pub(crate) fn leave(&self) -> Option<Ticket> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let next = inner.queue.pop_front();
        if next.is_none() {
            inner.inside -= 1;
        }
        next
    }

    /// Stops waiting. False if it was let in before.
    pub(crate) fn give_up(&self, ticket: Ticket) -> bool {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let place = inner.queue.iter().position(|other| *other == ticket);
        place.is_some_and(|place| inner.queue.remove(place).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(node: u16) -> Ticket {
        Ticket {
            lane: 0,
            saga: Uuid::nil(),
            node,
        }
    }

    #[test]
    fn who_waits_goes_in_by_turn_and_a_place_is_never_lost() {
        let gate = Gate::new(1);
        assert!(gate.enter(ticket(0)));
        assert!(!gate.enter(ticket(1)));
        assert!(!gate.enter(ticket(2)));
        assert!(gate.give_up(ticket(1)));
        assert_eq!(gate.leave(), Some(ticket(2)));
        assert_eq!(gate.leave(), None);
        assert!(gate.enter(ticket(3)));
        assert!(!gate.give_up(ticket(3)));
    }
}
