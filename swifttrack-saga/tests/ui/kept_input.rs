//! A reference is kept for use after its definition.
#[path = "parts/mod.rs"]
mod parts;

use parts::*;
use swifttrack_saga::Saga;

fn main() {
    let mut kept = None;
    let _ = Saga::<NewOrder>::define("order", 1, |s, order| {
        let contract = s.step(VerifyContract, order);
        kept = Some(contract);
        s.finish(contract)
    });
}
