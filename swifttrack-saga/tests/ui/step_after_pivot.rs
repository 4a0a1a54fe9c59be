//! A step that may be rejected comes after the point of no return.
#[path = "parts/mod.rs"]
mod parts;

use parts::*;
use swifttrack_saga::Saga;

fn main() {
    let _ = Saga::<NewOrder>::define("order", 1, |s, order| {
        let (s, contract) = s.pivot(ChargeCard, order);
        let packages = s.step(RegisterPackages, (order, contract));
        s.finish(packages)
    });
}
