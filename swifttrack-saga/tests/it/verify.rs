//! The explorer finds what is planted, and nothing where nothing is.

use std::collections::{BTreeMap, BTreeSet};

use swifttrack_saga::verify::{Explorer, Lost, Model, Report, World};
use swifttrack_saga::{
    Attempt, Compensate, Evidence, NotYet, Resolution, Retry, Saga, Step, StepError, Tune as _,
};

/// What is wrong with a saga.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    None,
    UndoIgnoresMaybe,
    UndoIsNotIdempotent,
    KeyIsNotSent,
    UndoNeedsAnother,
    NoTombstones,
    ResolveTrustsNone,
}

/// A partner that holds what it is asked to hold, once a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Partner {
    held: BTreeMap<String, u32>,
    gone: BTreeSet<String>,
    tombstones: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Ask {
    Hold { key: String, step: String },
    Release { step: String, needs: Option<String> },
    Query { step: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Say {
    Done,
    No,
    None,
}

impl Model for Partner {
    type Request = Ask;
    type Answer = Say;

    fn answer(&mut self, request: &Ask) -> Say {
        match request {
            Ask::Hold { step, .. } if self.gone.contains(step) => Say::No,
            Ask::Hold { key, step } => {
                let name = format!("{step} {key}");
                self.held.insert(name, 1);
                Say::Done
            }
            Ask::Release {
                needs: Some(other), ..
            } if !self.holds(other) => Say::No,
            Ask::Release { step, .. } => {
                let held = self.holds(step);
                self.held.retain(|name, _| !name.starts_with(step.as_str()));
                if self.tombstones {
                    self.gone.insert(step.clone());
                }
                if held { Say::Done } else { Say::None }
            }
            Ask::Query { step } if self.holds(step) => Say::Done,
            Ask::Query { .. } => Say::None,
        }
    }

    fn refusal(&self, request: &Ask) -> Option<Say> {
        matches!(request, Ask::Hold { step, .. } if !self.holds(step)).then_some(Say::No)
    }

    fn effects(&self) -> Vec<String> {
        self.held.keys().cloned().collect()
    }

    fn completed(&self) -> Result<(), String> {
        match self.held.len() {
            3 => Ok(()),
            _ => Err(format!("it holds {:?}", self.effects())),
        }
    }

    fn broken(&self) -> Option<String> {
        let steps: Vec<&str> = self
            .held
            .keys()
            .filter_map(|name| name.split(' ').next())
            .collect();
        let once: BTreeSet<&str> = steps.iter().copied().collect();
        (once.len() < steps.len()).then(|| format!("something is held twice: {steps:?}"))
    }
}

impl Partner {
    fn holds(&self, step: &str) -> bool {
        self.held.keys().any(|name| name.starts_with(step))
    }
}

struct Hold {
    world: World<Partner>,
    name: &'static str,
    bug: Bug,
}

impl Step for Hold {
    const NAME: &'static str = "hold";
    type In = u32;
    type Out = u32;

    async fn run(&self, attempt: &Attempt, _: &u32) -> Result<u32, StepError> {
        let key = match self.bug {
            Bug::KeyIsNotSent => attempt.number().to_string(),
            _ => attempt.key().to_owned(),
        };
        let step = self.name.to_owned();
        match self.world.call(Ask::Hold { key, step }).await {
            Ok(Say::Done) => Ok(1),
            Ok(_) => Err(StepError::rejected("NO", "no")),
            Err(Lost::NotSent) => Err(StepError::retry("NOT_SENT", "not sent")),
            Err(Lost::Unknown) => Err(StepError::unknown("LOST", "no answer")),
        }
    }

    async fn resolve(&self, _: &Attempt, _: &u32) -> Result<Resolution<u32>, NotYet> {
        let step = self.name.to_owned();
        Ok(match self.world.call(Ask::Query { step }).await? {
            Say::Done => Resolution::Done(1),
            _ if self.bug == Bug::ResolveTrustsNone => Resolution::Never,
            _ => Resolution::NotYet,
        })
    }
}

impl Compensate for Hold {
    async fn undo(&self, _: &Attempt, _: &u32, known: Evidence<&u32>) -> Result<(), NotYet> {
        if self.bug == Bug::UndoIgnoresMaybe && known == Evidence::Maybe {
            return Ok(());
        }
        let needs = (self.bug == Bug::UndoNeedsAnother && self.name == "a").then(|| "b".to_owned());
        let step = self.name.to_owned();
        match self.world.call(Ask::Release { step, needs }).await? {
            Say::Done => Ok(()),
            Say::None if self.bug == Bug::UndoIsNotIdempotent => {
                Err(NotYet::new("NOT_FOUND", "there is nothing to release"))
            }
            Say::None => Ok(()),
            Say::No => Err(NotYet::new("CONFLICT", "another one must be held")),
        }
    }
}

fn explore(bug: Bug, faults: u32) -> Report {
    let world = World::new(Partner {
        held: BTreeMap::new(),
        gone: BTreeSet::new(),
        tombstones: bug != Bug::NoTombstones,
    });
    let saga = Saga::<u32>::define("abc", 1, |s, input| {
        let hold = |name| {
            let world = world.clone();
            let hold = Hold { world, name, bug }.named(name);
            hold.retry(Retry::never().times(2))
                .undo_retry(Retry::never().without_end())
                .tombstone()
        };
        let a = s.step(hold("a"), input);
        let b = s.step(hold("b"), a);
        let c = s.step(hold("c"), b);
        s.finish(c)
    })
    .unwrap();
    Explorer::new(&saga, world, 7).faults_max(faults).run()
}

#[test]
fn a_correct_saga_of_three_steps_is_exhausted_with_two_faults() {
    let began = std::time::Instant::now();
    let report = explore(Bug::None, 2);
    assert!(report.counterexample().is_none(), "{report}");
    assert!(report.exhausted(), "{report}");
    println!("{report}, in {:?}", began.elapsed());
}

/// What the explorer says of a bug, and that a replay says the same.
fn found(bug: Bug, faults: u32, rule: &str) {
    let report = explore(bug, 2);
    let counterexample = report
        .counterexample()
        .unwrap_or_else(|| panic!("{bug:?}: {report}"));
    assert_eq!(counterexample.faults(), faults, "{report}");
    assert!(counterexample.rule().contains(rule), "{report}");
}

#[test]
fn an_undo_that_ignores_maybe_is_found() {
    found(Bug::UndoIgnoresMaybe, 2, "these stand");
}

#[test]
fn an_undo_that_is_not_idempotent_is_found() {
    found(Bug::UndoIsNotIdempotent, 2, "not ended");
}

#[test]
fn a_key_that_is_not_sent_is_found() {
    found(Bug::KeyIsNotSent, 1, "twice");
}

#[test]
fn an_undo_that_needs_another_effect_is_found() {
    found(Bug::UndoNeedsAnother, 1, "not ended");
}

#[test]
fn a_partner_without_tombstones_is_found() {
    found(Bug::NoTombstones, 2, "these stand");
}

#[test]
fn a_resolve_that_trusts_none_is_found() {
    found(Bug::ResolveTrustsNone, 1, "these stand");
}
