//! What an entry does to a state, and what it allows to start.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::core::entry::{Entry, EntryKind};
use crate::core::state::{Heard, Phase, State, Status, is_step};
use crate::definition::{Definition, Kind, Undo};
use crate::hook::Failure;
use crate::policy::Late;
use crate::store::Timestamp;

/// Some nodes of a saga: mostly one, and eight are no larger than a vector.
pub(crate) type Places = SmallVec<[u16; 8]>;

/// What follows from an entry once it is durable.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Effects {
    /// Steps to start, in this order.
    pub(crate) starts: Places,
    /// Those of them that were never allowed to start before.
    pub(crate) first: Places,
    /// Undos to start.
    pub(crate) undoes: Places,
    /// Nodes that have given something.
    pub(crate) outputs: SmallVec<[(u16, Output); 1]>,
    /// It ended.
    pub(crate) over: Option<Over>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Output {
    /// An encoded output.
    Bytes(Arc<[u8]>),
    /// The words of a signal.
    Heard(Arc<[u8]>),
    /// A signal that stayed away.
    Absent,
    /// Nothing that anybody uses.
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    Completed,
    Compensated,
}

pub(crate) fn evolve(
    definition: &Definition,
    state: &mut State,
    entry: &Entry,
    at: Timestamp,
) -> Effects {
    let mut effects = Effects::default();
    state.seq += 1;
    match entry.kind {
        EntryKind::Started => {
            state.started = at;
            state.deadline = definition.deadline.map(|limit| at.saturating_add(limit));
            if !definition.stages.is_empty() {
                enter(definition, state, at, &mut effects);
            }
        }
        EntryKind::Parked => park(state, entry),
        EntryKind::Cancel => {
            if !entry.facts.ignored {
                state.cancelled = true;
                turn(state);
            }
        }
        EntryKind::Operator => {
            if !entry.facts.ignored {
                operate(definition, state, entry, at, &mut effects);
            }
        }
        EntryKind::Attention => {
            state.attention = true;
            state.calm = false;
        }
        EntryKind::AttentionCleared => state.attention = false,
        EntryKind::Signal => hear(definition, state, entry, &mut effects),
        EntryKind::Interrupted => interrupt(state, entry),
        EntryKind::Released => (),
        EntryKind::Deadline => {
            state.failed = Some(Box::new((
                None,
                failure("DEADLINE", "the saga's time is over"),
            )));
            turn(state);
        }
        _ => {
            if let Some(node) = entry.node {
                on_node(definition, state, node, entry, &mut effects);
            }
        }
    }
    settle(definition, state, at, &mut effects);
    if !entry.facts.hold && state.may_start() {
        pump(definition, state, &mut effects);
    }
    effects
}

fn on_node(
    definition: &Definition,
    state: &mut State,
    place: u16,
    entry: &Entry,
    effects: &mut Effects,
) {
    let halting = state.phase != Phase::Forward;
    let plan = &definition.nodes[usize::from(place)];
    let node = &mut state.nodes[usize::from(place)];
    match entry.kind {
        EntryKind::StepDone => {
            node.status = Status::Done;
            node.maybe = false;
            node.tries = 0;
            state.calm = true;
            let payload = entry.payload.clone().unwrap_or_default();
            effects.outputs.push((place, Output::Bytes(payload)));
        }
        EntryKind::StepRetry => {
            node.maybe |= entry.facts.unknown;
            node.tries += 1;
            node.due = Timestamp(entry.facts.due.unwrap_or_default());
            node.until = node
                .until
                .max(Timestamp(entry.facts.until.unwrap_or_default()));
            node.status = Status::Waiting;
        }
        EntryKind::StepFailed => {
            node.maybe = entry.facts.unknown;
            node.tries += 1;
            node.until = node
                .until
                .max(Timestamp(entry.facts.until.unwrap_or_default()));
            if halting {
                node.status = Status::Off;
                return;
            }
            if plan.kind == Kind::Forward || (plan.stands() && node.maybe) {
                node.status = Status::Stuck;
                return;
            }
            node.status = Status::Off;
            if plan.kind == Kind::Pivot {
                state.past_pivot = false;
            }
            state.failed = Some(Box::new((Some(place), entry.facts.failure())));
            turn(state);
        }
        EntryKind::UndoDone => {
            node.status = Status::Undone;
            state.calm = true;
        }
        EntryKind::UndoRetry => {
            node.tries += 1;
            node.due = Timestamp(entry.facts.due.unwrap_or_default());
            node.status = Status::UndoWaiting;
        }
        EntryKind::Attempt => {
            node.status = match node.status {
                Status::UndoWaiting => Status::UndoReady,
                _ => Status::Ready,
            };
        }
        EntryKind::Slept => {
            node.status = Status::Done;
            effects.outputs.push((place, Output::Nothing));
        }
        EntryKind::TimedOut => match plan.kind {
            Kind::Signal { optional: true, .. } => {
                node.status = Status::Done;
                effects.outputs.push((place, Output::Absent));
            }
            _ => {
                node.status = Status::Off;
                let why = failure("SIGNAL_TIMED_OUT", "the signal has not come in time");
                state.failed = Some(Box::new((Some(place), why)));
                turn(state);
            }
        },
        EntryKind::Deferred => {
            node.attempt = node.attempt.saturating_sub(1);
            node.due = Timestamp(entry.facts.due.unwrap_or_default());
            node.status = match node.status {
                Status::UndoRunning => Status::UndoWaiting,
                _ if halting => Status::Off,
                _ => Status::Waiting,
            };
        }
        EntryKind::Withdrawn => {
            node.attempt = node.attempt.saturating_sub(1);
            node.status = match node.status {
                Status::UndoRunning => Status::UndoReady,
                _ if halting => Status::Off,
                _ => Status::Ready,
            };
        }
        _ => unreachable!("on_node gets what is about a node"),
    }
}

