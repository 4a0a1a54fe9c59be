//! A step is given what it takes, in the wrong order.
#[path = "parts/mod.rs"]
mod parts;

use parts::*;
use swifttrack_saga::Saga;

fn main() {
    let _ = Saga::<NewOrder>::define("order", 1, |s, order| {
        let contract = s.step(VerifyContract, order);
        let packages = s.step(RegisterPackages, (contract, order));
        s.finish(packages)
    });
}
