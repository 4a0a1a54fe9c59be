//! A member of a group takes what another member gives.
#[path = "parts/mod.rs"]
mod parts;

use parts::*;
use swifttrack_saga::Saga;

fn main() {
    let _ = Saga::<NewOrder>::define("order", 1, |s, order| {
        let packages = s.parallel(|g| {
            let contract = g.step(VerifyContract, order);
            g.step(RegisterPackages, (order, contract))
        });
        s.finish(packages)
    });
}
