//! Nobody said what becomes of the charge when the saga turns back.
#[path = "parts/mod.rs"]
mod parts;

use parts::*;
use swifttrack_saga::Saga;

fn main() {
    let _ = Saga::<NewOrder>::define("order", 1, |s, order| {
        let charge = s.step(ChargeCard, order);
        s.finish(charge)
    });
}