fn park(state: &mut State, entry: &Entry) {
    state.parked = Some(entry.facts.failure().message);
    state.attention = false;
    for (place, node) in (0_u16..).zip(state.nodes.iter_mut()) {
        if entry.node == Some(place) && node.status == Status::UndoRunning {
            node.tries += 1;
            node.status = Status::UndoStuck;
        } else if entry.node.is_none() {
            // Its process died with it: nothing of it runs any more.
            match node.status {
                Status::Running => {
                    node.status = Status::Ready;
                    node.maybe = true;
                    node.until = node
                        .until
                        .max(Timestamp(entry.facts.until.unwrap_or_default()));
                }
                Status::UndoRunning => node.status = Status::UndoReady,
                _ => (),
            }
        }
    }
}

fn interrupt(state: &mut State, entry: &Entry) {
    let halting = state.phase != Phase::Forward;
    for node in &mut state.nodes {
        match node.status {
            Status::Running => {
                node.status = if halting { Status::Off } else { Status::Ready };
                node.maybe = true;
                node.until = node
                    .until
                    .max(Timestamp(entry.facts.until.unwrap_or_default()));
            }
            Status::UndoRunning => node.status = Status::UndoReady,
            _ => (),
        }
    }
}

fn hear(definition: &Definition, state: &mut State, entry: &Entry, effects: &mut Effects) {
    state.heard.extend(entry.facts.number);
    let Some(name) = &entry.facts.word else {
        return;
    };
    // Words that were erased were words all the same.
    let words = entry.payload.clone().unwrap_or_default();
    let listener = (0_u16..)
        .zip(&definition.nodes)
        .find(|(_, node)| matches!(node.kind, Kind::Signal { .. }) && node.name == *name);
    let Some((place, _)) = listener else { return };
    let node = &mut state.nodes[usize::from(place)];
    match node.status {
        Status::Listening => {
            node.status = Status::Done;
            effects.outputs.push((place, Output::Heard(words)));
        }
        // Of several that come too early, the first counts.
        Status::Off if !state.inbox.iter().any(|heard| heard.name == *name) => {
            state.inbox.push(Heard {
                name: name.clone(),
                words,
            });
        }
        _ => (),
    }
}

fn operate(
    definition: &Definition,
    state: &mut State,
    entry: &Entry,
    at: Timestamp,
    effects: &mut Effects,
) {
    let verb = entry.facts.word.as_deref().unwrap_or_default();
    match verb {
        "pause" => return state.paused = true,
        "resume" => return state.paused = false,
        _ => (),
    }
    if let Some(place) = entry.node {
        let node = &mut state.nodes[usize::from(place)];
        let undoing = matches!(
            node.status,
            Status::UndoReady | Status::UndoWaiting | Status::UndoStuck
        );
        match verb {
            "retry" => {
                node.tries = 0;
                node.status = if undoing {
                    Status::UndoReady
                } else {
                    Status::Ready
                };
            }
            "skip" if undoing => node.status = Status::Left,
            "skip" => {
                node.status = Status::Done;
                effects.outputs.push((place, Output::Nothing));
            }
            // Not by its payload, which may be erased.
            "resolve" => match (entry.facts.done, undoing) {
                (true, true) => node.status = Status::Undone,
                (false, true) => {
                    node.tries = 0;
                    node.status = Status::UndoReady;
                }
                (true, false) => {
                    node.status = Status::Done;
                    node.maybe = false;
                    let output = entry.payload.clone().unwrap_or_default();
                    effects.outputs.push((place, Output::Bytes(output)));
                }
                (false, false) => {
                    node.maybe = false;
                    node.tries = 0;
                    let plan = &definition.nodes[usize::from(place)];
                    if plan.kind == Kind::Forward {
                        node.status = Status::Ready;
                    } else {
                        node.status = Status::Off;
                        if plan.kind == Kind::Pivot {
                            state.past_pivot = false;
                        }
                        let why = failure("RESOLVED", "an operator found that it did not happen");
                        state.failed = Some(Box::new((Some(place), why)));
                        turn(state);
                    }
                }
            },
            _ => (),
        }
    }
    let _ = at;
    if state.stuck().is_none() {
        state.parked = None;
    }
}

