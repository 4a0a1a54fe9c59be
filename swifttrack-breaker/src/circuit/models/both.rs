//! The state with the windows beside it, as a circuit has them.

use std::time::Duration;

use super::{core, model, settle, spawn};
use crate::circuit::core::{Core, Tag};
use crate::circuit::machine::Order;
use crate::classify::Outcome;
use crate::config::BreakerConfig;
use crate::policy::{Policy, Window};
use crate::state::{Reason, State, Tally};

const OPEN: Duration = Duration::from_secs(30);

/// Opens when all of so many calls failed, however they are counted.
fn windows(calls: u32) -> [Window; 2] {
    [
        Window::calls(calls),
        Window::time(Duration::from_secs(10)).min_calls(calls),
    ]
}

fn config(window: Window) -> BreakerConfig {
    BreakerConfig::new().policy(Policy::failure_rate(1.0, window))
}

/// Makes a call that fails, if it is let through; gives the life of the circuit that it counted in.
fn fail(core: &Core) -> Option<u32> {
    let tag = core.admit().0.ok()?;
    let settled = settle(core, tag, Outcome::Failure);
    (!settled.stale).then(|| tag.generation())
}

/// Opens a circuit of a window of two calls, and waits until a probe may go.
fn open(core: &Core, clock: crate::clock::ManualClock) {
    assert_eq!([fail(core), fail(core)], [Some(1); 2]);
    assert_eq!(core.word().state(), State::Open);
    clock.advance(OPEN);
}

#[test]
fn three_failures_at_once_are_all_counted_and_one_opens() {
    for window in windows(3) {
        model(move || {
            let (core, _) = core(config(window));
            let fail = |stripe| {
                move |core: &Core| {
                    let tag = core.admit().0.expect("closed");
                    core.settle(tag, Outcome::Failure, stripe, 0).moved
                }
            };
            let threads = [1, 0].map(|stripe| spawn(&core, fail(stripe)));
            let mine = fail(0)(&core);
            let [one, other] = threads.map(|thread| thread.join().unwrap());
            let moves: Vec<_> = [mine, one, other].into_iter().flatten().collect();
            assert_eq!(moves.len(), 1);
            assert_eq!(moves[0].reason, Reason::FailureRate);
            assert_eq!(moves[0].rate, Some(Tally { bad: 3, total: 3 }));
            assert_eq!(core.word().state(), State::Open);
        });
    }
}

#[test]
fn a_window_holds_the_calls_of_its_own_generation_whatever_is_ordered_meanwhile() {
    for window in windows(4) {
        model(move || {
            let (core, _) = core(config(window));
            let old = core.admit().0.expect("closed");
            let late = spawn(&core, move |core| {
                let settled = settle(core, old, Outcome::Failure);
                (!settled.stale).then(|| old.generation())
            });
            let ordering = spawn(&core, |core| {
                core.obey(Order::ForceOpen);
                core.obey(Order::Reset);
            });
            let mine = fail(&core);
            ordering.join().unwrap();
            let counted = [mine, late.join().unwrap()];
            let now = core.word().generation();
            let current = counted.iter().filter(|life| **life == Some(now)).count() as u32;
            assert_eq!(
                core.tally(),
                Tally {
                    bad: current,
                    total: current
                }
            );
        });
    }
}

#[test]
fn successes_and_failures_at_once_are_all_in_the_window() {
    for window in windows(4) {
        model(move || {
            let (core, _) = core(config(window));
            let end = |outcome| {
                move |core: &Core| {
                    let tag = core.admit().0.expect("closed");
                    settle(core, tag, outcome);
                }
            };
            let threads = [Outcome::Success, Outcome::Failure].map(|one| spawn(&core, end(one)));
            end(Outcome::Success)(&core);
            for thread in threads {
                thread.join().unwrap();
            }
            assert_eq!(core.tally(), Tally { bad: 1, total: 3 });
        });
    }
}

#[test]
fn a_circuit_that_a_probe_closes_begins_to_count_from_nothing() {
    for window in windows(2) {
        model(move || {
            let (core, clock) = core(config(window));
            let old = core.admit().0.expect("closed");
            open(&core, clock);
            let probe = core.admit().0.expect("the probe");
            let late = spawn(&core, move |core| settle(core, old, Outcome::Failure).stale);
            let other = spawn(&core, fail);
            assert!(settle(&core, probe, Outcome::Success).moved.is_some());
            assert!(late.join().unwrap(), "of an earlier life");
            let counted = u32::from(other.join().unwrap().is_some());
            assert_eq!(core.word().state(), State::Closed);
            assert_eq!(
                core.tally(),
                Tally {
                    bad: counted,
                    total: counted
                }
            );
        });
    }
}

#[test]
fn a_probe_that_is_late_or_dropped_leaves_nothing_behind() {
    for window in windows(2) {
        model(move || {
            let (core, clock) = core(config(window));
            open(&core, clock);
            let hung = core.admit().0.expect("the probe");
            clock.advance(OPEN);
            // One of these finds the lease over; what the other two do is in time or stale.
            let late = spawn(&core, move |core| settle(core, hung, Outcome::Ignore).freed);
            let closing = spawn(&core, |core| {
                let tag: Tag = core.admit().0.ok()?;
                settle(core, tag, Outcome::Success)
                    .moved
                    .map(|moved| moved.reason)
            });
            let mine = core.admit().0.ok();
            let dropped = mine.map(|tag| settle(&core, tag, Outcome::Ignore).stale);
            late.join().unwrap();
            match closing.join().unwrap() {
                Some(reason) => {
                    assert_eq!(reason, Reason::ProbesSucceeded);
                    assert_eq!(core.word().state(), State::Closed);
                }
                None => {
                    assert!(dropped.is_some(), "somebody had the probe");
                    assert_eq!(core.word().state(), State::HalfOpen);
                    let probe = core.admit().0.expect("it came back");
                    settle(&core, probe, Outcome::Success);
                }
            }
            assert_eq!(core.tally(), Tally::default());
            assert_eq!([fail(&core).is_some(), fail(&core).is_some()], [true; 2]);
            assert_eq!(core.word().state(), State::Open, "two more, and no fewer");
        });
    }
}
