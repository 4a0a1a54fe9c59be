//! The last n calls.

use crate::circuit::word::GENERATION_MASK;
use crate::flight::FLIGHT_MAX;
use crate::state::Tally;
use crate::sync::{AtomicU64, Ordering};

/// A tape of words that are filled one after the other, each with 32 calls, and
/// then from the first again. A call is one compare-and-swap on the word that is
/// being filled; only a bad call, and the first of each word, look back along the tape.
///
/// A good call changes nothing in a window that is full of good ones, so it is
/// not written there: one load says whether the window is [`Spotless`].
#[derive(Debug)]
pub(crate) struct CountWindow {
    size: u32,
    /// See [`Spotless`].
    spotless: AtomicU64,
    /// `generation:20 | lap:32 | place:12` of the word that is being filled.
    head: AtomicU64,
    /// Each `generation:20 | lap:6 | len:6 | calls:32`, the newest call lowest.
    tape: Box<[AtomicU64]>,
}

const WORD_CALLS: u32 = 32;
const LEN_BITS: u32 = 6;
const LAP_BITS: u32 = 6;
const TAG_SHIFT: u32 = WORD_CALLS + LEN_BITS;

/// Calls that must be good at least; loom has no patience for so many.
const LOOK_BACK: u32 = if cfg!(loom) { 1 } else { FLIGHT_MAX as u32 };

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

/// `generation:20 | version:43 | spotless:1`: whether all calls of a full window are good in this
/// generation, and as many as a flight record holds if that is more.
///
/// A bad call takes it back after it was written to the tape, and moves the
/// version even if there was nothing to take back. Whoever gives it reads the
/// version before the tape: a bad call that the tape did not show yet comes after
/// that, and so either keeps it from being given or takes it back. A good call
/// that finds it meanwhile came before the bad one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Spotless(u64);

impl Spotless {
    const VERSION_BITS: u32 = 43;

    const fn new(generation: u32, version: u64, spotless: bool) -> Self {
        let version = version & ((1 << Self::VERSION_BITS) - 1);
        Self((generation as u64) << (Self::VERSION_BITS + 1) | version << 1 | spotless as u64)
    }

    const fn version(self) -> u64 {
        self.0 >> 1 & ((1 << Self::VERSION_BITS) - 1)
    }

    #[inline]
    const fn is_of(self, generation: u32) -> bool {
        self.0 & 1 == 1 && self.0 >> (Self::VERSION_BITS + 1) == generation as u64
    }
}

/// A call that was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    /// It is the first bad one after many good ones, of which the last were not written.
    pub(crate) spoiled: bool,
}

impl CountWindow {
    pub(crate) fn new(size: u32) -> Self {
        // One more for the word that has just been begun, and one for those who write while another looks back.
        let places = size.max(LOOK_BACK).div_ceil(WORD_CALLS) + 2;
        Self {
            size,
            spotless: AtomicU64::new(0),
            head: AtomicU64::new(0),
            tape: (0..places).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Whether a good call changes nothing.
    #[inline]
    pub(crate) fn is_spotless(&self, generation: u32) -> bool {
        Spotless(self.spotless.load(Ordering::Acquire)).is_of(generation)
    }

    /// Counts one call, unless it is stale; says whether it did.
    pub(crate) fn record(
        &self,
        generation: u32,
        bad: bool,
        is_current: impl Fn() -> bool,
    ) -> Option<Counted> {
        let mut seen = self.head.load(Ordering::Acquire);
        loop {
            let head = Head::read(seen);
            if head.generation != generation {
                // Looked at before this is asked, so what was seen is older.
                if !is_current() {
                    return None;
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
                Ok(_) if bad => {
                    return Some(Counted {
                        spoiled: self.spoil(generation),
                    });
                }
                Ok(_) => {
                    if len == 0 {
                        self.look(generation);
                    }
                    return Some(Counted { spoiled: false });
                }
                Err(_) => seen = self.head.load(Ordering::Acquire),
            }
        }
    }

    /// Takes back that the window is spotless; says whether it was.
    fn spoil(&self, generation: u32) -> bool {
        let mut seen = self.spotless.load(Ordering::Acquire);
        loop {
            let next = Spotless::new(generation, Spotless(seen).version() + 1, false);
            match self
                .spotless
                .compare_exchange(seen, next.0, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return Spotless(seen).is_of(generation),
                Err(other) => seen = other,
            }
        }
    }

    /// Notes if the window has become spotless; another call does it if this one is too late.
    fn look(&self, generation: u32) {
        let seen = self.spotless.load(Ordering::Acquire);
        let size = self.size.max(LOOK_BACK);
        let tally = self.last(generation, size);
        if tally.bad == 0 && tally.total == size {
            let next = Spotless::new(generation, Spotless(seen).version() + 1, true);
            let _ =
                self.spotless
                    .compare_exchange(seen, next.0, Ordering::AcqRel, Ordering::Acquire);
        }
    }

    /// Moves the head, unless another has; gives where it is.
    fn turn(&self, seen: u64, to: Head) -> u64 {
        let moved =
            self.head
                .compare_exchange(seen, to.word(), Ordering::AcqRel, Ordering::Acquire);
        moved.map_or_else(|other| other, |_| to.word())
    }

    /// What the window holds of this generation.
    pub(crate) fn tally(&self, generation: u32) -> Tally {
        self.last(generation, self.size)
    }

    /// The last so many calls of this generation.
    fn last(&self, generation: u32, size: u32) -> Tally {
        let mut head = Head::read(self.head.load(Ordering::Acquire));
        let mut tally = Tally::default();
        if head.generation != generation {
            return tally;
        }
        for place in 0..self.places() {
            let word = self.tape[head.place as usize].load(Ordering::Acquire);
            if word >> TAG_SHIFT == head.tag() {
                let len = (word >> WORD_CALLS) as u32 & ((1 << LEN_BITS) - 1);
                let taken = len.min(size - tally.total);
                let newest = ((1u64 << taken) - 1) & word;
                tally.bad += newest.count_ones();
                tally.total += taken;
            } else if place != 0 {
                // The first one of this generation was the last that was looked at.
                break;
            }
            if tally.total == size {
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
                window.record(7, bad, || true).unwrap();
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
    fn is_spotless_from_a_full_window_of_good_calls_to_the_next_bad_one() {
        for size in [1, 32, 100] {
            let window = CountWindow::new(size);
            let record = |bad| window.record(7, bad, || true).unwrap().spoiled;
            let good = |calls| assert!((0..calls).all(|_| !record(false)));
            good(LOOK_BACK.max(size) - 1);
            assert!(!window.is_spotless(7), "{size}");
            for _ in 0..3 {
                good(LOOK_BACK.max(size) + WORD_CALLS);
                assert!(window.is_spotless(7) && !window.is_spotless(8), "{size}");
                assert!(record(true) && !record(true));
                assert!(!window.is_spotless(7), "{size}");
            }
        }
    }

    #[test]
    fn a_new_generation_begins_with_nothing_wherever_the_last_one_ended() {
        let window = CountWindow::new(40);
        for generation in 1..300 {
            assert_eq!(window.tally(generation), Tally::default());
            for call in 1..=generation {
                window.record(generation, true, || true).unwrap();
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
            window.record(1, true, || true).unwrap();
            window.record(3, true, || true).unwrap();
            assert_eq!(window.record(1, true, || false), None);
            window.record(3, true, || true).unwrap();
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
                        window.record(1, (call + thread) % 4 == 0, || true).unwrap();
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
