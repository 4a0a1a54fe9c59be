//! After the pivot a late signal cannot turn the saga back.
#[path = "parts/mod.rs"]
mod parts;

use parts::*;
use swifttrack_saga::Saga;

fn main() {
    let _ = Saga::<NewOrder>::define("order", 1, |s, order| {
        let (s, _) = s.pivot(ChargeCard, order);
        let word = s.await_signal(PICKED_UP.within(std::time::Duration::from_secs(60)));
        s.finish(word)
    });
}
