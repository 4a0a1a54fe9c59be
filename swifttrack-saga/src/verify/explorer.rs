//! Which paths are run, in which order.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::fmt;
use std::sync::Arc;

use super::path::Verdict;
use super::report::{Counterexample, Report};
use super::world::{Model, World};
use crate::engine::Registered;
use crate::erased::Value;
use crate::saga::Saga;
use crate::step::Payload;

/// Explores a saga.
///
/// # Defaults
///
/// - `faults_max`: 2
/// - `paths_max`: 1,000,000
/// - `cancels`: true
#[must_use = "nothing is explored before `run`"]
pub struct Explorer<M: Model> {
    pub(super) world: World<M>,
    pub(super) registered: Arc<Registered>,
    pub(super) input: Value,
    pub(super) bytes: Arc<[u8]>,
    pub(super) cancels: bool,
    faults_max: u32,
    paths_max: u64,
}

/// States that were seen, and with how few faults.
pub(super) type Seen = HashMap<u64, u32>;

impl<M: Model> Explorer<M> {
    /// Explores this saga, whose steps reach their partners through `world`, from this input.
    ///
    /// # Panics
    ///
    /// Panics if the input cannot be encoded.
    #[track_caller]
    pub fn new<I: Payload, O>(saga: &Saga<I, O>, world: World<M>, input: I) -> Self {
        let bytes = serde_json::to_vec(&input).expect("the input can be encoded");
        Self {
            world,
            registered: Arc::new(Registered::new(saga)),
            input: Arc::new(input),
            bytes: bytes.into(),
            cancels: true,
            faults_max: 2,
            paths_max: 1_000_000,
        }
    }

    /// So many things go wrong at most: a cancel and a refusal count too.
    pub fn faults_max(mut self, faults: u32) -> Self {
        self.faults_max = faults;
        self
    }

    /// So many paths are run at most.
    pub fn paths_max(mut self, paths: u64) -> Self {
        self.paths_max = paths;
        self
    }

    /// Whether somebody may cancel the saga.
    pub fn cancels(mut self, cancels: bool) -> Self {
        self.cancels = cancels;
        self
    }

    /// Runs paths until a rule is broken, or everything within the bounds was seen.
    ///
    /// # Panics
    ///
    /// Panics if a path does not go the same way twice (steps must be deterministic), or
    /// inside of another runtime.
    pub fn run(&self) -> Report {
        let runtime = super::path::runtime();
        let mut seen = Seen::new();
        let mut paths = 0;
        // Fewest faults first, then the shortest: the first to break a rule is the simplest.
        let mut queue = BinaryHeap::from([Reverse((0_u32, 0_usize, Vec::<u8>::new()))]);
        let mut found = None;
        while let Some(Reverse((_, _, given))) = queue.pop() {
            if paths >= self.paths_max {
                queue.push(Reverse((0, 0, given)));
                break;
            }
            paths += 1;
            let verdict = self.path(&runtime, &given, &mut seen);
            let inner = self.world.lock();
            let chooser = &inner.chooser;
            assert!(
                !chooser.diverged,
                "the steps are not deterministic: {given:?}"
            );
            if let Verdict::Broken(rule) = verdict {
                let choices = chooser.taken.iter().map(|(choice, _)| *choice);
                let mut choices: Vec<u8> = choices.collect();
                // Harmless ones are what is chosen anyway.
                let length = choices.iter().rposition(|choice| *choice != 0);
                choices.truncate(length.map_or(0, |last| last + 1));
                found = Some(Counterexample {
                    rule,
                    story: inner.story.clone(),
                    choices,
                    faults: chooser.faults,
                });
                break;
            }
            let mut faults = 0;
            for (place, (choice, options)) in chooser.taken.iter().enumerate() {
                if place >= given.len() {
                    for (other, fault) in (0_u8..).zip(options).skip(1) {
                        let total = faults + u32::from(*fault);
                        if total <= self.faults_max {
                            let before = chooser.taken[..place].iter();
                            let mut next: Vec<u8> = before.map(|(choice, _)| *choice).collect();
                            next.push(other);
                            queue.push(Reverse((total, next.len(), next)));
                        }
                    }
                }
                faults += u32::from(options[usize::from(*choice)]);
            }
        }
        Report {
            paths,
            states: seen.len() as u64,
            faults_max: self.faults_max,
            exhausted: found.is_none() && queue.is_empty(),
            counterexample: found,
        }
    }

    /// Runs one path again, and tells what happened in it.
    ///
    /// # Panics
    ///
    /// As [`run`](Self::run).
    #[must_use]
    pub fn replay(&self, choices: &[u8]) -> Vec<String> {
        let runtime = super::path::runtime();
        let verdict = self.path(&runtime, choices, &mut Seen::new());
        let mut story = self.world.lock().story.clone();
        if let Verdict::Broken(rule) = verdict {
            story.push(rule);
        }
        story
    }
}

impl<M: Model> fmt::Debug for Explorer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Explorer")
            .field("definition", &self.registered.definition)
            .field("faults_max", &self.faults_max)
            .finish_non_exhaustive()
    }
}
