//! A step takes two things and is given one.
#[path = "parts/mod.rs"]
mod parts;

use parts::*;
use swifttrack_saga::Saga;

fn main() {
    let _ = Saga::<NewOrder>::define("order", 1, |s, order| {
        let packages = s.step(RegisterPackages, order);
        s.finish(packages)
    });
}
