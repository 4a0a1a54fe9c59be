//! What a reference maps to may depend on nothing but the output.
#[path = "parts/mod.rs"]
mod parts;

use parts::*;
use swifttrack_saga::Saga;

fn main() {
    let suffix = std::env::args().count();
    let _ = Saga::<NewOrder>::define("order", 1, |s, order| {
        let renamed = order.map(|order| NewOrder {
            id: format!("{}-{suffix}", order.id),
        });
        let contract = s.step(VerifyContract, renamed);
        s.finish(contract)
    });
}
