//! The explorer finds what is planted, and nothing where nothing is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use swifttrack_saga::verify::{Counterexample, Explorer, Lost, Model, Report, Stopped, World};
use swifttrack_saga::{
    Attempt, Compensate, Evidence, NotYet, Resolution, Retry, Saga, Signal, Step, StepError,
    Tune as _,
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
    TicketIsNotTheTombstone,
}

/// A partner that holds what it is asked to hold, once a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Partner {
    held: BTreeMap<String, u32>,
    gone: BTreeSet<String>,
    tombstones: bool,
    /// Rises with every release: a ticket from before is worth nothing.
    round: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Ask {
    Hold { key: String, step: String },
    Release { step: String, needs: Option<String> },
    Query { step: String },
    Ticket,
    HoldWith { ticket: u32, step: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Say {
    Done,
    No,
    None,
    Ticket(u32),
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
                self.round += 1;
                let held = self.holds(step);
                self.held.retain(|name, _| !name.starts_with(step.as_str()));
                if self.tombstones {
                    self.gone.insert(step.clone());
                }
                if held { Say::Done } else { Say::None }
            }
            Ask::Query { step } if self.holds(step) => Say::Done,
            Ask::Query { .. } => Say::None,
            Ask::Ticket => Say::Ticket(self.round),
            Ask::HoldWith { ticket, .. } if *ticket != self.round => Say::No,
            Ask::HoldWith { step, .. } => {
                self.held.insert(format!("{step} it"), 1);
                Say::Done
            }
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
        let ask = match self.bug {
            Bug::TicketIsNotTheTombstone => match self.world.call(Ask::Ticket).await {
                Ok(Say::Ticket(ticket)) => Ask::HoldWith { ticket, step },
                _ => return Err(StepError::retry("NO_TICKET", "no ticket")),
            },
            _ => Ask::Hold { key, step },
        };
        match self.world.call(ask).await {
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
            Say::No | Say::Ticket(_) => Err(NotYet::new("CONFLICT", "another one must be held")),
        }
    }
}

fn explorer(bug: Bug, faults: u32) -> Explorer<Partner> {
    explorer_of(bug, None).faults_max(faults)
}

