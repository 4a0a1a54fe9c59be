//! Where a saga stands.

use std::sync::Arc;

use crate::definition::{Definition, Kind, Undo};
use crate::hook::Failure;
use crate::store::{Standing, Timestamp};

/// Terminal states, as a store hears them.
pub(crate) const ENDED_COMPLETED: i16 = 10;
pub(crate) const ENDED_COMPENSATED: i16 = 11;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    /// The last transition.
    pub(crate) seq: u32,
    pub(crate) started: Timestamp,
    pub(crate) phase: Phase,
    /// The stage that runs, while it goes forward.
    pub(crate) stage: u16,
    pub(crate) nodes: Box<[NodeState]>,
    pub(crate) past_pivot: bool,
    pub(crate) paused: bool,
    pub(crate) parked: Option<Arc<str>>,
    pub(crate) attention: bool,
    /// Something worked since attention was asked for.
    pub(crate) calm: bool,
    pub(crate) deadline: Option<Timestamp>,
    pub(crate) cancelled: bool,
    /// The node that made it turn back, and why.
    pub(crate) failed: Option<Box<(Option<u16>, Failure)>>,
    /// Signals that no node has taken yet.
    pub(crate) inbox: Vec<Heard>,
    /// Signals by their number, taken or not.
    pub(crate) heard: Vec<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    Forward,
    /// It has turned back and waits for the attempts that still run.
    Halting,
    Backward,
    Completed,
    Compensated,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Heard {
    pub(crate) name: Arc<str>,
    pub(crate) words: Arc<[u8]>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct NodeState {
    pub(crate) status: Status,
    /// It was allowed to start before.
    pub(crate) begun: bool,
    /// An attempt may have had an effect that is not known.
    pub(crate) maybe: bool,
    /// The last attempt, from 1; of the undo once it is being undone.
    pub(crate) attempt: u32,
    /// Attempts that failed since the start or the last "retry" of an operator.
    pub(crate) tries: u32,
    /// When it goes on, while it waits.
    pub(crate) due: Timestamp,
    /// Until when the last attempt of unknown outcome could still send something.
    pub(crate) until: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Status {
    /// Not reached, or not to be run any more.
    Off,
    /// It may start, but is held.
    Ready,
    Running,
    /// It waits for its next attempt.
    Waiting,
    Sleeping,
    Listening,
    Done,
    /// It cannot go on without a person.
    Stuck,
    UndoReady,
    UndoRunning,
    UndoWaiting,
    UndoStuck,
    Undone,
    /// A person said that it stays.
    Left,
}

impl State {
    pub(crate) fn new(definition: &Definition) -> Self {
        let node = NodeState {
            status: Status::Off,
            begun: false,
            maybe: false,
            attempt: 0,
            tries: 0,
            due: Timestamp(0),
            until: Timestamp(0),
        };
        Self {
            seq: 0,
            started: Timestamp(0),
            phase: Phase::Forward,
            stage: 0,
            nodes: vec![node; definition.nodes.len()].into(),
            past_pivot: false,
            paused: false,
            parked: None,
            attention: false,
            calm: false,
            deadline: None,
            cancelled: false,
            failed: None,
            inbox: Vec::new(),
            heard: Vec::new(),
        }
    }

    pub(crate) fn ended(&self) -> bool {
        matches!(self.phase, Phase::Completed | Phase::Compensated)
    }

    /// Whether an attempt of a step or an undo runs.
    pub(crate) fn running(&self) -> bool {
        self.any(|status| matches!(status, Status::Running | Status::UndoRunning))
    }

    /// Whether something could start if it were not held.
    pub(crate) fn held(&self) -> bool {
        self.may_start() && self.any(|status| matches!(status, Status::Ready | Status::UndoReady))
    }

    pub(crate) fn may_start(&self) -> bool {
        !self.paused && self.parked.is_none()
    }

    /// The next moment at which something falls due, other than the end of an attempt.
    pub(crate) fn next_due(&self) -> Option<(Timestamp, Option<u16>)> {
        if !self.may_start() || self.ended() {
            return None;
        }
        let waits = |status| {
            matches!(
                status,
                Status::Waiting | Status::Sleeping | Status::Listening | Status::UndoWaiting
            )
        };
        let nodes = (0_u16..).zip(self.nodes.iter());
        let due = nodes
            .filter(|(_, node)| waits(node.status) && node.due.0 != i64::MAX)
            .map(|(place, node)| (node.due, Some(place)))
            .min();
        let deadline = self.open_deadline().map(|at| (at, None));
        match (due, deadline) {
            (Some(due), Some(deadline)) => Some(due.min(deadline)),
            (due, deadline) => due.or(deadline),
        }
    }

    /// What the head row says about when somebody must look.
    pub(crate) fn wake_at(&self, now: Timestamp) -> Option<Timestamp> {
        if self.running() {
            None
        } else if self.held() {
            Some(now)
        } else {
            Some(self.next_due().map_or(Timestamp(i64::MAX), |(due, _)| due))
        }
    }

    pub(crate) fn open_deadline(&self) -> Option<Timestamp> {
        let open = self.phase == Phase::Forward && !self.past_pivot;
        self.deadline.filter(|_| open)
    }

    /// The state as heads and lists carry it.
    pub(crate) fn coarse(&self) -> i16 {
        match self.phase {
            Phase::Completed => ENDED_COMPLETED,
            Phase::Compensated => ENDED_COMPENSATED,
            _ if self.parked.is_some() => Standing::Parked.number(),
            _ if self.paused => Standing::Paused.number(),
            Phase::Forward => Standing::Running.number(),
            Phase::Halting | Phase::Backward => Standing::TurningBack.number(),
        }
    }

    /// Nodes that a person has to decide about.
    pub(crate) fn stuck(&self) -> Option<u16> {
        (0_u16..)
            .zip(self.nodes.iter())
            .find(|(_, node)| matches!(node.status, Status::Stuck | Status::UndoStuck))
            .map(|(place, _)| place)
    }

    pub(crate) fn node(&self, place: u16) -> &NodeState {
        &self.nodes[usize::from(place)]
    }

    fn any(&self, what: impl Fn(Status) -> bool) -> bool {
        self.nodes.iter().any(|node| what(node.status))
    }
}

impl NodeState {
    /// Whether turning back means that this has to be undone.
    pub(crate) fn wants_undo(&self, undo: Undo) -> bool {
        matches!(undo, Undo::By { .. }) && self.may_stand()
    }

    /// Whether its effect is, or may be, in the world.
    pub(crate) fn may_stand(&self) -> bool {
        match self.status {
            Status::Done => true,
            Status::Undone | Status::Left => false,
            _ => self.maybe,
        }
    }
}

/// Whether attempts are made of it.
pub(crate) fn is_step(kind: Kind) -> bool {
    matches!(kind, Kind::Step | Kind::Pivot | Kind::Forward)
}
