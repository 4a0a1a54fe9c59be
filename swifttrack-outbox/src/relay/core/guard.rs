//! The guards that the laws rest on, so that the simulation can take one away and see the law
//! break.

use super::Core;

/// One line of defence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guard {
    /// A scan leaves out the rows that are on their way.
    SkipInFlight,
    /// A page leaves out the rows that were deleted while it was read.
    SkipSettled,
    /// A row is deleted after its acknowledgement only.
    DeleteAfterAck,
    /// A new connection reads the backlog again.
    ScanAfterReconnect,
    /// A slot that was gained has its backlog read.
    ScanAfterGain,
    /// Nothing is handed over after the trust deadline, and what is queued is purged.
    TrustDeadline,
    /// A slot is given back when nothing of it is under way.
    DrainBeforeRelease,
    /// Nothing is published on a producer that has failed.
    CloseAfterFailure,
    /// Rows of a refused request are sent as requests of their own.
    SingleSuspects,
    /// A key whose row was refused publishes nothing.
    BlockKey,
    /// A topic that is away publishes nothing until all of its rows were read again.
    PauseTopic,
}

impl<P> Core<P> {
    /// True, but in a simulation that took the guard away.
    #[cfg(not(test))]
    #[inline]
    pub(super) const fn guarded(&self, _guard: Guard) -> bool {
        true
    }

    #[cfg(test)]
    pub(super) fn guarded(&self, guard: Guard) -> bool {
        self.removed != Some(guard)
    }
}
