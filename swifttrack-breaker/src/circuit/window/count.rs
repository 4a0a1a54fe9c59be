//! The last n calls.

use std::sync::{Mutex, PoisonError};

use crate::state::Tally;
use crate::sync::{AtomicU64, Ordering};

/// How many calls fit one word beside their number and the tag.
const WORD_CALLS: u32 = 40;
const LEN_BITS: u32 = 6;
const TAG_SHIFT: u32 = WORD_CALLS + LEN_BITS;

#[derive(Debug)]
pub(crate) struct CountWindow {
    size: u32,
    calls: Bits,
}

#[derive(Debug)]
enum Bits {
    /// `tag:18 | len:6 | bits:40`, the newest call lowest.
    Word(AtomicU64),
    /// Behind a std mutex, since nothing is awaited while it is held.
    Ring(Mutex<Ring>),
}

#[derive(Debug)]
struct Ring {
    generation: u32,
    bits: Box<[u64]>,
    next: u32,
    tally: Tally,
}

impl CountWindow {
    pub(crate) fn new(size: u32) -> Self {
        let calls = if size <= WORD_CALLS {
            Bits::Word(AtomicU64::new(0))
        } else {
            Bits::Ring(Mutex::new(Ring {
                generation: 0,
                bits: vec![0; size.div_ceil(64) as usize].into(),
                next: 0,
                tally: Tally::default(),
            }))
        };
        Self { size, calls }
    }

    /// Nothing if the call is stale.
    #[inline]
    pub(crate) fn record(
        &self,
        generation: u32,
        bad: bool,
        is_current: impl Fn() -> bool,
    ) -> Option<Tally> {
        match &self.calls {
            Bits::Word(word) => self.record_word(word, generation, bad, is_current),
            Bits::Ring(ring) => {
                let mut ring = ring.lock().unwrap_or_else(PoisonError::into_inner);
                if ring.generation != generation {
                    if !is_current() {
                        return None;
                    }
                    ring.restart(generation);
                }
                Some(ring.push(self.size, bad))
            }
        }
    }

    pub(crate) fn tally(&self, generation: u32) -> Tally {
        match &self.calls {
            Bits::Word(word) => {
                let word = word.load(Ordering::Acquire);
                if word >> TAG_SHIFT != (u64::from(generation) << TAG_SHIFT) >> TAG_SHIFT {
                    return Tally::default();
                }
                Tally {
                    bad: (word & ((1 << WORD_CALLS) - 1)).count_ones(),
                    total: ((word >> WORD_CALLS) & ((1 << LEN_BITS) - 1)) as u32,
                }
            }
            Bits::Ring(ring) => {
                let ring = ring.lock().unwrap_or_else(PoisonError::into_inner);
                if ring.generation == generation {
                    ring.tally
                } else {
                    Tally::default()
                }
            }
        }
    }

    fn record_word(
        &self,
        word: &AtomicU64,
        generation: u32,
        bad: bool,
        is_current: impl Fn() -> bool,
    ) -> Option<Tally> {
        let tag = u64::from(generation) << TAG_SHIFT;
        let mut seen = word.load(Ordering::Acquire);
        loop {
            let (len, bits) = if seen >> TAG_SHIFT == tag >> TAG_SHIFT {
                (
                    seen >> WORD_CALLS & ((1 << LEN_BITS) - 1),
                    seen & ((1 << WORD_CALLS) - 1),
                )
            } else if is_current() {
                (0, 0)
            } else {
                return None;
            };
            let bits = (bits << 1 | u64::from(bad)) & ((1 << self.size) - 1);
            let len = (len + 1).min(u64::from(self.size));
            match word.compare_exchange(
                seen,
                tag | len << WORD_CALLS | bits,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => {
                    return Some(Tally {
                        bad: bits.count_ones(),
                        total: len as u32,
                    });
                }
                Err(other) => seen = other,
            }
        }
    }
}

impl Ring {
    fn restart(&mut self, generation: u32) {
        self.generation = generation;
        self.bits.fill(0);
        self.next = 0;
        self.tally = Tally::default();
    }

    fn push(&mut self, size: u32, bad: bool) -> Tally {
        let (word, bit) = ((self.next / 64) as usize, 1u64 << (self.next % 64));
        if self.tally.total == size {
            self.tally.bad -= u32::from(self.bits[word] & bit != 0);
        } else {
            self.tally.total += 1;
        }
        self.bits[word] = if bad {
            self.bits[word] | bit
        } else {
            self.bits[word] & !bit
        };
        self.tally.bad += u32::from(bad);
        self.next = (self.next + 1) % size;
        self.tally
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    #[test]
    fn slides_at_every_size() {
        for size in [1, 2, 39, 40, 41, 64, 65, 200] {
            let window = CountWindow::new(size);
            let mut reference = VecDeque::new();
            let mut seed = u64::from(size);
            for _ in 0..1000 {
                seed = crate::circuit::machine::mix(seed);
                let bad = seed % 3 == 0;
                reference.push_back(bad);
                if reference.len() > size as usize {
                    reference.pop_front();
                }
                let tally = window.record(7, bad, || true).unwrap();
                assert_eq!(tally.total as usize, reference.len());
                assert_eq!(
                    tally.bad as usize,
                    reference.iter().filter(|bad| **bad).count()
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
            assert_eq!(
                window.record(3, true, || true),
                Some(Tally { bad: 2, total: 2 })
            );
        }
    }
}
