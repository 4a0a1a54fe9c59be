//! Leave to make one call.

use std::fmt;
use std::mem;

use crate::circuit::core::Tag;
use crate::classify::Outcome;
use crate::slot::Slot;

/// Leave to make one call, from [`BreakerHandle::try_acquire`](crate::BreakerHandle::try_acquire).
///
/// It reports how the call went, once. Dropped without a report, by a
/// cancelled future or a panic, it counts as [`Outcome::Ignore`]: if it was a
/// probe, the next caller may probe.
///
/// It holds no reference count. A report that comes when the circuit has moved
/// on since (it has opened, was reset, or all its handles are gone) changes
/// nothing, and is counted as stale.
#[must_use = "dropping a ticket at once gives it back unused"]
pub struct Ticket {
    slot: &'static Slot,
    tag: Tag,
}

impl Ticket {
    #[inline]
    pub(crate) const fn new(slot: &'static Slot, tag: Tag) -> Self {
        Self { slot, tag }
    }

    /// Reports what came of the call.
    #[inline]
    pub fn finish(self, outcome: Outcome) {
        let (slot, tag) = (self.slot, self.tag);
        // Nothing is lost: a ticket owns nothing but the duty to report.
        mem::forget(self);
        slot.settle(tag, outcome);
    }

    /// The partner answered.
    pub fn success(self) {
        self.finish(Outcome::Success);
    }

    /// The partner did not do its work.
    pub fn failure(self) {
        self.finish(Outcome::Failure);
    }

    /// Gives it back.
    pub(crate) fn unused(self) {}
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.slot.settle(self.tag, Outcome::Ignore);
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("generation", &self.tag.generation())
            .finish_non_exhaustive()
    }
}
