//! What a client has done so far.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What a client has done so far, for metrics and for people.
        ///
        /// The numbers are read one after the other, so they need not agree to the last call.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Snapshot {
            $($(#[$doc])* pub $name: u64,)*
        }

        #[derive(Debug, Default)]
        pub(super) struct Counters {
            $(pub(super) $name: AtomicU64,)*
        }

        impl Counters {
            pub(super) fn snapshot(&self) -> Snapshot {
                Snapshot { $($name: self.$name.load(Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Connections that were greeted.
    connected,
    /// Attempts to connect that failed.
    connect_failures,
    /// Connections that ended, for whatever reason.
    ended,
    /// Connections that the partner asked to leave.
    going_away,
    /// Connections replaced because calls that nobody waited for held half the window.
    clogged,
    /// Requests whose frame was started.
    started,
    /// Answers that found their call in flight.
    answered,
    /// Calls withdrawn before their frame was started.
    withdrawn,
    /// Calls that ended as not applied because their connection did.
    not_applied,
    /// Calls that ended as unknown because their connection did.
    unknown,
    /// Answers to ids that were not in flight. Discarded.
    strays,
    /// Requests unanswered at this moment.
    in_flight,
    /// Those of them that nobody waits for any more.
    overdue,
    /// Calls that wait for a connection or for the window at this moment.
    waiting,
}

/// Adds one.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

/// A call that waits, counted until it is dropped.
#[derive(Debug)]
pub(super) struct Waiting(Arc<Counters>);

impl Waiting {
    pub(super) fn new(counters: Arc<Counters>) -> Self {
        count(&counters.waiting);
        Self(counters)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }
}
