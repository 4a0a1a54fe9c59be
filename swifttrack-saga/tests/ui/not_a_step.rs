//! What is given is no step at all.
#[path = "parts/mod.rs"]
mod parts;

use parts::*;
use swifttrack_saga::Saga;

fn main() {
    let _ = Saga::<NewOrder>::define("order", 1, |s, order| {
        let contract = s.step(Contract, order);
        s.finish(contract)
    });
}
