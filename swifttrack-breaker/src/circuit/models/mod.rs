//! Every interleaving of up to three threads on the core, explored by loom:
//!
//! ```sh
//! RUSTFLAGS="--cfg loom" cargo test -p swifttrack-breaker --release --lib models
//! ```
//!
//! - [`word`]: the state alone
//! - [`window`]: what is counted, alone
//! - [`both`]: the one with the other, as a circuit has them
//!
//! The clock stands still while threads run, as it may in a program.

mod both;
mod window;
mod word;

use loom::sync::Arc;
use loom::thread::{self, JoinHandle};

use crate::circuit::core::{Core, Settled, Tag};
use crate::classify::Outcome;
use crate::clock::ManualClock;
use crate::config::BreakerConfig;

/// Runs all schedules with up to three preemptions: every known bug of this kind needs fewer.
fn model(check: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(check);
}

/// A new circuit, with two stripes in each window of time.
fn core(config: BreakerConfig) -> (Arc<Core>, ManualClock) {
    let clock = ManualClock::new();
    (
        Arc::new(Core::new(config.clock(clock.clock()), 1, 2)),
        clock,
    )
}

fn spawn<T: 'static>(core: &Arc<Core>, run: impl FnOnce(&Core) -> T + 'static) -> JoinHandle<T> {
    let core = Arc::clone(core);
    thread::spawn(move || run(&core))
}

/// As a ticket does, which takes the short way if there is one.
fn settle(core: &Core, tag: Tag, outcome: Outcome) -> Settled {
    if outcome == Outcome::Success && core.settle_good(tag, 0).is_some() {
        return Settled::default();
    }
    core.settle(tag, outcome, 0, 0)
}
