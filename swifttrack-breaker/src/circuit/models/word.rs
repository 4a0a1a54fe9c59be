//! The state alone.

use std::time::Duration;

use super::{core, model, settle, spawn};
use crate::circuit::core::Core;
use crate::circuit::machine::Order;
use crate::circuit::word::Phase;
use crate::classify::Outcome;
use crate::config::BreakerConfig;
use crate::policy::{Policy, Window};
use crate::state::{Reason, State};

fn failures(core: &Core) -> Option<u32> {
    match core.word().phase() {
        Phase::Closed { failures } => Some(failures),
        _ => None,
    }
}

#[test]
fn two_failures_at_once_are_both_counted_and_one_opens() {
    model(|| {
        let (core, _) = core(BreakerConfig::new().trip_after(2));
        let threads = [(); 2].map(|()| {
            spawn(&core, |core| {
                let tag = core.admit().0.expect("closed");
                settle(core, tag, Outcome::Failure).moved.is_some()
            })
        });
        let opened = threads.map(|thread| thread.join().unwrap());
        assert_eq!(opened.iter().filter(|opened| **opened).count(), 1);
        assert_eq!(core.word().state(), State::Open);
        assert_eq!(core.word().generation(), 2);
    });
}

#[test]
fn one_of_three_that_come_at_the_end_of_the_open_time_is_the_probe() {
    model(|| {
        let (core, clock) = core(BreakerConfig::new().trip_after(1));
        let tag = core.admit().0.expect("closed");
        settle(&core, tag, Outcome::Failure);
        clock.advance(Duration::from_secs(30));
        let threads = [(); 2].map(|()| spawn(&core, |core| core.admit().0.is_ok()));
        let mine = core.admit().0.is_ok();
        let admitted = threads.map(|thread| thread.join().unwrap());
        assert_eq!(
            usize::from(mine) + admitted.iter().filter(|yes| **yes).count(),
            1
        );
    });
}

#[test]
fn a_probe_that_is_dropped_gives_its_permit_to_exactly_one_other() {
    model(|| {
        let (core, clock) = core(BreakerConfig::new().trip_after(1));
        let tag = core.admit().0.expect("closed");
        settle(&core, tag, Outcome::Failure);
        clock.advance(Duration::from_secs(30));
        let probe = core.admit().0.expect("the probe");
        let dropping = spawn(&core, move |core| {
            assert!(settle(core, probe, Outcome::Ignore).freed);
        });
        let other = spawn(&core, |core| core.admit().0.is_ok());
        let mine = core.admit().0.is_ok();
        dropping.join().unwrap();
        let other = other.join().unwrap();
        assert!(!(mine && other), "two probes");
        assert_eq!(
            core.admit().0.is_ok(),
            !mine && !other,
            "the permit is free, unless one has it"
        );
    });
}

#[test]
fn a_hung_probe_is_replaced_by_one_and_its_late_result_changes_nothing() {
    model(|| {
        let (core, clock) = core(BreakerConfig::new().trip_after(1));
        let tag = core.admit().0.expect("closed");
        settle(&core, tag, Outcome::Failure);
        clock.advance(Duration::from_secs(30));
        let hung = core.admit().0.expect("the probe");
        clock.advance(Duration::from_secs(30));
        let late = spawn(&core, move |core| {
            settle(core, hung, Outcome::Success)
                .moved
                .map(|moved| moved.reason)
        });
        let other = spawn(&core, |core| core.admit());
        let mine = core.admit();
        let closed = late.join().unwrap();
        let other = other.join().unwrap();
        let expired = [&mine, &other]
            .iter()
            .filter(|(_, moved)| moved.is_some_and(|moved| moved.reason == Reason::LeaseExpired))
            .count();
        match closed {
            // It came back before anybody had given it up.
            Some(reason) => {
                assert_eq!((reason, expired), (Reason::ProbesSucceeded, 0));
                assert_eq!(core.word().state(), State::Closed);
            }
            None => {
                assert_eq!(expired, 1);
                assert_eq!(core.word().state(), State::HalfOpen);
            }
        }
    });
}

#[test]
fn a_result_from_before_a_reset_never_counts_after_it() {
    model(|| {
        let policy = Policy::consecutive(2).or(Policy::failure_rate(1.0, Window::calls(2)));
        let (core, _) = core(BreakerConfig::new().policy(policy));
        let old = core.admit().0.expect("closed");
        let resetting = spawn(&core, |core| {
            core.obey(Order::Reset);
            let tag = core.admit().0.expect("closed");
            settle(core, tag, Outcome::Failure);
        });
        let late = spawn(&core, move |core| settle(core, old, Outcome::Failure));
        resetting.join().unwrap();
        late.join().unwrap();
        assert_eq!(failures(&core), Some(1), "only the one of this generation");
        let tag = core.admit().0.expect("closed");
        assert!(
            settle(&core, tag, Outcome::Failure).moved.is_some(),
            "and that makes two"
        );
    });
}

#[test]
fn an_order_is_never_lost_to_a_trip() {
    model(|| {
        let (core, _) = core(BreakerConfig::new().trip_after(1));
        let ordering = spawn(&core, |core| core.obey(Order::ForceOpen).to);
        let failing = spawn(&core, |core| {
            if let (Ok(tag), _) = core.admit() {
                settle(core, tag, Outcome::Failure);
            }
        });
        let ordered = ordering.join().unwrap();
        failing.join().unwrap();
        assert_eq!(core.word(), ordered);
        assert!(core.admit().0.is_err());
    });
}
