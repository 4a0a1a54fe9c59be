//! The whole state of a circuit in one word.
//!
//! ```text
//!   63  61 60            41 40                                   0
//!  ┌──────┬────────────────┬──────────────────────────────────────┐
//!  │ code │ generation     │ payload                              │
//!  └──────┴────────────────┴──────────────────────────────────────┘
//!   closed, observe        │                  failures in a row:20│
//!   open                   │ reopened:4 │ until, ms:37            │
//!   half-open              │ reopened:4 │     succeeded:6 running:6│
//!   observed as open       │              until, ms:37            │
//! ```
//! Every transition adds one to the generation, so a word never comes back and
//! a result can be told from one of an earlier life.

use crate::clock::MS_MAX;
use crate::state::State;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word(pub(crate) u64);

/// A word, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Closed {
        failures: u32,
    },
    Open {
        until: u64,
        reopened: u8,
    },
    HalfOpen {
        running: u8,
        succeeded: u8,
        reopened: u8,
    },
    ForcedOpen,
    Disabled,
    Observe {
        failures: u32,
    },
    /// Lets calls through, and would not if it were not observing.
    ObserveOpen {
        until: u64,
    },
}

const PAYLOAD_BITS: u32 = 41;
const GENERATION_BITS: u32 = 20;
const CODE_SHIFT: u32 = PAYLOAD_BITS + GENERATION_BITS;
const REOPENED_SHIFT: u32 = 37;
const PROBE_BITS: u32 = 6;

pub(crate) const GENERATION_MASK: u32 = (1 << GENERATION_BITS) - 1;
pub(crate) const FAILURES_MAX: u32 = (1 << 20) - 1;
pub(crate) const REOPENED_MAX: u8 = 15;

const CLOSED: u64 = 0;
const OPEN: u64 = 1;
const HALF_OPEN: u64 = 2;
const FORCED_OPEN: u64 = 3;
const DISABLED: u64 = 4;
const OBSERVE: u64 = 5;
const OBSERVE_OPEN: u64 = 6;

impl Word {
    pub(crate) fn new(generation: u32, phase: Phase) -> Self {
        let (code, payload) = match phase {
            Phase::Closed { failures } => (CLOSED, u64::from(failures.min(FAILURES_MAX))),
            Phase::Open { until, reopened } => (
                OPEN,
                u64::from(reopened.min(REOPENED_MAX)) << REOPENED_SHIFT | until.min(MS_MAX),
            ),
            Phase::HalfOpen {
                running,
                succeeded,
                reopened,
            } => (
                HALF_OPEN,
                u64::from(reopened.min(REOPENED_MAX)) << REOPENED_SHIFT
                    | u64::from(succeeded) << PROBE_BITS
                    | u64::from(running),
            ),
            Phase::ForcedOpen => (FORCED_OPEN, 0),
            Phase::Disabled => (DISABLED, 0),
            Phase::Observe { failures } => (OBSERVE, u64::from(failures.min(FAILURES_MAX))),
            Phase::ObserveOpen { until } => (OBSERVE_OPEN, until.min(MS_MAX)),
        };
        let generation = u64::from(generation & GENERATION_MASK);
        Self(code << CODE_SHIFT | generation << PAYLOAD_BITS | payload)
    }

    /// The word after this one: the only way to another state.
    pub(crate) fn next(self, phase: Phase) -> Self {
        Self::new(self.generation().wrapping_add(1), phase)
    }

    /// The same life of the circuit with other numbers in it.
    pub(crate) fn with(self, phase: Phase) -> Self {
        Self::new(self.generation(), phase)
    }

    #[inline]
    pub(crate) const fn generation(self) -> u32 {
        (self.0 >> PAYLOAD_BITS) as u32 & GENERATION_MASK
    }

    #[inline]
    pub(crate) const fn is_closed(self) -> bool {
        self.0 >> CODE_SHIFT == CLOSED
    }

    /// Closed with no failure: a success has nothing to write.
    #[inline]
    pub(crate) const fn is_clean(self) -> bool {
        self.is_closed() && self.0 & FAILURES_MAX as u64 == 0
    }

    /// Until when it is open, if it is; what [`phase`](Self::phase) says, without reading the rest.
    #[inline]
    pub(crate) const fn open_until(self) -> Option<u64> {
        if self.0 >> CODE_SHIFT == OPEN {
            Some(self.0 & MS_MAX)
        } else {
            None
        }
    }

    pub(crate) fn phase(self) -> Phase {
        let failures = self.0 as u32 & FAILURES_MAX;
        let until = self.0 & MS_MAX;
        let reopened = (self.0 >> REOPENED_SHIFT) as u8 & REOPENED_MAX;
        match self.0 >> CODE_SHIFT {
            CLOSED => Phase::Closed { failures },
            OPEN => Phase::Open { until, reopened },
            HALF_OPEN => Phase::HalfOpen {
                running: self.0 as u8 & 63,
                succeeded: (self.0 >> PROBE_BITS) as u8 & 63,
                reopened,
            },
            FORCED_OPEN => Phase::ForcedOpen,
            DISABLED => Phase::Disabled,
            OBSERVE => Phase::Observe { failures },
            OBSERVE_OPEN => Phase::ObserveOpen { until },
            _ => unreachable!("a word is only made by Word::new"),
        }
    }

    pub(crate) fn state(self) -> State {
        match self.phase() {
            Phase::Closed { .. } => State::Closed,
            Phase::Open { .. } => State::Open,
            Phase::HalfOpen { .. } => State::HalfOpen,
            Phase::ForcedOpen => State::ForcedOpen,
            Phase::Disabled => State::Disabled,
            Phase::Observe { .. } | Phase::ObserveOpen { .. } => State::Observe,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phase_survives_the_word_at_its_largest() {
        for phase in [
            Phase::Closed {
                failures: FAILURES_MAX,
            },
            Phase::Open {
                until: MS_MAX,
                reopened: REOPENED_MAX,
            },
            Phase::HalfOpen {
                running: 63,
                succeeded: 63,
                reopened: REOPENED_MAX,
            },
            Phase::ForcedOpen,
            Phase::Disabled,
            Phase::Observe {
                failures: FAILURES_MAX,
            },
            Phase::ObserveOpen { until: MS_MAX },
        ] {
            for generation in [0, 1, GENERATION_MASK] {
                let word = Word::new(generation, phase);
                assert_eq!(word.phase(), phase);
                assert_eq!(word.generation(), generation);
            }
            assert_eq!(
                Word::new(GENERATION_MASK, phase).next(phase).generation(),
                0
            );
        }
    }
}
