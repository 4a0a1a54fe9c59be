//! Which paths are run, in which order.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::fmt;
use std::sync::Arc;

use tokio::runtime::Runtime;

use super::choice::{Chooser, Plan};
use super::error::Stopped;
use super::path::{Path, Verdict};
use super::report::{Counterexample, Report};
use super::running::runtime;
use super::schedule::Schedule;
use super::world::{Model, World};
use crate::engine::Registered;
use crate::erased::Value;
use crate::saga::Saga;
use crate::signal::Signal;
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
    pub(super) signals: Vec<(Arc<str>, Arc<[u8]>)>,
    faults_max: u32,
    paths_max: u64,
}

/// States that were seen, and with how few faults.
pub(super) type Seen = HashMap<u64, u32>;

/// A path that is still to be run: the faults in it, its choices, and what must be seen at the
/// last of them. Fewest faults first, then the shortest.
type Open = Reverse<(u32, usize, Vec<u8>, u64)>;

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
            signals: Vec::new(),
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

    /// Has this be heard at some time, early or late; in a saga that can go on without it,
    /// perhaps never.
    ///
    /// # Panics
    ///
    /// Panics if `words` cannot be encoded.
    #[track_caller]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "as `Engine::signal` takes it"
    )]
    pub fn signal<T: Payload>(mut self, signal: &Signal<T>, words: T) -> Self {
        let words = serde_json::to_vec(&words).expect("the words can be encoded");
        self.signals.push((signal.name().into(), words.into()));
        self
    }

    /// Runs paths until a rule is broken, or everything within the bounds was seen.
    ///
    /// # Errors
    ///
    /// [`Stopped`] when the steps cannot be explored: they do not do the same twice, or make
    /// two calls at a time.
    ///
    /// # Panics
    ///
    /// Panics inside of another runtime.
    pub fn run(&self) -> Result<Report, Stopped> {
        let runtime = runtime();
        let mut seen = Seen::new();
        let mut paths = 0;
        let mut queue: BinaryHeap<Open> = BinaryHeap::from([Reverse((0, 0, Vec::new(), 0))]);
        let mut found = None;
        let mut cut = false;
        while let Some(Reverse((_, _, given, trail))) = queue.pop() {
            if paths >= self.paths_max {
                cut = true;
                break;
            }
            paths += 1;
            let trail = Some(trail).filter(|_| !given.is_empty());
            let length = given.len();
            let plan = Plan::Given(given, trail);
            let verdict = self.path(&runtime, plan, &mut seen)?;
            if let Verdict::Broken(rule) = verdict {
                found = Some(self.confirmed(&runtime, rule)?);
                break;
            }
            self.branch(length, &mut queue);
        }
        Ok(Report {
            paths,
            states: seen.len() as u64,
            faults_max: self.faults_max,
            exhausted: found.is_none() && !cut,
            counterexample: found,
        })
    }

    /// Takes one path, where `schedule` says what goes wrong: for sagas that are too large to
    /// be exhausted. What broke a rule, if anything did.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    ///
    /// # Panics
    ///
    /// As [`run`](Self::run).
    pub fn walk(&self, schedule: &Schedule) -> Result<Option<Counterexample>, Stopped> {
        let runtime = runtime();
        let plan = Plan::Scheduled(schedule.clone());
        match self.path(&runtime, plan, &mut Seen::new())? {
            Verdict::Fine => Ok(None),
            Verdict::Broken(rule) => self.confirmed(&runtime, rule).map(Some),
        }
    }

    /// Runs one path again, and tells what happens in it.
    ///
    /// # Errors
    ///
    /// [`Stopped`] when there is no such path in this saga.
    ///
    /// # Panics
    ///
    /// As [`run`](Self::run).
    pub fn replay(&self, choices: &[u8]) -> Result<Vec<String>, Stopped> {
        let plan = Plan::Given(choices.to_vec(), None);
        let verdict = self.path(&runtime(), plan, &mut Seen::new())?;
        let mut story = self.world.lock().story.clone();
        if let Verdict::Broken(rule) = verdict {
            story.push(rule);
        }
        Ok(story)
    }

    fn path(&self, runtime: &Runtime, plan: Plan, seen: &mut Seen) -> Result<Verdict, Stopped> {
        let verdict = Path::run(self, runtime, plan, seen);
        let inner = self.world.lock();
        if inner.hasty {
            return Err(Stopped::hasty(inner.story.clone()));
        }
        if inner.chooser.diverged {
            return Err(Stopped::diverged(inner.story.clone()));
        }
        Ok(verdict)
    }

    /// A counterexample that was seen twice.
    fn confirmed(&self, runtime: &Runtime, rule: String) -> Result<Counterexample, Stopped> {
        let (story, choices, faults) = {
            let inner = self.world.lock();
            let chooser = &inner.chooser;
            (inner.story.clone(), chooser.choices(), chooser.faults)
        };
        let plan = Plan::Given(choices.clone(), None);
        let again = self.path(runtime, plan, &mut Seen::new())?;
        let same = matches!(again, Verdict::Broken(again) if again == rule);
        if !same || self.world.lock().story != story {
            return Err(Stopped::diverged(story));
        }
        Ok(Counterexample {
            rule,
            story,
            choices,
            faults,
        })
    }

    /// Every other choice that could have been made after the first `length`.
    fn branch(&self, length: usize, queue: &mut BinaryHeap<Open>) {
        let inner = self.world.lock();
        let Chooser { taken, .. } = &inner.chooser;
        let mut before: Vec<u8> = Vec::with_capacity(taken.len());
        let mut faults = 0;
        for (place, choice) in taken.iter().enumerate() {
            if place >= length {
                for (other, fault) in (0_u8..).zip(&choice.faults).skip(1) {
                    let total = faults + u32::from(*fault);
                    if total <= self.faults_max {
                        let mut next = before.clone();
                        next.push(other);
                        queue.push(Reverse((total, next.len(), next, choice.trail)));
                    }
                }
            }
            faults += u32::from(choice.faults[usize::from(choice.chosen)]);
            before.push(choice.chosen);
        }
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
