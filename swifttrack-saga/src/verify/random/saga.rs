//! A saga that was drawn at random, and its steps.

use std::time::Duration;

use super::partner::{Ask, Ledger, Say};
use crate::builder::{AfterPivot, BeforePivot, SagaBuilder};
use crate::error::{ForwardError, NotYet, StepError};
use crate::policy::Retry;
use crate::reference::StepRef;
use crate::saga::Saga;
use crate::signal::Signal;
use crate::step::{Attempt, Compensate, Evidence, ForwardStep, Resolution, Step};
use crate::tune::{Tune as _, TuneForward as _};
use crate::verify::{Explorer, Lost, World};

/// Steps have names, and names are constants.
const NAMES: [&str; 24] = [
    "s00", "s01", "s02", "s03", "s04", "s05", "s06", "s07", "s08", "s09", "s10", "s11", "s12",
    "s13", "s14", "s15", "s16", "s17", "s18", "s19", "s20", "s21", "s22", "s23",
];
const GO: [Signal<u32>; 6] = [
    Signal::new("go0"),
    Signal::new("go1"),
    Signal::new("go2"),
    Signal::new("go3"),
    Signal::new("go4"),
    Signal::new("go5"),
];
const NAPS: [&str; 6] = ["nap0", "nap1", "nap2", "nap3", "nap4", "nap5"];
const SECOND: Duration = Duration::from_secs(1);

/// A saga that was drawn at random: see [`sagas`](super::sagas).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RandomSaga {
    pub(super) before: Vec<Stage>,
    pub(super) pivot: Option<(Part, Vec<Stage>)>,
    pub(super) deadline: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Step(Part),
    Group(Vec<Part>),
    Sleep,
    Signal(Heard),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Always,
    InTime,
    Perhaps,
}

/// What a step is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) ending: Ending,
    pub(super) question: Question,
    pub(super) retries: u16,
    /// It has two calls.
    pub(super) two: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Tombstone,
    Quiet,
    Irrevocable,
    ReadOnly,
}

/// What it asks after an attempt of unknown outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    None,
    Query,
    Fence,
}

impl Part {
    fn halves(self) -> std::ops::Range<u8> {
        match self.ending {
            Ending::ReadOnly => 0..0,
            _ if self.two => 0..2,
            _ => 0..1,
        }
    }
}

impl RandomSaga {
    /// An explorer of it, over a partner that keeps its word: no walk of it breaks a rule.
    pub fn explorer(&self) -> Explorer<Ledger> {
        let world = World::new(self.ledger());
        let saga = self.saga(&world);
        self.with_signals(Explorer::new(&saga, world, 1))
    }

    pub(super) fn with_signals(&self, mut explorer: Explorer<Ledger>) -> Explorer<Ledger> {
        let after = self.pivot.iter().flat_map(|(_, after)| after);
        let signals = self.before.iter().chain(after);
        let signals = signals.filter(|stage| matches!(stage, Stage::Signal(_)));
        for signal in GO.iter().take(signals.count()) {
            explorer = explorer.signal(signal, 1);
        }
        explorer
    }

    /// The saga itself, whose steps reach the partner through `world`.
    ///
    /// # Panics
    ///
    /// Never: what is drawn is a definition.
    #[must_use]
    pub fn saga(&self, world: &World<Ledger>) -> Saga<u32, ()> {
        let saga = Saga::<u32>::define("random", 1, |s, input| {
            let mut places = Places::new(world);
            let mut last = input;
            for stage in &self.before {
                last = places.before(&s, stage, last);
            }
            let Some((pivot, after)) = &self.pivot else {
                return s.finish(());
            };
            let act = places.act(*pivot).retry(retry(pivot.retries));
            let (s, mut last) = s.pivot(act.named(places.name()), last);
            for stage in after {
                last = places.after(&s, stage, last);
            }
            s.finish(())
        });
        let saga = saga.expect("what is drawn is a definition");
        match self.deadline {
            true => saga.deadline(Duration::from_mins(5)),
            false => saga,
        }
    }

