//! The shipped engine among crashes, frozen processes, lost commits and late requests.
//!
//! Several engines share one store in memory and one partner, in virtual time on one thread.
//! Every world is a seed. Oracles watch the partner, the hook and the store; a second test
//! takes each guard away and asks for a world in which an oracle speaks.

mod partner;
mod seat;
mod world;

use std::time::Duration;

use crate::guard::{Guard, MISSING, SEED};
use world::World;

/// Worlds a run: enough to find each missing guard several times over.
const WORLDS: u64 = 100;
/// Worlds in which a missing guard must show.
const WORLDS_WITHOUT: u64 = 600;

/// Runs one world; what it broke, with its history.
fn run(seed: u64, without: Option<Guard>) -> Result<u32, String> {
    MISSING.with(|missing| missing.set(without));
    SEED.with(|next| next.set(seed << 32));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let told = runtime.block_on(World::run(seed));
    runtime.shutdown_timeout(Duration::from_millis(1));
    MISSING.with(|missing| missing.set(None));
    told.map_err(|story| format!("seed {seed}, without {without:?}:\n{story}"))
}

#[test]
fn no_world_breaks_a_law() {
    let from: u64 = std::env::var("SIMULATION_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(0);
    let mut ended = 0;
    for seed in from..from + WORLDS {
        match run(seed, None) {
            Ok(sagas) => ended += sagas,
            Err(story) => panic!("{story}"),
        }
    }
    println!("{ended} sagas ended in {WORLDS} worlds");
}

macro_rules! needed {
    ($($name:ident $guard:ident from $from:literal;)*) => {$(
        #[test]
        fn $name() {
            let worlds = $from..$from + WORLDS_WITHOUT;
            let broken = worlds.into_iter().find_map(|seed| run(seed, Some(Guard::$guard)).err());
            let story = broken.expect("a world that shows that the guard is needed");
            println!("{story}");
        }
    )*};
}

// The rare ones begin where a world is known to show them.
needed! {
    the_epoch_check_is_needed Epoch from 0;
    the_owner_check_is_needed Owner from 0;
    the_seq_check_is_needed Seq from 100;
    the_ctl_check_is_needed Ctl from 0;
    the_dedupe_is_needed Dedupe from 0;
    the_check_of_the_pivot_is_needed PastPivot from 0;
    the_order_of_a_batch_is_needed Order from 0;
    remembering_maybe_is_needed Maybe from 0;
    counting_interrupted_attempts_is_needed Interrupted from 0;
    the_takeover_before_reading_back_is_needed Reclaim from 500;
    the_sweep_is_needed Sweep from 0;
    durability_before_effects_is_needed DurableFirst from 0;
}
