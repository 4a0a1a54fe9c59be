//! What an input means in a state: every decision of the engine is one of these.

use std::sync::Arc;
use std::time::Duration;

use crate::core::entry::{Entry, EntryKind, Facts};
use crate::core::state::{Phase, State, Status};
use crate::definition::{Definition, Kind, Undo};
use crate::hook::Failure;
use crate::store::{Command, Timestamp};

/// What happened, as the engine sees it.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    Start {
        input: Arc<[u8]>,
    },
    Done {
        node: u16,
        attempt: u32,
        output: Arc<[u8]>,
    },
    Failed {
        node: u16,
        attempt: u32,
        refusal: Refusal,
        failure: Failure,
        after: Option<Duration>,
        /// Until when the attempt could still send something.
        until: Timestamp,
    },
    UndoDone {
        node: u16,
        attempt: u32,
    },
    UndoFailed {
        node: u16,
        attempt: u32,
        failure: Failure,
        after: Option<Duration>,
    },
    /// A wait is over, or somebody ended it.
    Due {
        node: u16,
    },
    Deadline,
    Heard {
        number: i64,
        name: Arc<str>,
        words: Arc<[u8]>,
    },
    Command(Command),
    /// The process that ran its attempts is gone. They could send until then.
    Interrupted {
        until: Timestamp,
    },
    Release,
    /// An attempt has not sent anything and will not.
    Withdrawn {
        node: u16,
    },
    /// The same, and it is not to be tried before `due`.
    Deferred {
        node: u16,
        due: Timestamp,
    },
    Attention {
        reason: Arc<str>,
    },
    Calm,
    /// A node cannot go on.
    Park {
        node: u16,
        reason: Arc<str>,
    },
    /// It must not run again before a person has looked.
    Quarantine {
        reason: Arc<str>,
        until: Timestamp,
    },
}

/// What an attempt that failed says about its effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// This attempt did not and will not happen.
    Rejected,
    /// No attempt has happened, and none will: the partner has fenced the key.
    Never,
    /// It did not happen yet.
    Retry,
    /// It may have happened.
    Unknown,
}

/// What a decision needs from outside.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Given {
    pub(crate) at: Timestamp,
    /// Any number, all equally likely: what jitter is made of.
    pub(crate) noise: u32,
    /// Nothing may start with this.
    pub(crate) hold: bool,
}

/// When somebody should look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) attention_failures: u32,
}

/// The input means nothing in this state: it is stale, or came twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the input does not fit the state")]
pub(crate) struct Illegal;