    pub(super) fn ledger(&self) -> Ledger {
        let mut ledger = Ledger::default();
        let mut step = 0;
        let mut add = |part: &Part, before: bool| {
            if before && part.ending == Ending::Tombstone {
                ledger.tombstones.insert(step);
            }
            if before {
                ledger.refusable.insert(step);
            }
            let halves = part.halves();
            ledger.due.extend(halves.map(|half| (step, half)));
            step += 1;
        };
        for stage in &self.before {
            stage.parts().iter().for_each(|part| add(part, true));
        }
        if let Some((pivot, after)) = &self.pivot {
            add(pivot, true);
            let after = after.iter().flat_map(Stage::parts);
            after.for_each(|part| add(part, false));
        }
        ledger
    }
}

impl Stage {
    fn parts(&self) -> &[Part] {
        match self {
            Self::Step(part) => std::slice::from_ref(part),
            Self::Group(parts) => parts,
            Self::Sleep | Self::Signal(_) => &[],
        }
    }
}

fn retry(times: u16) -> Retry {
    Retry::exponential(SECOND).times(times)
}

/// Hands out names.
struct Places<'w> {
    world: &'w World<Ledger>,
    steps: usize,
    naps: usize,
    signals: usize,
}

impl<'w> Places<'w> {
    fn new(world: &'w World<Ledger>) -> Self {
        Self {
            world,
            steps: 0,
            naps: 0,
            signals: 0,
        }
    }

    fn act(&mut self, part: Part) -> Act {
        self.steps += 1;
        Act {
            world: self.world.clone(),
            step: self.steps - 1,
            part,
        }
    }

    /// The name of the step that was made last.
    fn name(&self) -> &'static str {
        NAMES[self.steps - 1]
    }

    fn nap(&mut self) -> &'static str {
        self.naps += 1;
        NAPS[self.naps - 1]
    }

    fn signal(&mut self) -> Signal<u32> {
        self.signals += 1;
        Signal::new(GO[self.signals - 1].name())
    }

    fn before<'s>(
        &mut self,
        s: &SagaBuilder<'s, BeforePivot>,
        stage: &Stage,
        last: StepRef<'s, u32>,
    ) -> StepRef<'s, u32> {
        match stage {
            Stage::Step(part) => {
                let act = self
                    .act(*part)
                    .retry(retry(part.retries))
                    .named(self.name());
                match part.ending {
                    Ending::Tombstone => s.step(act.tombstone(), last),
                    Ending::Quiet => s.step(act.quiet(10 * SECOND), last),
                    Ending::Irrevocable => s.step(act.irrevocable("it was drawn so"), last),
                    Ending::ReadOnly => s.step(act.read_only(), last),
                }
            }
            Stage::Group(parts) => {
                s.parallel(|g| {
                    for part in parts {
                        let act = self
                            .act(*part)
                            .retry(retry(part.retries))
                            .named(self.name());
                        let _member = match part.ending {
                            Ending::Tombstone => g.step(act.tombstone(), last),
                            Ending::Quiet => g.step(act.quiet(10 * SECOND), last),
                            Ending::Irrevocable => g.step(act.irrevocable("it was drawn so"), last),
                            Ending::ReadOnly => g.step(act.read_only(), last),
                        };
                    }
                });
                last
            }
            Stage::Sleep => {
                s.sleep(self.nap(), SECOND);
                last
            }
            Stage::Signal(heard) => {
                let signal = self.signal();
                match heard {
                    Heard::Always => s.await_signal(signal),
                    Heard::InTime => s.await_signal(signal.within(SECOND)),
                    Heard::Perhaps => {
                        let heard = s.await_signal(signal.or_none_after(SECOND));
                        heard.map(|heard| heard.unwrap_or_default())
                    }
                }
            }
        }
    }

    fn after<'s>(
        &mut self,
        s: &SagaBuilder<'s, AfterPivot>,
        stage: &Stage,
        last: StepRef<'s, u32>,
    ) -> StepRef<'s, u32> {
        match stage {
            Stage::Step(part) => {
                let onward = Onward(self.act(*part)).named(self.name());
                s.step(onward.retry(retry(0).without_end()), last)
            }
            Stage::Group(parts) => {
                s.parallel(|g| {
                    for part in parts {
                        let onward = Onward(self.act(*part)).named(self.name());
                        let _member = g.step(onward.retry(retry(0).without_end()), last);
                    }
                });
                last
            }
            Stage::Sleep => {
                s.sleep(self.nap(), SECOND);
                last
            }
            Stage::Signal(Heard::Perhaps) => {
                let heard = s.await_signal(self.signal().or_none_after(SECOND));
                heard.map(|heard| heard.unwrap_or_default())
            }
            Stage::Signal(_) => s.await_signal(self.signal()),
        }
    }
}

