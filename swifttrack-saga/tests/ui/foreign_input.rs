//! A step takes what a step of another definition gives.
#[path = "parts/mod.rs"]
mod parts;

use parts::*;
use swifttrack_saga::Saga;

fn main() {
    let _ = Saga::<NewOrder>::define("order", 1, |s, order| {
        let contract = s.step(VerifyContract, order);
        let _ = Saga::<NewOrder>::define("billing", 1, |t, order| {
            let packages = t.step(RegisterPackages, (order, contract));
            t.finish(packages)
        });
        s.finish(contract)
    });
}
