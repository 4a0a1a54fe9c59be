//! A saga as data: what is left when the closure has run.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::policy::{Late, Policy};

/// The nodes of a saga in the order in which they were written, which is the order in which
/// they start.
#[derive(Clone, Debug)]
pub struct Definition {
    pub(crate) name: Arc<str>,
    pub(crate) version: u32,
    pub(crate) nodes: Vec<Node>,
    pub(crate) stages: Vec<Range<u16>>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) fingerprint: u64,
    pub(crate) shape: Arc<str>,
}

impl Definition {
    /// What every saga of it is filed under.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Raised whenever the [fingerprint](Self::fingerprint) changes.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The nodes; a node's place is its index here.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The places of the nodes that run together, in the order in which they run: one place
    /// for a step of its own, several for the members of a group.
    #[must_use]
    pub fn stages(&self) -> &[Range<u16>] {
        &self.stages
    }

    /// After how long it turns back, if its pivot has not started by then.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        self.deadline
    }

    pub(crate) fn place(&self, name: &str) -> Option<usize> {
        self.nodes.iter().position(|node| &*node.name == name)
    }

    pub(crate) fn divide(nodes: &[Node]) -> Vec<Range<u16>> {
        let mut stages: Vec<Range<u16>> = Vec::new();
        for (place, node) in (0_u16..).zip(nodes) {
            match stages.last_mut() {
                Some(last) if nodes[usize::from(last.start)].stage == node.stage => {
                    last.end = place + 1;
                }
                _ => stages.push(place..place + 1),
            }
        }
        stages
    }
}

/// One step, pause or signal of a saga.
#[derive(Clone, Debug)]
pub struct Node {
    pub(crate) name: Arc<str>,
    pub(crate) kind: Kind,
    pub(crate) undo: Undo,
    pub(crate) policy: Option<Policy>,
    pub(crate) on: Option<&'static str>,
    pub(crate) concurrency: Option<usize>,
    /// The references it was given, in order.
    pub(crate) refs: Vec<usize>,
    pub(crate) stage: u16,
    /// Whether a later node or the result takes its output.
    pub(crate) used: bool,
}

impl Node {
    /// Unique in its definition, and part of its idempotency key.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What becomes of it when the saga turns back.
    #[must_use]
    pub fn undo(&self) -> Undo {
        self.undo
    }

    /// How often and how long; none for a pause and a signal.
    #[must_use]
    pub fn policy(&self) -> Option<Policy> {
        self.policy
    }

    /// What it calls, as [`Engine::wake`](crate::Engine::wake) knows it.
    #[must_use]
    pub fn on(&self) -> Option<&'static str> {
        self.on
    }

    /// How many of it one process runs at a time.
    #[must_use]
    pub fn concurrency(&self) -> Option<usize> {
        self.concurrency
    }

    pub(crate) fn named(name: &str, kind: Kind) -> Self {
        Self {
            name: name.into(),
            kind,
            undo: Undo::Nothing,
            policy: None,
            on: None,
            concurrency: None,
            refs: Vec::new(),
            stage: 0,
            used: false,
        }
    }

    /// Whether a saga cannot take back what this may have done.
    pub(crate) fn stands(&self) -> bool {
        matches!(self.undo, Undo::Irrevocable(_) | Undo::Never)
    }
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A step before the pivot, or of a saga that has none.
    Step,
    /// The point of no return.
    Pivot,
    /// A step after the pivot.
    Forward,
    /// Waits for this long.
    Sleep(Duration),
    /// Waits for someone to speak.
    Signal {
        /// And not longer than this.
        limit: Option<Duration>,
        /// Whether the saga goes on without it rather than turning back.
        optional: bool,
    },
}

/// What becomes of a node when the saga turns back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undo {
    /// It is undone.
    By {
        /// How often and how long.
        policy: Policy,
        /// What becomes of a forward request that comes after.
        late: Late,
    },
    /// It changed nothing.
    Nothing,
    /// It stays, for this reason.
    Irrevocable(&'static str),
    /// The saga does not turn back any more.
    Never,
}
