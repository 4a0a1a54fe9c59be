//! A step takes the order and its contract, and is given the order twice.
#[path = "parts/mod.rs"]
mod parts;

use parts::*;
use swifttrack_saga::Saga;

fn main() {
    let _ = Saga::<NewOrder>::define("order", 1, |s, order| {
        let packages = s.step(RegisterPackages, (order, order));
        s.finish(packages)
    });
}
