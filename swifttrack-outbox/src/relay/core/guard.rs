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
    /// A group's backlog is read after whoever had it before can publish no more.
    FenceBeforeScan,
    /// And after what that one published and did not delete is deleted.
    DeleteMarkedBeforeScan,
    /// A marker lists the published rows whose delete is not confirmed, not only its own.
    MarkUnconfirmed,
    /// A marker does not list a row that was left out of its transaction: the publisher's part.
    #[cfg(test)]
    MarkPublishedOnly,
    /// A refused row blocks its key only after the rows before it were published.
    BuryInOrder,
    /// A new producer fences its groups again: what the last one had in flight may be published.
    FenceEachProducer,
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
