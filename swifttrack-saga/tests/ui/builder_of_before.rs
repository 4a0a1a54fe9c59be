//! The builder of before the pivot is used after it.
#[path = "parts/mod.rs"]
mod parts;

use parts::*;
use swifttrack_saga::Saga;

fn main() {
    let _ = Saga::<NewOrder>::define("order", 1, |s, order| {
        let (after, _) = s.pivot(ChargeCard, order);
        let contract = s.step(VerifyContract, order);
        after.finish(contract)
    });
}