pub(crate) fn decide(
    definition: &Definition,
    state: &State,
    input: Input,
    given: Given,
) -> Result<Entry, Illegal> {
    if state.ended() || (state.seq == 0) != matches!(input, Input::Start { .. }) {
        return Err(Illegal);
    }
    let mut entry = match input {
        Input::Start { input } => Entry {
            payload: Some(input),
            facts: Facts {
                version: Some(definition.version),
                fingerprint: Some(definition.fingerprint),
                ..Facts::default()
            },
            ..Entry::new(EntryKind::Started)
        },
        Input::Done {
            node,
            attempt,
            output,
        } => {
            runs(state, node, attempt, Status::Running)?;
            let mut entry = Entry::at(EntryKind::StepDone, node);
            entry.payload = Some(output);
            entry.facts.attempt = Some(attempt).filter(|attempt| *attempt != 1);
            entry
        }
        Input::Failed {
            node,
            attempt,
            refusal,
            failure,
            after,
            until,
        } => {
            runs(state, node, attempt, Status::Running)?;
            let mut entry = failed(definition, state, node, refusal, failure, after, given);
            entry.facts.attempt = Some(attempt).filter(|attempt| *attempt != 1);
            entry.facts.until = entry.facts.unknown.then_some(until.0);
            entry
        }
        Input::UndoDone { node, attempt } => {
            runs(state, node, attempt, Status::UndoRunning)?;
            let mut entry = Entry::at(EntryKind::UndoDone, node);
            entry.facts.attempt = Some(attempt).filter(|attempt| *attempt != 1);
            entry
        }
        Input::UndoFailed {
            node,
            attempt,
            failure,
            after,
        } => {
            runs(state, node, attempt, Status::UndoRunning)?;
            let mut entry = undo_failed(definition, state, node, failure, after, given);
            entry.facts.attempt = Some(attempt).filter(|attempt| *attempt != 1);
            entry
        }
        Input::Due { node } => due(state, node)?,
        Input::Deadline => {
            if !state.may_start() || state.open_deadline().is_none_or(|at| at > given.at) {
                return Err(Illegal);
            }
            Entry::new(EntryKind::Deadline)
        }
        Input::Heard {
            number,
            name,
            words,
        } => {
            if state.heard.contains(&number) {
                return Err(Illegal);
            }
            let mut entry = Entry::new(EntryKind::Signal);
            entry.node = definition
                .place(&name)
                .and_then(|place| u16::try_from(place).ok());
            entry.payload = Some(words);
            entry.facts.number = Some(number);
            entry.facts.word = Some(name);
            entry
        }
        Input::Command(command) => commanded(definition, state, command),
        Input::Interrupted { until } => {
            if !state.running() {
                return Err(Illegal);
            }
            let mut entry = Entry::new(EntryKind::Interrupted);
            entry.facts.until = Some(until.0);
            entry
        }
        Input::Release => {
            if given.hold || !state.held() {
                return Err(Illegal);
            }
            Entry::new(EntryKind::Released)
        }
        Input::Withdrawn { node } => {
            let running = [Status::Running, Status::UndoRunning];
            if !running.contains(&state.node(node).status) {
                return Err(Illegal);
            }
            Entry::at(EntryKind::Withdrawn, node)
        }
        Input::Deferred { node, due } => {
            let running = [Status::Running, Status::UndoRunning];
            if !running.contains(&state.node(node).status) {
                return Err(Illegal);
            }
            let mut entry = Entry::at(EntryKind::Deferred, node);
            entry.facts.due = Some(due.0);
            entry
        }
        Input::Attention { reason } => {
            if state.attention {
                return Err(Illegal);
            }
            let mut entry = Entry::new(EntryKind::Attention);
            entry.facts.message = Some(reason);
            entry
        }
        Input::Calm => {
            if !state.attention {
                return Err(Illegal);
            }
            Entry::new(EntryKind::AttentionCleared)
        }
        Input::Park { node, reason } => {
            let mut entry = Entry::at(EntryKind::Parked, node);
            entry.facts.message = Some(reason);
            entry
        }
        Input::Quarantine { reason, until } => {
            let mut entry = Entry::new(EntryKind::Parked);
            entry.facts.message = Some(reason);
            entry.facts.until = Some(until.0);
            entry
        }
    };
    entry.facts.hold = given.hold;
    Ok(entry)
}

/// What follows of itself, in the same commit.
pub(crate) fn pending(definition: &Definition, state: &State, limits: Limits) -> Option<Input> {
    if state.ended() {
        return None;
    }
    if state.attention && state.calm && state.parked.is_none() {
        return Some(Input::Calm);
    }
    if let Some(place) = state.stuck().filter(|_| state.parked.is_none()) {
        let name = &definition.nodes[usize::from(place)].name;
        let reason = match state.node(place).maybe {
            true => format!("{name} may have happened, and it cannot be undone"),
            false => format!("{name} cannot go on, and there is no way back"),
        };
        return Some(Input::Park {
            node: place,
            reason: reason.into(),
        });
    }
    if state.attention || state.parked.is_some() {
        return None;
    }
    let failing = definition
        .nodes
        .iter()
        .zip(state.nodes.iter())
        .find(|(plan, node)| {
            let waits = match node.status {
                Status::UndoWaiting => true,
                Status::Waiting => plan.kind == Kind::Forward,
                _ => false,
            };
            waits && node.tries >= limits.attention_failures
        });
    failing.map(|(plan, node)| Input::Attention {
        reason: format!("{} has failed {} times", plan.name, node.tries).into(),
    })
}

fn runs(state: &State, node: u16, attempt: u32, status: Status) -> Result<(), Illegal> {
    let node = state.nodes.get(usize::from(node)).ok_or(Illegal)?;
    if node.status == status && node.attempt == attempt {
        Ok(())
    } else {
        Err(Illegal)
    }
}

fn failed(
    definition: &Definition,
    state: &State,
    place: u16,
    refusal: Refusal,
    failure: Failure,
    after: Option<Duration>,
    given: Given,
) -> Entry {
    let plan = &definition.nodes[usize::from(place)];
    let node = state.node(place);
    let unknown = (node.maybe || refusal == Refusal::Unknown) && refusal != Refusal::Never;
    let retry = plan.policy.filter(|_| {
        // Once it has turned back, no forward attempt begins any more.
        !matches!(refusal, Refusal::Rejected | Refusal::Never) && state.phase == Phase::Forward
    });
    let pause = retry.and_then(|policy| policy.retry.spread(node.tries + 1, given.noise));
    let facts = Facts::of(failure);
    match pause {
        Some(pause) => {
            let pause = pause.max(after.unwrap_or_default());
            Entry {
                facts: Facts {
                    unknown,
                    due: Some(given.at.saturating_add(pause).0),
                    pause: Some(u64::try_from(pause.as_micros()).unwrap_or(u64::MAX)),
                    ..facts
                },
                ..Entry::at(EntryKind::StepRetry, place)
            }
        }
        None => Entry {
            facts: Facts { unknown, ..facts },
            ..Entry::at(EntryKind::StepFailed, place)
        },
    }
}

