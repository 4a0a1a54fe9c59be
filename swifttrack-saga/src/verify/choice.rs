//! The choices of a path.

use std::hash::{DefaultHasher, Hash, Hasher as _};

use super::schedule::Schedule;

/// Where choices come from; what is not said is harmless.
#[derive(Clone, Debug)]
pub(crate) enum Plan {
    /// One after another, and the trail that there must be at the last.
    Given(Vec<u8>, Option<u64>),
    /// Here and there.
    Scheduled(Schedule),
}

/// Makes the choices of one path.
#[derive(Clone, Debug)]
pub(crate) struct Chooser {
    plan: Plan,
    pub(crate) taken: Vec<Choice>,
    pub(crate) faults: u32,
    /// What could be seen so far, choices included.
    trail: u64,
    /// A path did not go the way that it went before.
    pub(crate) diverged: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Choice {
    pub(crate) chosen: u8,
    /// Which of the options would have been faults.
    pub(crate) faults: Vec<bool>,
    /// What could be seen before it was made.
    pub(crate) trail: u64,
}

impl Chooser {
    pub(crate) fn new(plan: Plan) -> Self {
        Self {
            plan,
            taken: Vec::new(),
            faults: 0,
            trail: 0,
            diverged: false,
        }
    }

    /// Chooses among options; true is a fault. The first is never one. `seen` is all that the
    /// choice is about: if it is another than the last time, the path has diverged.
    pub(crate) fn choose(&mut self, faults: Vec<bool>, seen: impl Hash) -> usize {
        let place = self.taken.len();
        let trail = hash(&(self.trail, &faults, seen));
        let wanted = match &self.plan {
            Plan::Given(given, expected) => {
                if place + 1 == given.len() && expected.is_some_and(|expected| expected != trail) {
                    self.diverged = true;
                }
                given.get(place).copied().unwrap_or(0)
            }
            Plan::Scheduled(schedule) => schedule.at(place, faults.len()),
        };
        let mut chosen = usize::from(wanted);
        if chosen >= faults.len() {
            self.diverged = true;
            chosen = 0;
        }
        self.faults += u32::from(faults[chosen]);
        self.trail = hash(&(trail, chosen));
        self.taken.push(Choice {
            chosen: u8::try_from(chosen).unwrap_or(u8::MAX),
            faults,
            trail,
        });
        chosen
    }

    /// Whether everything that was given has been chosen.
    pub(crate) fn beyond(&self) -> bool {
        match &self.plan {
            Plan::Given(given, _) => self.taken.len() >= given.len(),
            Plan::Scheduled(_) => true,
        }
    }

    /// What was chosen; harmless ones at the end are what is chosen anyway.
    pub(crate) fn choices(&self) -> Vec<u8> {
        let mut choices: Vec<u8> = self.taken.iter().map(|choice| choice.chosen).collect();
        let last = choices.iter().rposition(|choice| *choice != 0);
        choices.truncate(last.map_or(0, |last| last + 1));
        choices
    }
}

/// The same in every process: nothing here is keyed.
pub(crate) fn hash(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}
