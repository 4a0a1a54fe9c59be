//! The last n calls.

use crate::circuit::word::GENERATION_MASK;
use crate::state::Tally;
use crate::sync::{AtomicU64, Ordering};

/// A tape of words that are filled one after the other, each with 32 calls, and
/// then from the first again. A call is one compare-and-swap on the word that is
/// being filled; only a bad call looks back along the tape.
#[derive(Debug)]
pub(crate) struct CountWindow {
    size: u32,
    /// `generation:20 | lap:32 | place:12` of the word that is being filled.
    head: AtomicU64,
    /// Each `generation:20 | lap:6 | len:6 | calls:32`, the newest call lowest.
    tape: Box<[AtomicU64]>,
}

const WORD_CALLS: u32 = 32;
const LEN_BITS: u32 = 6;
const LAP_BITS: u32 = 6;
const TAG_SHIFT: u32 = WORD_CALLS + LEN_BITS;

/// Where the tape stands, in one life of the circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    generation: u32,
    lap: u32,
    place: u32,
}

impl Head {
    const PLACE_BITS: u32 = 12;
    const LAP_BITS: u32 = 32;

    const fn read(word: u64) -> Self {
        Self {
            generation: (word >> (Self::LAP_BITS + Self::PLACE_BITS)) as u32 & GENERATION_MASK,
            lap: (word >> Self::PLACE_BITS) as u32,
            place: word as u32 & ((1 << Self::PLACE_BITS) - 1),
        }
    }

    const fn word(self) -> u64 {
        (self.generation as u64) << (Self::LAP_BITS + Self::PLACE_BITS)
            | (self.lap as u64) << Self::PLACE_BITS
            | self.place as u64
    }

    /// What a word of the tape carries that was written here. A word that was not
    /// is of the lap before or of another generation, since none is left out.
    const fn tag(self) -> u64 {
        (self.generation as u64) << LAP_BITS | (self.lap as u64 & ((1 << LAP_BITS) - 1))
    }

    const fn next(self, places: u32) -> Self {
        if self.place + 1 < places {
            Self {
                place: self.place + 1,
                ..self
            }
        } else {
            Self {
                lap: self.lap.wrapping_add(1),
                place: 0,
                ..self
            }
        }
    }

    const fn before(self, places: u32) -> Self {
        if 0 < self.place {
            Self {
                place: self.place - 1,
                ..self
            }
        } else {
            Self {
                lap: self.lap.wrapping_sub(1),
                place: places - 1,
                ..self
            }
        }
    }
}

impl CountWindow {
    pub(crate) fn new(size: u32) -> Self {
        // One more for the word that has just been begun, and one for those who write while another looks back.
        let places = size.div_ceil(WORD_CALLS) + 2;
        Self {
            size,
            head: AtomicU64::new(0),
            tape: (0..places).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Counts one call, unless it is stale; says whether it did.
    #[inline]
    pub(crate) fn record(&self, generation: u32, bad: bool, is_current: impl Fn() -> bool) -> bool {
        let mut seen = self.head.load(Ordering::Acquire);
        loop {
            let head = Head::read(seen);
            if head.generation != generation {
                // Looked at before this is asked, so what was seen is older.
                if !is_current() {
                    return false;
                }
                let first = Head {
                    generation,
                    lap: 0,
                    place: 0,
                };
                seen = self.turn(seen, first);
                continue;
            }
            let place = &self.tape[head.place as usize];
            let word = place.load(Ordering::Acquire);
            let (len, calls) = if word >> TAG_SHIFT == head.tag() {
                (word >> WORD_CALLS & ((1 << LEN_BITS) - 1), word as u32)
            } else {
                // Nobody leaves this word before it is full, so it is old as long as the head is here.
                let now = self.head.load(Ordering::Acquire);
                if now != seen {
                    seen = now;
                    continue;
                }
                (0, 0)
            };
            if len == u64::from(WORD_CALLS) {
                seen = self.turn(seen, head.next(self.places()));
                continue;
            }
            let calls = u64::from(calls << 1 | u32::from(bad));
            let next = head.tag() << TAG_SHIFT | (len + 1) << WORD_CALLS | calls;
            match place.compare_exchange(word, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return true,
                Err(_) => seen = self.head.load(Ordering::Acquire),
            }
        }
    }

    /// Moves the head, unless another has; gives where it is.
    fn turn(&self, seen: u64, to: Head) -> u64 {
        let moved =
            self.head
                .compare_exchange(seen, to.word(), Ordering::AcqRel, Ordering::Acquire);
        moved.map_or_else(|other| other, |_| to.word())
    }

    /// The last calls of this generation.
    pub(crate) fn tally(&self, generation: u32) -> Tally {
        let mut head = Head::read(self.head.load(Ordering::Acquire));
        let mut tally = Tally::default();
        if head.generation != generation {
            return tally;
        }
        for place in 0..self.places() {
            let word = self.tape[head.place as usize].load(Ordering::Acquire);
            if word >> TAG_SHIFT == head.tag() {
                let len = (word >> WORD_CALLS) as u32 & ((1 << LEN_BITS) - 1);
                let taken = len.min(self.size - tally.total);
                let newest = ((1u64 << taken) - 1) & word;
                tally.bad += newest.count_ones();
                tally.total += taken;
            } else if place != 0 {
                // The first one of this generation was the last that was looked at.
                break;
            }
            if tally.total == self.size {
                break;
            }
            head = head.before(self.places());
        }
        tally
    }

    const fn places(&self) -> u32 {
        self.tape.len() as u32
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    #[test]
    fn slides_at_every_size() {
        for size in [1, 2, 31, 32, 33, 64, 65, 200, 4096] {
            let window = CountWindow::new(size);
            let mut reference = VecDeque::new();
            let mut seed = u64::from(size);
            for _ in 0..5 * size.max(200) {
                seed = crate::circuit::machine::mix(seed);
                let bad = seed % 3 == 0;
                reference.push_back(bad);
                if reference.len() > size as usize {
                    reference.pop_front();
                }
                assert!(window.record(7, bad, || true));
                let bad = reference.iter().filter(|bad| **bad).count();
                let tally = window.tally(7);
                assert_eq!(
                    (tally.bad as usize, tally.total as usize),
                    (bad, reference.len())
                );
            }
        }
    }

    #[test]
    fn a_new_generation_begins_with_nothing_wherever_the_last_one_ended() {
        let window = CountWindow::new(40);
        for generation in 1..300 {
            assert_eq!(window.tally(generation), Tally::default());
            for call in 1..=generation {
                assert!(window.record(generation, true, || true));
                let calls = call.min(40);
                assert_eq!(
                    window.tally(generation),
                    Tally {
                        bad: calls,
                        total: calls
                    }
                );
            }
        }
    }

    #[test]
    fn a_late_writer_does_not_wipe_out_a_newer_generation() {
        for size in [10, 100] {
            let window = CountWindow::new(size);
            assert!(window.record(1, true, || true));
            assert!(window.record(3, true, || true));
            assert!(!window.record(1, true, || false));
            assert!(window.record(3, true, || true));
            assert_eq!(window.tally(3), Tally { bad: 2, total: 2 });
        }
    }

    #[test]
    fn threads_lose_no_call() {
        let window = CountWindow::new(4096);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let window = &window;
                scope.spawn(move || {
                    for call in 0..1000 {
                        assert!(window.record(1, (call + thread) % 4 == 0, || true));
                    }
                });
            }
        });
        assert_eq!(
            window.tally(1),
            Tally {
                bad: 1000,
                total: 4000
            }
        );
    }
}
