//! The relays' shipped core over a fake database, broker and clock.
//!
//! A seed decides all: latencies, late and inverted commits, rollbacks, lost answers, broken
//! connections, a crash of the database, frozen and killed relays, refused rows, missing
//! topics. Each law is checked as it goes, and taking any guard away breaks one.

use super::Guard;
use world::{Faults, World};

mod broker;
mod database;
mod publisher;
mod random;
mod trouble;
mod work;
mod world;

/// Seeds of one run; `SIMULATION_SEEDS` asks for more, as CI does.
const SEEDS: u64 = 1_000;

fn seeds() -> std::ops::Range<u64> {
    let count = std::env::var("SIMULATION_SEEDS")
        .ok()
        .and_then(|text| text.parse().ok());
    0..count.unwrap_or(SEEDS)
}

#[test]
fn the_laws_hold_whatever_happens() {
    for seed in seeds() {
        if let Err(broken) = World::new(seed, Faults::All, None).run() {
            panic!("seed {seed}: {broken}");
        }
    }
}

/// For a person who looks into one world: `SIMULATION_SEED=858` with `--nocapture` tells what
/// happened in it.
#[test]
fn one_world_can_be_told() {
    let seed = std::env::var("SIMULATION_SEED").map_or(0, |seed| seed.parse().unwrap());
    let mut world = World::new(seed, Faults::All, None);
    world.tell_all = true;
    world.run().unwrap();
}

/// While broker and leases work nothing is published twice, however slots move and readers
/// break.
#[test]
fn a_calm_world_has_no_repeats() {
    for seed in seeds() {
        if let Err(broken) = World::new(seed, Faults::None, None).run() {
            panic!("seed {seed}: {broken}");
        }
    }
}

/// A guard that can be taken away without harm protects nothing.
#[track_caller]
fn is_needed(guard: Guard) {
    let broken = (0..10 * SEEDS).find_map(|seed| {
        let faults = if seed % 2 == 0 {
            Faults::All
        } else {
            Faults::None
        };
        World::new(seed, faults, Some(guard))
            .run()
            .err()
            .map(|broken| (seed, broken))
    });
    let Some((seed, broken)) = broken else {
        panic!("nothing breaks without {guard:?}")
    };
    println!("without {guard:?}, seed {seed}: {broken}");
}

macro_rules! needed {
    ($($name:ident: $guard:ident),+ $(,)?) => {
        $(#[test]
        fn $name() {
            is_needed(Guard::$guard);
        })+
    };
}

needed!(
    a_scan_must_skip_what_is_in_flight: SkipInFlight,
    a_page_must_skip_what_was_deleted_meanwhile: SkipSettled,
    a_row_must_be_acknowledged_before_its_delete: DeleteAfterAck,
    a_new_connection_must_scan: ScanAfterReconnect,
    a_gained_slot_must_be_scanned: ScanAfterGain,
    the_trust_must_end_before_the_lease: TrustDeadline,
    a_slot_must_drain_before_it_is_given_back: DrainBeforeRelease,
    a_failed_producer_must_be_closed: CloseAfterFailure,
    a_refused_request_must_be_sent_row_by_row: SingleSuspects,
    a_key_with_a_dead_row_must_be_blocked: BlockKey,
    a_topic_that_is_away_must_be_paused: PauseTopic,
);
