//! What is counted, alone.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;

use super::model;
use crate::circuit::window::count::CountWindow;
use crate::circuit::window::time::TimeWindow;
use crate::state::Tally;

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
        window.record(2, false, is_current).expect("current");
        assert_eq!(window.tally(2), Tally { bad: 1, total: 2 });
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

#[test]
fn the_tape_of_a_count_window_loses_no_call_where_a_word_is_full() {
    model(|| {
        let window = Arc::new(CountWindow::new(40));
        for _ in 0..31 {
            window.record(1, false, || true).unwrap();
        }
        let threads = [(); 2].map(|()| {
            let window = Arc::clone(&window);
            thread::spawn(move || {
                window.record(1, true, || true).unwrap();
                window.tally(1).bad
            })
        });
        window.record(1, true, || true).unwrap();
        let mine = window.tally(1).bad;
        let [one, other] = threads.map(|thread| thread.join().unwrap());
        assert_eq!(window.tally(1), Tally { bad: 3, total: 34 });
        assert!(
            [mine, one, other].contains(&3),
            "one sees all: {mine} {one} {other}"
        );
    });
}

#[test]
fn a_window_that_becomes_spotless_beside_a_bad_call_does_not_stay_so() {
    model(|| {
        let window = Arc::new(CountWindow::new(4));
        let good = |window: &CountWindow| {
            // As a circuit does, which writes no good call that changes nothing.
            if !window.is_spotless(1) {
                window.record(1, false, || true).unwrap();
            }
        };
        for _ in 0..32 {
            good(&window);
        }
        // The next good call begins a word, and so looks whether all are good.
        let other = {
            let window = Arc::clone(&window);
            thread::spawn(move || good(&window))
        };
        let bad = {
            let window = Arc::clone(&window);
            thread::spawn(move || {
                window.record(1, true, || true).unwrap();
                window.tally(1).bad
            })
        };
        good(&window);
        other.join().unwrap();
        assert_eq!(bad.join().unwrap(), 1, "by the one that made it");
        assert_eq!(window.tally(1), Tally { bad: 1, total: 4 });
        for _ in 0..4 {
            good(&window);
        }
        assert_eq!(window.tally(1), Tally { bad: 0, total: 4 });
    });
}
