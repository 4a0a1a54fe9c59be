//! Numbers that are random and can be had again.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::ops::Range;

/// A generator whose seed is printed, so that a failed run can be had again: the seed goes into
/// `E2E_SEED`.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn seeded() -> Self {
        let seed = match std::env::var("E2E_SEED") {
            Ok(seed) => seed.parse().expect("E2E_SEED is a number"),
            Err(_) => RandomState::new().build_hasher().finish(),
        };
        eprintln!("E2E_SEED={seed}");
        Self(seed)
    }

    /// SplitMix64, by its constants.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start)
    }
}
