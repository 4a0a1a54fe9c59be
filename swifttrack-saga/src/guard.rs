//! The guards of the engine and of a store, so that a test can take one away and see that it
//! is needed. Those of the SQL stores are words of their statements.

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

/// The words of a statement: as they stand, but in a test that took some out.
#[cfg(all(not(test), any(feature = "postgres", feature = "sqlite")))]
pub(crate) const fn words(sql: &'static str) -> &'static str {
    sql
}

#[cfg(all(test, any(feature = "postgres", feature = "sqlite")))]
pub(crate) fn words(sql: &'static str) -> &'static str {
    let plain = sql.split_whitespace().collect::<Vec<_>>().join(" ");
    REWORDED.with_borrow_mut(|reworded| match reworded {
        Some(Reworded {
            without,
            instead,
            met,
        }) if plain.contains(*without) => {
            *met += 1;
            plain.replace(*without, instead).leak()
        }
        _ => sql,
    })
}

/// What stands in statements instead of other words, and how many statements had these.
#[cfg(all(test, any(feature = "postgres", feature = "sqlite")))]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reworded {
    /// With single spaces, however the statement is laid out.
    pub(crate) without: &'static str,
    pub(crate) instead: &'static str,
    pub(crate) met: usize,
}

#[cfg(all(test, any(feature = "postgres", feature = "sqlite")))]
thread_local! {
    /// A test of a store runs on one thread, up to the driver.
    pub(crate) static REWORDED: std::cell::RefCell<Option<Reworded>> =
        const { std::cell::RefCell::new(None) };
}

#[cfg(test)]
thread_local! {
    /// Simulations run on one thread.
    pub(crate) static MISSING: std::cell::Cell<Option<Guard>> = const { std::cell::Cell::new(None) };
    /// The seed of the next lane: no two are the same, or their sagas would have one uuid.
    pub(crate) static SEED: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}
