//! A step takes what a later one gives.
#[path = "parts/mod.rs"]
mod parts;

use parts::*;
use swifttrack_saga::Saga;

fn main() {
    let _ = Saga::<NewOrder>::define("order", 1, |s, order| {
        let packages = s.step(RegisterPackages, (order, contract));
        let contract = s.step(VerifyContract, order);
        s.finish(packages)
    });
}
