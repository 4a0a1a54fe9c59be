//! An attempt holds on to what cannot move between threads.
#[path = "parts/mod.rs"]
mod parts;

use parts::*;
use swifttrack_saga::{Attempt, Step, StepError};

struct CountParcels;

impl Step for CountParcels {
    const NAME: &'static str = "count-parcels";
    type In = NewOrder;
    type Out = usize;

    async fn run(&self, _: &Attempt, order: &NewOrder) -> Result<usize, StepError> {
        let id = std::rc::Rc::new(order.id.clone());
        std::future::ready(()).await;
        Ok(id.len())
    }
}

fn main() {}
