//! Sagas and faults at random, for [`proptest`].
//!
//! [`schedules`] walks your own saga where it is too large to exhaust; [`sagas`] draws whole
//! sagas over a partner that keeps its word, to test what runs sagas.
//!
//! ```
//! use proptest::test_runner::{Config, TestRunner};
//! use swifttrack_saga::verify::random::{sagas, schedules};
//!
//! let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(50) });
//! runner
//!     .run(&(sagas(), schedules(4)), |(saga, schedule)| {
//!         let found = saga.explorer().walk(&schedule).expect("its steps do the same twice");
//!         assert!(found.is_none(), "{saga:?}: {}", found.unwrap());
//!         Ok(())
//!     })
//!     .unwrap();
//! ```

mod partner;
mod saga;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};

pub use self::partner::{Ask, Ledger, Say};
pub use self::saga::RandomSaga;
use self::saga::{Ending, Heard, Part, Question, Stage};
use super::schedule::Schedule;

/// Members of a group, at most.
const MEMBERS_MAX: usize = 3;
/// Stages before the pivot or the end, at most.
const STAGES_MAX: usize = 4;
/// Choices between two that are not harmless, at most.
const GAP_MAX: u8 = 12;

/// Up to so many choices that are not harmless, anywhere in a path. It shrinks towards fewer
/// and earlier ones.
pub fn schedules(picks_max: usize) -> impl Strategy<Value = Schedule> {
    vec((0..GAP_MAX, 1..=u8::MAX), 0..=picks_max).prop_map(Schedule::new)
}

/// Sagas of every kind of node, with up to one pivot: steps with one or two calls, with and
/// without tombstones, with and without a question, alone and in groups.
pub fn sagas() -> impl Strategy<Value = RandomSaga> {
    let before = vec(stage(), 1..=STAGES_MAX);
    let after = vec(stage(), 0..=2);
    let pivot = prop_oneof![Just(None), (part(), after).prop_map(Some)];
    let deadline = prop_oneof![3 => Just(false), 1 => Just(true)];
    (before, pivot, deadline).prop_map(|(before, pivot, deadline)| RandomSaga {
        before,
        pivot,
        deadline,
    })
}

fn stage() -> impl Strategy<Value = Stage> {
    let heard = prop_oneof![
        Just(Heard::Always),
        Just(Heard::InTime),
        Just(Heard::Perhaps)
    ];
    prop_oneof![
        6 => part().prop_map(Stage::Step),
        2 => vec(part(), 2..=MEMBERS_MAX).prop_map(Stage::Group),
        1 => Just(Stage::Sleep),
        1 => heard.prop_map(Stage::Signal),
    ]
}

fn part() -> impl Strategy<Value = Part> {
    let ending = prop_oneof![
        4 => Just(Ending::Tombstone),
        2 => Just(Ending::Quiet),
        1 => Just(Ending::Irrevocable),
        1 => Just(Ending::ReadOnly),
    ];
    let question = prop_oneof![
        Just(Question::None),
        Just(Question::Query),
        Just(Question::Fence)
    ];
    (ending, question, 0_u16..3, any::<bool>()).prop_map(|(ending, question, retries, two)| Part {
        ending,
        question,
        retries,
        two,
    })
}

#[cfg(test)]
mod tests {
    use proptest::test_runner::{Config, TestRunner};

    use super::*;
    use crate::guard::{Guard, MISSING};
    use crate::verify::{Explorer, World};

    /// Whether a walk of some saga breaks a rule, if its partner is first changed.
    fn finds(change: fn(&mut Ledger)) -> bool {
        let config = Config {
            failure_persistence: None,
            max_shrink_iters: 0,
            ..Config::with_cases(2_000)
        };
        let mut runner = TestRunner::new_with_rng(
            config,
            proptest::test_runner::TestRng::deterministic_rng(
                proptest::test_runner::RngAlgorithm::ChaCha,
            ),
        );
        let all = runner.run(&(sagas(), schedules(5)), |(saga, schedule)| {
            let mut ledger = saga.ledger();
            change(&mut ledger);
            let world = World::new(ledger);
            let explorer = Explorer::new(&saga.saga(&world), world, 1);
            let explorer = saga.with_signals(explorer);
            match explorer.walk(&schedule).unwrap() {
                Some(found) => Err(proptest::test_runner::TestCaseError::fail(
                    found.to_string(),
                )),
                None => Ok(()),
            }
        });
        all.is_err()
    }

    #[test]
    fn a_partner_that_lies_about_tombstones_is_found() {
        assert!(!finds(|_| ()));
        assert!(finds(|ledger| ledger.tombstones.clear()));
    }

    #[test]
    fn an_engine_that_forgets_maybe_is_found() {
        MISSING.with(|missing| missing.set(Some(Guard::Maybe)));
        let found = finds(|_| ());
        MISSING.with(|missing| missing.set(None));
        assert!(found);
    }
}
