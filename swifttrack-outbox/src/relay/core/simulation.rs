//! The relays' shipped core over a fake database, broker and clock.
//!
//! A seed decides all: latencies, late and inverted commits, rollbacks, lost answers, broken
//! connections, a crash of the database, frozen and killed relays, refused rows, missing
//! topics. Each law is checked as it goes, and taking any guard away breaks one. With fenced groups
//! also zombies' transactions, commits of which nobody hears, and markers.

use super::Guard;
use crate::relay::Fencing;
use world::{Faults, World};

mod broker;
mod database;
mod publisher;
mod random;
mod transactions;
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
        if let Err(broken) = World::new(seed, Faults::All, Fencing::Lease, None).run() {
            panic!("seed {seed}: {broken}");
        }
    }
}

/// Nothing is lost, and no reader sees a record twice or out of order.
#[test]
fn fenced_groups_publish_exactly_once_whatever_happens() {
    for seed in seeds() {
        let world = World::new(seed, Faults::All, Fencing::KafkaTransactions, None);
        if let Err(broken) = world.run() {
            panic!("seed {seed}: {broken}");
        }
    }
}

/// In this world a relay loses its lease while a refused row waits to be moved: the row's slot is
/// free again, or it would never be handed over and its keys would stand still.
#[test]
fn a_lost_lease_leaves_no_slot_busy() {
    let world = World::new(2_085, Faults::All, Fencing::KafkaTransactions, None);
    world.run().unwrap();
}

/// For a person who looks into one world: `SIMULATION_SEED=858` with `--nocapture` tells what
/// happened in it; `SIMULATION_FENCING=transactions` in one with fenced groups.
#[test]
fn one_world_can_be_told() {
    let seed = std::env::var("SIMULATION_SEED").map_or(0, |seed| seed.parse().unwrap());
    let fencing = match std::env::var("SIMULATION_FENCING").as_deref() {
        Ok("transactions") => Fencing::KafkaTransactions,
        _ => Fencing::Lease,
    };
    let mut world = World::new(seed, Faults::All, fencing, None);
    world.tell_all = true;
    world.run().unwrap();
}

/// While broker and leases work nothing is published twice, however slots move and readers
/// break.
#[test]
fn a_calm_world_has_no_repeats() {
    for seed in seeds() {
        if let Err(broken) = World::new(seed, Faults::None, Fencing::Lease, None).run() {
            panic!("seed {seed}: {broken}");
        }
    }
}

/// A guard that can be taken away without harm protects nothing.
#[track_caller]
fn is_needed(guard: Guard, fencing: Fencing) {
    let broken = (0..10 * SEEDS).find_map(|seed| {
        let faults = if seed % 2 == 0 {
            Faults::All
        } else {
            Faults::None
        };
        World::new(seed, faults, fencing, Some(guard))
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
    ($fencing:ident, $($name:ident: $guard:ident),+ $(,)?) => {
        $(#[test]
        fn $name() {
            is_needed(Guard::$guard, Fencing::$fencing);
        })+
    };
}

needed!(
    Lease,
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

needed!(
    KafkaTransactions,
    a_group_must_be_fenced_before_it_is_scanned: FenceBeforeScan,
    marked_rows_must_be_deleted_before_the_scan: DeleteMarkedBeforeScan,
    a_marker_must_list_what_is_not_known_to_be_deleted: MarkUnconfirmed,
    a_marker_must_not_list_what_was_left_out: MarkPublishedOnly,
    a_new_producer_must_fence_again: FenceEachProducer,
    a_refused_row_must_not_block_those_before_it: BuryInOrder,
);
