//! Which calls a rate looks at.
//!
//! No window is ever reset. Its words carry a tag made of the generation (and,
//! for time, of the bucket's number), and a writer that finds another tag
//! starts the word anew. What keeps a late writer from wiping out newer counts
//! is the order of its reads: it looks at the word first and then asks whether
//! its own generation and time are still current. If they are, what it saw
//! cannot be newer, and the compare-and-swap sees to the rest.

pub(crate) mod count;
pub(crate) mod time;

use crate::circuit::window::count::CountWindow;
use crate::circuit::window::time::TimeWindow;
use crate::policy::{Span, Window};
use crate::state::Tally;

#[derive(Debug)]
pub(crate) enum Calls {
    Count(CountWindow),
    Time(TimeWindow),
}

impl Calls {
    pub(crate) fn new(window: Window, stripes: usize) -> Self {
        match window.span {
            Span::Calls(size) => Self::Count(CountWindow::new(size)),
            Span::Time(width) => Self::Time(TimeWindow::new(width, stripes)),
        }
    }

    /// Forgets what earlier circuits counted. The tags of a count window are long enough to tell.
    pub(crate) fn clear(&self) {
        if let Self::Time(window) = self {
            window.clear();
        }
    }

    /// What this generation has counted so far.
    pub(crate) fn tally(&self, generation: u32, now: u64) -> Tally {
        match self {
            Self::Count(window) => window.tally(generation),
            Self::Time(window) => window.tally(generation, now),
        }
    }

    /// Whether a good call changes nothing. A window of time counts them all.
    #[inline]
    pub(crate) fn is_spotless(&self, generation: u32) -> bool {
        match self {
            Self::Count(window) => window.is_spotless(generation),
            Self::Time(_) => false,
        }
    }

    /// Counts one call. `current` says what time it is if the generation still is the circuit's.
    ///
    /// Gives what a bad call needs, and nothing where the call is stale or good.
    #[inline]
    pub(crate) fn record(
        &self,
        generation: u32,
        now: u64,
        stripe: usize,
        bad: bool,
        current: impl Fn() -> Option<u64>,
    ) -> Option<Bad> {
        match self {
            Self::Count(window) => {
                let counted = window.record(generation, bad, || current().is_some())?;
                bad.then(|| Bad {
                    tally: window.tally(generation),
                    spoiled: counted.spoiled,
                })
            }
            Self::Time(window) => {
                let now = window.record(generation, now, stripe, bad, current)?;
                bad.then(|| Bad {
                    tally: window.tally(generation, now),
                    spoiled: false,
                })
            }
        }
    }
}

/// A bad call that was counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bad {
    /// What the window holds with it.
    pub(crate) tally: Tally,
    /// It is the first after many good ones, of which the last were not counted.
    pub(crate) spoiled: bool,
}
