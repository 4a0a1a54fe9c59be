//! What happened just before.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::classify::Outcome;
use crate::clock::MS_MAX;

/// How many outcomes a flight record goes back.
pub const FLIGHT_MAX: usize = 64;

/// One outcome in a flight record: the answer to "why did it open?".
///
/// A circuit with a window records every outcome; of a success for which it did
/// not read the clock, it says when it next did. One without a window records
/// what was not a success, and the success that ended a run of failures: its
/// healthy calls write nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Flight {
    /// How long before the event it was.
    pub ago: Duration,
    /// What came of the call. How long a throttling partner asked to wait is not kept.
    pub outcome: Outcome,
    /// How long the call took, where the policy has a rule for slow calls.
    pub took: Option<Duration>,
}

/// A ring of outcomes, one for each stripe of threads.
///
/// Each is one word, `at, ms:37 | took, ms + 1:24 | outcome:3`; zero is none.
///
/// Nothing here is a read-modify-write, which would cost a healthy call as much
/// as all the rest: of two threads that share a stripe and end a call in the
/// same instant, one may overwrite what the other recorded.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Recorder {
    ring: [AtomicU64; FLIGHT_MAX],
    next: AtomicU64,
    /// When this stripe last knew the time: good enough for a success that needs no clock.
    last: AtomicU64,
}

const AT_SHIFT: u32 = 27;
const TOOK_SHIFT: u32 = 3;
const TOOK_MAX: u64 = (1 << 24) - 1;

impl Recorder {
    pub(crate) fn new() -> Self {
        Self {
            ring: std::array::from_fn(|_| AtomicU64::new(0)),
            next: AtomicU64::new(0),
            last: AtomicU64::new(0),
        }
    }

    #[inline]
    pub(crate) fn push(&self, now: Option<u64>, outcome: Outcome, took: Option<u64>) {
        let at = match now {
            Some(now) => {
                self.last.store(now, Ordering::Relaxed);
                now
            }
            None => self.last.load(Ordering::Relaxed),
        };
        let took = took.map_or(0, |ms| (ms + 1).min(TOOK_MAX));
        let code = match outcome {
            Outcome::Success => 1,
            Outcome::Failure => 2,
            Outcome::Throttled { .. } => 3,
            Outcome::Ignore => 4,
        };
        let next = self.next.load(Ordering::Relaxed);
        self.next.store(next.wrapping_add(1), Ordering::Relaxed);
        self.ring[next as usize % FLIGHT_MAX].store(
            at << AT_SHIFT | took << TOOK_SHIFT | code,
            Ordering::Relaxed,
        );
    }

    /// Makes up for the successes that were not worth a write one by one: there
    /// were as many as this holds, just before.
    pub(crate) fn fill(&self, now: Option<u64>) {
        for _ in 0..FLIGHT_MAX {
            self.push(now, Outcome::Success, None);
        }
    }

    pub(crate) fn clear(&self) {
        for word in &self.ring {
            word.store(0, Ordering::Relaxed);
        }
    }

    fn words(&self) -> impl Iterator<Item = u64> + '_ {
        let next = self.next.load(Ordering::Relaxed) as usize;
        (0..FLIGHT_MAX)
            .map(move |step| self.ring[(next + step) % FLIGHT_MAX].load(Ordering::Relaxed))
            .filter(|word| *word != 0)
    }
}

/// The last outcomes of all stripes, oldest first.
pub(crate) fn merge<'a>(recorders: impl Iterator<Item = &'a Recorder>, now: u64) -> Vec<Flight> {
    let mut words: Vec<u64> = recorders.flat_map(Recorder::words).collect();
    // Stable: what one thread did within a millisecond stays in its order.
    words.sort_by_key(|word| word >> AT_SHIFT);
    let skip = words.len().saturating_sub(FLIGHT_MAX);
    words
        .into_iter()
        .skip(skip)
        .map(|word| read(word, now))
        .collect()
}

fn read(word: u64, now: u64) -> Flight {
    let at = word >> AT_SHIFT & MS_MAX;
    let took = word >> TOOK_SHIFT & TOOK_MAX;
    Flight {
        ago: Duration::from_millis(now.saturating_sub(at)),
        outcome: match word & 7 {
            1 => Outcome::Success,
            2 => Outcome::Failure,
            3 => Outcome::Throttled { retry_after: None },
            _ => Outcome::Ignore,
        },
        took: took.checked_sub(1).map(Duration::from_millis),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_last_outcomes_of_all_stripes_in_order() {
        let stripes = [Recorder::new(), Recorder::new()];
        for at in 0..200u64 {
            stripes[usize::from(at % 3 == 0)].push(Some(at), Outcome::Failure, Some(at));
        }
        let flight = merge(stripes.iter(), 200);
        assert_eq!(flight.len(), FLIGHT_MAX);
        for (place, entry) in flight.iter().enumerate() {
            let at = 136 + place as u64;
            assert_eq!(entry.ago, Duration::from_millis(200 - at));
            assert_eq!(entry.took, Some(Duration::from_millis(at)));
        }
    }
}