/// A step with one or two calls.
struct Act {
    world: World<Ledger>,
    step: usize,
    part: Part,
}

impl Act {
    async fn forward(&self, attempt: &Attempt, from: u32) -> Result<u32, StepError> {
        let step = self.step;
        if self.part.ending == Ending::ReadOnly {
            self.send(Ask::Read).await?;
        }
        for half in self.part.halves() {
            let key = attempt.key().to_owned();
            let ask = Ask::Do {
                step,
                half,
                key,
                from,
            };
            match (self.send(ask).await, half) {
                (Ok(Say::Yes), _) => (),
                (Ok(Say::No), 0) => return Err(StepError::rejected("NO", "refused")),
                (Err(error), 0) => return Err(error),
                // The first half is done: nothing about the whole is certain any more.
                (Ok(Say::No) | Err(_), _) => return Err(StepError::unknown("HALF", "half done")),
            }
        }
        Ok(u32::try_from(step).unwrap_or_default() + 10)
    }

    async fn send(&self, ask: Ask) -> Result<Say, StepError> {
        self.world.call(ask).await.map_err(|lost| match lost {
            Lost::NotSent => StepError::retry("NOT_SENT", lost),
            Lost::Unknown => StepError::unknown("LOST", lost),
        })
    }

    async fn asked(&self) -> Result<Resolution<u32>, NotYet> {
        let (step, mut halves) = (self.step, self.part.halves());
        let fences = self.part.question == Question::Fence && self.part.ending == Ending::Tombstone;
        // The last half is there only if the first is.
        let Some(last) = halves
            .next_back()
            .filter(|_| self.part.question != Question::None)
        else {
            return Ok(Resolution::CannotTell);
        };
        let output = u32::try_from(step).unwrap_or_default() + 10;
        if fences && last == 0 {
            return Ok(match self.world.call(Ask::Fence { step, half: 0 }).await? {
                Say::Yes => Resolution::Done(output),
                Say::No => Resolution::Never,
            });
        }
        Ok(
            match self.world.call(Ask::Query { step, half: last }).await? {
                Say::Yes => Resolution::Done(output),
                Say::No => Resolution::NotYet,
            },
        )
    }
}

impl Step for Act {
    const NAME: &'static str = "act";
    type In = u32;
    type Out = u32;

    async fn run(&self, attempt: &Attempt, from: &u32) -> Result<u32, StepError> {
        self.forward(attempt, *from).await
    }

    async fn resolve(&self, _: &Attempt, _: &u32) -> Result<Resolution<u32>, NotYet> {
        self.asked().await
    }
}

impl Compensate for Act {
    async fn undo(&self, _: &Attempt, _: &u32, _: Evidence<&u32>) -> Result<(), NotYet> {
        let step = self.step;
        for half in self.part.halves().rev() {
            self.world.call(Ask::Undo { step, half }).await?;
        }
        Ok(())
    }
}

/// The same after the pivot.
struct Onward(Act);

impl ForwardStep for Onward {
    const NAME: &'static str = "onward";
    type In = u32;
    type Out = u32;

    async fn run(&self, attempt: &Attempt, from: &u32) -> Result<u32, ForwardError> {
        let done = self.0.forward(attempt, *from).await;
        done.map_err(|error| ForwardError::unknown("ONWARD", error))
    }

    async fn resolve(&self, _: &Attempt, _: &u32) -> Result<Resolution<u32>, NotYet> {
        self.0.asked().await
    }
}
