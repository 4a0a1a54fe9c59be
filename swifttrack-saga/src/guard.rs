//! The guards of the engine and of a store, so that a test can take one away and see that it
//! is needed.

/// Something without which a law breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guard {
    /// A commit checks the epoch of its shard.
    Epoch,
    /// A commit checks the owner of its shard.
    Owner,
    /// A commit checks `seq`.
    Seq,
    /// A commit checks `ctl`.
    Ctl,
    /// One id is one saga.
    Dedupe,
    /// A cancel is refused past the pivot.
    PastPivot,
    /// A batch is told in order.
    Order,
    /// What may have happened is remembered as such.
    Maybe,
    /// Attempts of a process that is gone count as of unknown outcome.
    Interrupted,
    /// After an ambiguous commit, shards are taken over before anything is read back.
    Reclaim,
    /// A worker sweeps for what others made due.
    Sweep,
    /// A side effect waits for the commit that allows it.
    #[cfg(test)]
    DurableFirst,
}

impl Guard {
    /// Whether it stands: always, but in a test that took it away.
    #[cfg(not(test))]
    pub(crate) const fn stands(self) -> bool {
        let _ = self;
        true
    }

    #[cfg(test)]
    pub(crate) fn stands(self) -> bool {
        MISSING.with(|missing| missing.get() != Some(self))
    }
}

#[cfg(test)]
thread_local! {
    /// Simulations run on one thread.
    pub(crate) static MISSING: std::cell::Cell<Option<Guard>> = const { std::cell::Cell::new(None) };
    /// The seed of the next lane: no two are the same, or their sagas would have one uuid.
    pub(crate) static SEED: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}
