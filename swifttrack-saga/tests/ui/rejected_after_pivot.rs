//! A step after the pivot says "rejected".
#[path = "parts/mod.rs"]
mod parts;

use parts::*;
use swifttrack_saga::{Attempt, ForwardError, ForwardStep};

struct Ship;

impl ForwardStep for Ship {
    const NAME: &'static str = "ship";
    type In = NewOrder;
    type Out = ();

    async fn run(&self, _: &Attempt, _: &NewOrder) -> Result<(), ForwardError> {
        Err(ForwardError::rejected("NO", "it is not possible"))
    }
}

fn main() {}
