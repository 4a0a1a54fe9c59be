//! Every interleaving of a few threads on the core, explored by loom:
//!
//! ```sh
//! RUSTFLAGS="--cfg loom" cargo test -p swifttrack-breaker --release --lib models
//! ```
//!
//! The clock stands still within a model, as it may in a program.

use std::time::Duration;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;

use crate::circuit::core::{Core, Settled, Tag};
use crate::circuit::machine::Order;
use crate::circuit::window::count::CountWindow;
use crate::circuit::window::time::TimeWindow;
use crate::circuit::word::Phase;
use crate::classify::Outcome;
use crate::clock::ManualClock;
use crate::config::BreakerConfig;
use crate::policy::{Policy, Window};
use crate::state::{Reason, State, Tally};

/// Runs all schedules with up to three preemptions: every known bug of this kind needs fewer.
fn model(check: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(check);
}

fn core(config: BreakerConfig) -> (Arc<Core>, ManualClock) {
    let clock = ManualClock::new();
    (
        Arc::new(Core::new(config.clock(clock.clock()), 1, 2)),
        clock,
    )
}

fn settle(core: &Core, tag: Tag, outcome: Outcome) -> Settled {
    core.settle(tag, outcome, 0, 0)
}

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
            let core = Arc::clone(&core);
            thread::spawn(move || {
                let tag = core.admit().0.expect("closed");
                settle(&core, tag, Outcome::Failure).moved.is_some()
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
        let threads = [(); 2].map(|()| {
            let core = Arc::clone(&core);
            thread::spawn(move || core.admit().0.is_ok())
        });
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
        let dropping = {
            let core = Arc::clone(&core);
            thread::spawn(move || assert!(settle(&core, probe, Outcome::Ignore).freed))
        };
        let other = {
            let core = Arc::clone(&core);
            thread::spawn(move || core.admit().0.is_ok())
        };
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
        let late = {
            let core = Arc::clone(&core);
            thread::spawn(move || {
                settle(&core, hung, Outcome::Success)
                    .moved
                    .map(|moved| moved.reason)
            })
        };
        let other = {
            let core = Arc::clone(&core);
            thread::spawn(move || core.admit())
        };
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
        let resetting = {
            let core = Arc::clone(&core);
            thread::spawn(move || {
                core.obey(Order::Reset);
                let tag = core.admit().0.expect("closed");
                settle(&core, tag, Outcome::Failure);
            })
        };
        let late = {
            let core = Arc::clone(&core);
            thread::spawn(move || settle(&core, old, Outcome::Failure))
        };
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
        let ordering = {
            let core = Arc::clone(&core);
            thread::spawn(move || core.obey(Order::ForceOpen).to)
        };
        let failing = {
            let core = Arc::clone(&core);
            thread::spawn(move || {
                if let (Ok(tag), _) = core.admit() {
                    settle(&core, tag, Outcome::Failure);
                }
            })
        };
        let ordered = ordering.join().unwrap();
        failing.join().unwrap();
        assert_eq!(core.word(), ordered);
        assert!(core.admit().0.is_err());
    });
}

/// The window's part of a settled call, under a generation that another thread moves on.
fn current(generation: &AtomicU64, mine: u32, now: u64) -> Option<u64> {
    (generation.load(Ordering::Acquire) == u64::from(mine)).then_some(now)
}

#[test]
fn a_late_writer_never_wipes_a_count_window_of_a_newer_generation() {
    model(|| {
        let generation = Arc::new(AtomicU64::new(1));
        let window = Arc::new(CountWindow::new(8));
        let late = {
            let (generation, window) = (Arc::clone(&generation), Arc::clone(&window));
            thread::spawn(move || window.record(1, true, || current(&generation, 1, 0).is_some()))
        };
        let other = {
            let (generation, window) = (Arc::clone(&generation), Arc::clone(&window));
            thread::spawn(move || window.record(1, true, || current(&generation, 1, 0).is_some()))
        };
        generation.store(2, Ordering::Release);
        let is_current = || current(&generation, 2, 0).is_some();
        window.record(2, true, is_current).expect("current");
        late.join().unwrap();
        other.join().unwrap();
        assert_eq!(
            window.record(2, false, is_current),
            Some(Tally { bad: 1, total: 2 })
        );
    });
}

#[test]
fn a_late_writer_never_wipes_a_bucket_of_a_newer_time_or_generation() {
    model(|| {
        let generation = Arc::new(AtomicU64::new(1));
        let now = Arc::new(AtomicU64::new(0));
        let window = Arc::new(TimeWindow::new(10, 1));
        let threads = [0, 100].map(|read| {
            let (generation, window, now) = (
                Arc::clone(&generation),
                Arc::clone(&window),
                Arc::clone(&now),
            );
            // Both times are the same bucket; the first clock was read long ago.
            thread::spawn(move || {
                let current = || current(&generation, 1, now.load(Ordering::Acquire));
                window.record(1, read, 0, true, current)
            })
        });
        now.store(100, Ordering::Release);
        generation.store(2, Ordering::Release);
        let current = || current(&generation, 2, 100);
        window.record(2, 100, 0, true, current).expect("current");
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(window.tally(2, 100), Tally { bad: 1, total: 1 });
    });
}

#[test]
fn of_two_failures_on_two_stripes_one_sees_both() {
    model(|| {
        let window = Arc::new(TimeWindow::new(10, 2));
        let other = {
            let window = Arc::clone(&window);
            thread::spawn(move || {
                window.record(1, 5, 1, true, || Some(5)).unwrap();
                window.tally(1, 5).bad
            })
        };
        window.record(1, 5, 0, true, || Some(5)).unwrap();
        let mine = window.tally(1, 5).bad;
        let other = other.join().unwrap();
        assert!(mine == 2 || other == 2, "{mine} {other}");
    });
}