fn explorer_of(bug: Bug, deadline: Option<Duration>) -> Explorer<Partner> {
    let world = World::new(Partner {
        held: BTreeMap::new(),
        gone: BTreeSet::new(),
        tombstones: !matches!(bug, Bug::NoTombstones | Bug::TicketIsNotTheTombstone),
        round: 0,
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
    let saga = match deadline {
        Some(deadline) => saga.deadline(deadline),
        None => saga,
    };
    Explorer::new(&saga, world, 7)
}

fn explore(bug: Bug, faults: u32) -> Report {
    explorer(bug, faults).run().unwrap()
}

#[test]
fn a_correct_saga_of_three_steps_is_exhausted_with_two_faults() {
    let began = std::time::Instant::now();
    let report = explore(Bug::None, 2);
    assert!(report.holds() && report.exhausted(), "{report}");
    // As the documentation says.
    assert_eq!(
        (report.states(), report.paths()),
        (1_021, 1_281),
        "{report}"
    );
    println!("{report}, in {:?}", began.elapsed());
}

/// What the explorer says of a bug, and that a replay says the same.
fn found(bug: Bug, faults: u32, rule: &str) -> Counterexample {
    let explorer = explorer(bug, 2);
    let report = explorer.run().unwrap();
    let counterexample = report
        .counterexample()
        .unwrap_or_else(|| panic!("{bug:?}: {report}"));
    assert_eq!(counterexample.faults(), faults, "{report}");
    assert!(counterexample.rule().contains(rule), "{report}");
    let mut again = explorer.replay(counterexample.choices()).unwrap();
    assert_eq!(again.pop().as_deref(), Some(counterexample.rule()));
    assert_eq!(again, counterexample.story());
    counterexample.clone()
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
    let found = found(Bug::KeyIsNotSent, 1, "twice");
    let told = [
        r#"something is held twice: ["a", "a", "b", "c"]"#,
        "   1    journal 1: the saga begins",
        "   2  a, attempt 1",
        "   3  the process freezes, and another takes over",
        "   4    journal 2: interrupted",
        "   5  a, attempt 2",
        r#"   6      Query { step: "a" } is answered None"#,
        r#"   7      Hold { key: "2", step: "a" } is answered Done"#,
        "   8    journal 3: a is done",
        "   9  b, attempt 1",
        r#"  10      Hold { key: "1", step: "b" } is answered Done"#,
        "  11    journal 4: b is done",
        "  12  c, attempt 1",
        r#"  13      Hold { key: "1", step: "c" } is answered Done"#,
        "  14    journal 5: c is done",
        r#"  15  the frozen process goes on with a, attempt 1: Hold { key: "1", step: "a" } is answered Done"#,
        "replay with [3]",
    ];
    assert_eq!(found.to_string(), told.join("\n"));
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

/// Late requests cannot do this: the frozen process asks for a new ticket after the undo.
#[test]
fn a_frozen_process_that_goes_on_is_found() {
    let found = found(Bug::TicketIsNotTheTombstone, 2, "these stand");
    let frozen = found
        .story()
        .iter()
        .filter(|line| line.contains("frozen process goes on"));
    assert_eq!(frozen.count(), 2, "{found}");
}

/// A number that steps read and write, and who has written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Counter {
    count: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Count {
    Read,
    Write(u32),
}

impl Model for Counter {
    type Request = Count;
    type Answer = u32;

    fn answer(&mut self, request: &Count) -> u32 {
        if let Count::Write(count) = request {
            self.count = *count;
        }
        self.count
    }

    fn effects(&self) -> Vec<String> {
        Vec::new()
    }

    fn completed(&self) -> Result<(), String> {
        match self.count {
            2 => Ok(()),
            count => Err(format!("two have counted to {count}")),
        }
    }
}

/// How a step counts.
#[derive(Clone, Copy)]
enum How {
    /// Reads, then writes.
    ReadAndWrite,
    /// Both at a time.
    AtOnce,
    /// By how often it has been called in this process.
    ByItself,
}

struct Add(World<Counter>, How, AtomicU32);

impl Step for Add {
    const NAME: &'static str = "add";
    type In = u32;
    type Out = u32;

    async fn run(&self, _: &Attempt, _: &u32) -> Result<u32, StepError> {
        let lost = |lost| StepError::unknown("LOST", lost);
        let before = match self.1 {
            How::ReadAndWrite => self.0.call(Count::Read).await.map_err(lost)?,
            How::AtOnce => {
                let both = tokio::join!(self.0.call(Count::Read), self.0.call(Count::Read));
                both.0.map_err(lost)?
            }
            How::ByItself => self.2.fetch_add(1, Ordering::Relaxed),
        };
        self.0.call(Count::Write(before + 1)).await.map_err(lost)
    }
}

fn count(how: How) -> Result<Report, Stopped> {
    let world = World::new(Counter::default());
    let saga = Saga::<u32>::define("count", 1, |s, input| {
        let add = |name| {
            let add = Add(world.clone(), how, AtomicU32::new(0)).named(name);
            add.irrevocable("what is counted is counted")
        };
        s.parallel(|g| {
            let (_, _) = (g.step(add("a"), input), g.step(add("b"), input));
        });
        s.finish(())
    })
    .unwrap();
    Explorer::new(&saga, world, 0).faults_max(0).run()
}

#[test]
fn members_of_a_group_meet_between_their_calls() {
    let report = count(How::ReadAndWrite).unwrap();
    let found = report
        .counterexample()
        .unwrap_or_else(|| panic!("{report}"));
    assert_eq!(found.faults(), 0, "{report}");
    assert!(found.rule().contains("counted to 1"), "{report}");
}

#[test]
fn steps_that_do_not_the_same_twice_are_an_error_of_its_own() {
    let stopped = count(How::ByItself).unwrap_err();
    assert!(stopped.is_divergence() && !stopped.is_hasty(), "{stopped}");
}

#[test]
fn two_calls_at_a_time_are_an_error_of_its_own() {
    let stopped = count(How::AtOnce).unwrap_err();
    assert!(stopped.is_hasty() && !stopped.is_divergence(), "{stopped}");
}

#[test]
fn choices_of_another_saga_are_an_error_of_its_own() {
    let stopped = explorer(Bug::None, 2).replay(&[0, 99]).unwrap_err();
    assert!(stopped.is_divergence(), "{stopped}");
}

/// A step that is irrevocable, one whose undo does or does not work, and one that is refused.
fn irrevocable(bug: Bug) -> Report {
    let world = World::new(Partner {
        held: BTreeMap::new(),
        gone: BTreeSet::new(),
        tombstones: true,
        round: 0,
    });
    let saga = Saga::<u32>::define("abc", 1, |s, input| {
        let hold = |name, bug| {
            let world = world.clone();
            Hold { world, name, bug }.named(name).retry(Retry::never())
        };
        let a = s.step(hold("a", Bug::None).irrevocable("it is sold"), input);
        let b = s.step(hold("b", bug).tombstone(), a);
        let c = s.step(hold("c", Bug::None).tombstone(), b);
        s.finish(c)
    })
    .unwrap();
    Explorer::new(&saga, world, 7).run().unwrap()
}

#[test]
fn what_an_irrevocable_step_did_stands_and_nothing_else() {
    let report = irrevocable(Bug::None);
    assert!(report.holds(), "{report}");
    let report = irrevocable(Bug::UndoIgnoresMaybe);
    let found = report
        .counterexample()
        .unwrap_or_else(|| panic!("{report}"));
    assert!(found.rule().ends_with(r#"["b saga:b"]"#), "{report}");
}

const GO: Signal<u32> = Signal::new("go");

#[test]
fn a_signal_comes_early_or_late_and_a_saga_that_needs_it_hangs_without() {
    let world = World::new(Counter::default());
    let saga = Saga::<u32>::define("waits", 1, |s, input| {
        let add = |name| {
            let add = Add(world.clone(), How::ReadAndWrite, AtomicU32::new(0)).named(name);
            add.irrevocable("what is counted is counted")
        };
        s.step(add("a"), input);
        let go = s.await_signal(GO);
        s.step(add("b"), go);
        s.finish(())
    })
    .unwrap();
    let explorer = || Explorer::new(&saga, world.clone(), 0).faults_max(0);
    let report = explorer().signal(&GO, 1).run().unwrap();
    assert!(report.holds(), "{report}");
    let report = explorer().run().unwrap();
    let found = report
        .counterexample()
        .unwrap_or_else(|| panic!("{report}"));
    assert!(found.rule().contains("never comes"), "{report}");
}

#[test]
fn a_deadline_may_end_while_a_step_runs() {
    let explore = |deadline| {
        let explorer = explorer_of(Bug::None, deadline).faults_max(1);
        let report = explorer.cancels(false).run().unwrap();
        assert!(report.holds(), "{report}");
        report.states()
    };
    assert!(explore(Some(Duration::from_secs(60))) > explore(None));
}

/// Compensation at random: whatever is drawn, nothing is left that should not be.
#[cfg(feature = "proptest")]
#[test]
fn ten_thousand_sagas_at_random_break_no_rule() {
    use proptest::test_runner::{Config, TestRunner};
    use swifttrack_saga::verify::random::{sagas, schedules};

    let mut runner = TestRunner::new(Config {
        failure_persistence: None,
        ..Config::with_cases(10_000)
    });
    let drawn = runner.run(&(sagas(), schedules(5)), |(saga, schedule)| {
        let found = saga.explorer().walk(&schedule).unwrap();
        assert!(found.is_none(), "{}", found.unwrap());
        Ok(())
    });
    drawn.unwrap();
}
