//! An error whose class nobody thought about.
#[path = "parts/mod.rs"]
mod parts;

use parts::*;
use swifttrack_saga::{Attempt, Step, StepError};

struct ReadFile;

impl Step for ReadFile {
    const NAME: &'static str = "read-file";
    type In = NewOrder;
    type Out = String;

    async fn run(&self, _: &Attempt, order: &NewOrder) -> Result<String, StepError> {
        Ok(std::fs::read_to_string(&order.id)?)
    }
}

fn main() {}