fn undo_failed(
    definition: &Definition,
    state: &State,
    place: u16,
    failure: Failure,
    after: Option<Duration>,
    given: Given,
) -> Entry {
    let plan = &definition.nodes[usize::from(place)];
    let pause = match plan.undo {
        Undo::By { policy, .. } => policy
            .retry
            .spread(state.node(place).tries + 1, given.noise),
        _ => None,
    };
    let Some(pause) = pause else {
        let reason = format!(
            "the undo of {} failed for the last time: {} {}",
            plan.name, failure.code, failure.message
        );
        let mut entry = Entry::at(EntryKind::Parked, place);
        entry.facts.code = Some(failure.code).filter(|code| !code.is_empty());
        entry.facts.message = Some(reason.into());
        return entry;
    };
    let pause = pause.max(after.unwrap_or_default());
    Entry {
        facts: Facts {
            due: Some(given.at.saturating_add(pause).0),
            pause: Some(u64::try_from(pause.as_micros()).unwrap_or(u64::MAX)),
            ..Facts::of(failure)
        },
        ..Entry::at(EntryKind::UndoRetry, place)
    }
}

fn due(state: &State, place: u16) -> Result<Entry, Illegal> {
    if !state.may_start() {
        return Err(Illegal);
    }
    let kind = match state.node(place).status {
        Status::Waiting | Status::UndoWaiting => EntryKind::Attempt,
        Status::Sleeping => EntryKind::Slept,
        Status::Listening => EntryKind::TimedOut,
        _ => return Err(Illegal),
    };
    Ok(Entry::at(kind, place))
}

/// A request that was accepted is always journalled; one that came too late changes nothing.
fn commanded(definition: &Definition, state: &State, command: Command) -> Entry {
    let cancel = command.verb == "cancel";
    let mut entry = Entry::new(if cancel {
        EntryKind::Cancel
    } else {
        EntryKind::Operator
    });
    entry.facts.number = Some(command.n);
    entry.facts.who = Some(command.who.into());
    entry.facts.why = Some(command.reason.into());
    entry.facts.word = Some(command.verb.as_str().into());
    let body: Body = command
        .body
        .as_deref()
        .and_then(|body| serde_json::from_str(body).ok())
        .unwrap_or_default();
    let place = match &body.step {
        Some(step) => definition.place(step),
        None => state.stuck().map(usize::from),
    };
    let node = place.map(|place| (&definition.nodes[place], &state.nodes[place]));
    let waits = |status| matches!(status, Status::Waiting | Status::Ready | Status::Stuck);
    let undo_waits = |status| {
        matches!(
            status,
            Status::UndoWaiting | Status::UndoReady | Status::UndoStuck
        )
    };
    let fits = match command.verb.as_str() {
        "cancel" => state.phase == Phase::Forward && !state.past_pivot,
        "pause" => !state.paused,
        "resume" => state.paused,
        "retry" => match node {
            None => state.parked.is_some(),
            // An undo that waits out a quiet period (its first attempt) is not hurried.
            Some((_, node)) => {
                waits(node.status)
                    || (undo_waits(node.status)
                        && (node.status != Status::UndoWaiting || node.attempt > 0))
            }
        },
        "skip" => node.is_some_and(|(plan, node)| {
            undo_waits(node.status) || (waits(node.status) && !plan.used)
        }),
        "resolve" => node.is_some_and(|(_, node)| waits(node.status) || undo_waits(node.status)),
        _ => false,
    };
    entry.facts.ignored = !fits;
    entry.node = place.and_then(|place| u16::try_from(place).ok());
    if command.verb == "resolve" {
        entry.facts.done = body.output.is_some();
        entry.payload = body.output.map(|output| output.into_bytes().into());
    }
    entry
}

/// What belongs to a verb.
#[derive(Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Body {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) step: Option<String>,
    /// The output of a step that was found done, as JSON text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) output: Option<String>,
    /// The same, sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sealed: Option<Vec<u8>>,
}
