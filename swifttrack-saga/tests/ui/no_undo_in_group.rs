//! The same, of a member of a group.
#[path = "parts/mod.rs"]
mod parts;

use parts::*;
use swifttrack_saga::Saga;

fn main() {
    let _ = Saga::<NewOrder>::define("order", 1, |s, order| {
        let charge = s.parallel(|g| g.step(ChargeCard, order));
        s.finish(charge)
    });
}