/// Turns back: what has not started does not start any more.
fn turn(state: &mut State) {
    state.phase = Phase::Halting;
    state.parked = None;
    for node in &mut state.nodes {
        if matches!(
            node.status,
            Status::Ready | Status::Waiting | Status::Sleeping | Status::Listening | Status::Stuck
        ) {
            node.status = Status::Off;
        }
    }
}

/// Goes on as far as it goes without anybody.
fn settle(definition: &Definition, state: &mut State, at: Timestamp, effects: &mut Effects) {
    loop {
        match state.phase {
            Phase::Forward => {
                let Some(stage) = definition.stages.get(usize::from(state.stage)) else {
                    state.phase = Phase::Completed;
                    effects.over = Some(Over::Completed);
                    return;
                };
                let members = &state.nodes[usize::from(stage.start)..usize::from(stage.end)];
                if members.iter().any(|node| node.status != Status::Done) {
                    return;
                }
                state.stage += 1;
                if usize::from(state.stage) < definition.stages.len() {
                    enter(definition, state, at, effects);
                }
            }
            Phase::Halting => {
                if state
                    .nodes
                    .iter()
                    .any(|node| node.status == Status::Running)
                {
                    return;
                }
                state.phase = Phase::Backward;
            }
            Phase::Backward => {
                if !next_undo(definition, state, at) {
                    return;
                }
                if state.phase == Phase::Compensated {
                    effects.over = Some(Over::Compensated);
                    return;
                }
            }
            Phase::Completed | Phase::Compensated => return,
        }
    }
}

/// Begins the next undo if none is under way. True if it went on.
fn next_undo(definition: &Definition, state: &mut State, at: Timestamp) -> bool {
    let under_way = state.nodes.iter().any(|node| {
        matches!(
            node.status,
            Status::UndoReady | Status::UndoRunning | Status::UndoWaiting | Status::UndoStuck
        )
    });
    if under_way {
        return false;
    }
    let last = definition
        .nodes
        .iter()
        .zip(state.nodes.iter_mut())
        .rev()
        .find(|(plan, node)| node.wants_undo(plan.undo));
    let Some((plan, node)) = last else {
        state.phase = Phase::Compensated;
        return true;
    };
    // What an earlier attempt sent may still be on its way, also if a later one had an answer.
    let earlier = node.until > Timestamp(0);
    let quiet_at = match plan.undo {
        Undo::By {
            late: Late::Quiet(quiet),
            ..
        } if earlier => node.until.saturating_add(quiet),
        _ => at,
    };
    node.status = if quiet_at > at {
        node.due = quiet_at;
        Status::UndoWaiting
    } else {
        Status::UndoReady
    };
    node.attempt = 0;
    node.tries = 0;
    true
}

fn enter(definition: &Definition, state: &mut State, at: Timestamp, effects: &mut Effects) {
    let stage = definition.stages[usize::from(state.stage)].clone();
    for place in stage {
        let plan = &definition.nodes[usize::from(place)];
        let node = &mut state.nodes[usize::from(place)];
        match plan.kind {
            kind if is_step(kind) => node.status = Status::Ready,
            Kind::Sleep(pause) => {
                node.status = Status::Sleeping;
                node.due = at.saturating_add(pause);
            }
            Kind::Signal { limit, .. } => {
                let early = state.inbox.iter().position(|heard| heard.name == plan.name);
                if let Some(early) = early {
                    let heard = state.inbox.swap_remove(early);
                    node.status = Status::Done;
                    effects.outputs.push((place, Output::Heard(heard.words)));
                } else {
                    node.status = Status::Listening;
                    node.due = limit.map_or(Timestamp(i64::MAX), |limit| at.saturating_add(limit));
                }
            }
            _ => (),
        }
    }
}

/// Starts what may start.
fn pump(definition: &Definition, state: &mut State, effects: &mut Effects) {
    for (place, node) in (0_u16..).zip(state.nodes.iter_mut()) {
        match node.status {
            Status::Ready => {
                node.status = Status::Running;
                node.attempt += 1;
                effects.starts.push(place);
                if !std::mem::replace(&mut node.begun, true) {
                    effects.first.push(place);
                }
                if definition.nodes[usize::from(place)].kind == Kind::Pivot {
                    state.past_pivot = true;
                }
            }
            Status::UndoReady => {
                node.status = Status::UndoRunning;
                node.attempt += 1;
                effects.undoes.push(place);
            }
            _ => (),
        }
    }
}

fn failure(code: &str, message: &str) -> Failure {
    Failure {
        code: code.into(),
        message: message.into(),
    }
}
