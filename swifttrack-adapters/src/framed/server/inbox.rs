//! Which requests of a client are in flight.

use std::collections::BTreeSet;

/// The ids of one connection. Knows no socket.
#[derive(Debug)]
pub(super) struct Inbox {
    window: usize,
    /// The highest that came.
    last: u64,
    /// The highest whose request was started.
    last_started: u64,
    in_flight: BTreeSet<u64>,
}

impl Inbox {
    pub(super) const fn new(window: usize) -> Self {
        Self {
            window,
            last: 0,
            last_started: 0,
            in_flight: BTreeSet::new(),
        }
    }

    /// Whether this id is above all before it, which it is taken note of.
    pub(super) const fn rises(&mut self, id: u64) -> bool {
        let rises = id > self.last;
        if rises {
            self.last = id;
        }
        rises
    }

    pub(super) fn is_in_flight(&self, id: u64) -> bool {
        self.in_flight.contains(&id)
    }

    pub(super) fn is_full(&self) -> bool {
        self.in_flight.len() >= self.window
    }

    pub(super) fn is_empty(&self) -> bool {
        self.in_flight.is_empty()
    }

    pub(super) fn start(&mut self, id: u64) {
        debug_assert!(!self.is_full(), "beyond the window");
        self.in_flight.insert(id);
        self.last_started = self.last_started.max(id);
    }

    pub(super) fn answer(&mut self, id: u64) {
        let was = self.in_flight.remove(&id);
        debug_assert!(was, "answered twice");
    }

    pub(super) const fn last_started(&self) -> u64 {
        self.last_started
    }
}
