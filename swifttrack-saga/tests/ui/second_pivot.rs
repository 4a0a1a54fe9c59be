//! There is one point of no return.
#[path = "parts/mod.rs"]
mod parts;

use parts::*;
use swifttrack_saga::Saga;

fn main() {
    let _ = Saga::<NewOrder>::define("order", 1, |s, order| {
        let (s, _) = s.pivot(ChargeCard, order);
        let (s, contract) = s.pivot(VerifyContract, order);
        s.finish(contract)
    });
}
