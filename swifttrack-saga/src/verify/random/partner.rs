//! A partner that keeps its word.

use std::collections::{BTreeMap, BTreeSet};

use crate::verify::Model;

/// What stands at the partner, and what was broken on the way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ledger {
    /// By step and half: under which key, and from which input.
    effects: BTreeMap<(usize, u8), (String, u32)>,
    gone: BTreeSet<(usize, u8)>,
    /// Steps in the order in which they were first undone.
    undone: Vec<usize>,
    /// Steps whose undo leaves a tombstone.
    pub(super) tombstones: BTreeSet<usize>,
    /// Steps that the partner may refuse.
    pub(super) refusable: BTreeSet<usize>,
    /// Steps and halves that a completed saga has brought about.
    pub(super) due: BTreeSet<(usize, u8)>,
    broken: Option<String>,
}

/// What a partner is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(
    missing_docs,
    reason = "a step, one of its halves, its key and its input"
)]
pub enum Ask {
    /// Do this half of the step.
    Do {
        step: usize,
        half: u8,
        key: String,
        from: u32,
    },
    /// Take this half back.
    Undo { step: usize, half: u8 },
    /// Is this half there?
    Query { step: usize, half: u8 },
    /// Is it there? If not, let it never be.
    Fence { step: usize, half: u8 },
    /// Changes nothing.
    Read,
}

/// What it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Say {
    /// It is done, or it is there.
    Yes,
    /// It is refused, or it is not there.
    No,
}

impl Ledger {
    fn break_with(&mut self, what: String) {
        self.broken.get_or_insert(what);
    }
}

impl Model for Ledger {
    type Request = Ask;
    type Answer = Say;

    fn answer(&mut self, request: &Ask) -> Say {
        match request {
            Ask::Do { step, half, .. } if self.gone.contains(&(*step, *half)) => Say::No,
            Ask::Do {
                step,
                half,
                key,
                from,
            } => {
                let effect = (key.clone(), *from);
                let known = self.effects.entry((*step, *half)).or_insert(effect);
                if *known != (key.clone(), *from) {
                    let what = format!("step {step} came with {key} {from} and with {known:?}");
                    self.break_with(what);
                }
                Say::Yes
            }
            Ask::Undo { step, half } => {
                self.effects.remove(&(*step, *half));
                if self.tombstones.contains(step) {
                    self.gone.insert((*step, *half));
                }
                if !self.undone.contains(step) {
                    if let Some(last) = self.undone.last().filter(|last| *last < step) {
                        let what = format!("step {step} was undone after step {last}");
                        self.break_with(what);
                    }
                    self.undone.push(*step);
                }
                Say::Yes
            }
            Ask::Query { step, half } => match self.effects.contains_key(&(*step, *half)) {
                true => Say::Yes,
                false => Say::No,
            },
            Ask::Fence { step, half } if self.effects.contains_key(&(*step, *half)) => Say::Yes,
            Ask::Fence { step, half } => {
                self.gone.insert((*step, *half));
                Say::No
            }
            Ask::Read => Say::Yes,
        }
    }

    fn refusal(&self, request: &Ask) -> Option<Say> {
        let Ask::Do { step, half: 0, .. } = request else {
            return None;
        };
        let known = self.effects.contains_key(&(*step, 0));
        (self.refusable.contains(step) && !known).then_some(Say::No)
    }

    fn effects(&self) -> Vec<String> {
        let effects = self.effects.keys();
        effects
            .map(|(step, half)| format!("{step}.{half}"))
            .collect()
    }

    fn completed(&self) -> Result<(), String> {
        match self.due.iter().all(|due| self.effects.contains_key(due)) {
            true if self.effects.len() == self.due.len() => Ok(()),
            _ => Err(format!("{:?} stand, not {:?}", self.effects, self.due)),
        }
    }

    fn broken(&self) -> Option<String> {
        self.broken.clone()
    }
}
