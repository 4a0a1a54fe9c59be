//! A policy for an undo that there is not.
#[path = "parts/mod.rs"]
mod parts;

use parts::*;
use swifttrack_saga::{Retry, Saga, Tune as _};

fn main() {
    let _ = Saga::<NewOrder>::define("order", 1, |s, order| {
        let charge = s.step(ChargeCard.undo_retry(Retry::never()), order);
        s.finish(charge)
    });
}
