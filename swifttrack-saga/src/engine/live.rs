//! A saga in memory.

use std::sync::Arc;

use smallvec::SmallVec;
use tokio::task::AbortHandle;
use tracing::Span;
use uuid::Uuid;

use crate::core::{
    self, Effects, Entry, Given, Illegal, Input, Limits, NodeState, Output, Phase, Places, State,
    Status, Unreadable,
};
use crate::definition::Definition;
use crate::engine::registry::Registered;
use crate::engine::shared::StartRequest;
use crate::erased::Value;
use crate::graph::Action;
use crate::hook::{End, Transition};
use crate::store::{Change, Head, NewSaga, Row, ShardLease, Timestamp};

pub(crate) struct Live {
    pub(crate) saga: Uuid,
    pub(crate) id: Arc<str>,
    pub(crate) registered: Arc<Registered>,
    pub(crate) shard: u16,
    pub(crate) state: State,
    pub(crate) input: Value,
    pub(crate) values: Vec<Option<Value>>,
    pub(crate) ctl: i64,
    pub(crate) crashes: i16,
    /// The time of the last row: it never goes back.
    pub(crate) at: Timestamp,
    /// What the store does not have yet.
    pub(crate) pending: Option<Box<Pending>>,
    /// Its commit failed alone, and is tried again; what happens meanwhile waits.
    pub(crate) stuck: Option<Box<Stuck>>,
    pub(crate) attempts: Vec<InFlight>,
    /// Attempts that are allowed and have not begun.
    pub(crate) waiting: Vec<Waiting>,
    /// Attempts that were refused since then, and their turn.
    pub(crate) patience: Vec<(u16, u64, Timestamp)>,
    /// The earliest timer that is set for it.
    pub(crate) timer: Option<Timestamp>,
    pub(crate) starter: Option<Box<StartRequest>>,
    /// Its attempts are another process's, and that they were interrupted is not durable yet.
    pub(crate) foreign: bool,
    /// Of its time in this memory; its attempts are inside.
    pub(crate) span: Span,
    /// Somebody wants to hear of its transitions: a hook.
    pub(crate) tells: bool,
}

/// Transitions on their way into a commit.
#[derive(Default)]
pub(crate) struct Pending {
    pub(crate) rows: Vec<Row>,
    pub(crate) transitions: Vec<Transition>,
    pub(crate) starts: Places,
    pub(crate) undoes: Places,
    /// Results of attempts, to be decided again if the commit conflicts.
    pub(crate) inputs: SmallVec<[(Input, Option<Value>); 1]>,
    pub(crate) signals: Vec<i64>,
    pub(crate) requests_until: i64,
}

pub(crate) struct Stuck {
    pub(crate) change: Change,
    pub(crate) times: u32,
    pub(crate) deferred: Vec<(Input, Option<Value>)>,
}

/// An attempt that runs; it is dropped with its saga.
pub(crate) struct InFlight {
    pub(crate) node: u16,
    pub(crate) task: AbortHandle,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) struct Waiting {
    pub(crate) node: u16,
    /// What it waits for, in which turn, and until when; none at a gate.
    pub(crate) on: Option<(Arc<str>, u64, Timestamp)>,
}

/// What a journal says, with its values.
pub(crate) struct Restored {
    pub(crate) state: State,
    pub(crate) input: Value,
    pub(crate) values: Vec<Option<Value>>,
    pub(crate) at: Timestamp,
    /// The trace that its starter was in.
    pub(crate) trace: Option<Arc<str>>,
    /// It has ended, and what it carried is gone.
    pub(crate) erased: bool,
}

impl Restored {
    pub(crate) fn from(
        registered: &Registered,
        saga: Uuid,
        rows: &[Row],
    ) -> Result<Self, Unreadable> {
        Self::read(registered, &registered.open_rows(saga, rows)?)
    }

    /// The same, of rows whose payloads are open.
    pub(crate) fn read(registered: &Registered, rows: &[Row]) -> Result<Self, Unreadable> {
        let definition = &registered.definition;
        // A start always has an input, be it `null`.
        let erased = rows.first().is_some_and(|first| first.payload.is_none());
        let mut values: Vec<Option<Value>> = vec![None; definition.nodes.len()];
        let mut input = erased.then(|| Arc::new(()) as Value);
        let mut trace = None;
        let mut fault = None;
        let state = core::fold(definition, rows, |_, row, entry, effects| {
            if row.seq == 1 {
                trace.clone_from(&entry.facts.trace);
            }
            if erased {
                return;
            }
            if row.seq == 1 {
                let bytes = row.payload.as_deref().unwrap_or_default();
                match (registered.code.input.decode)(bytes) {
                    Ok(value) => input = Some(value),
                    Err(error) => fault = Some(format!("the input: {error}")),
                }
            }
            for (node, output) in &effects.outputs {
                match value_of(registered, *node, output) {
                    Ok(value) => values[usize::from(*node)] = Some(value),
                    Err(error) => fault = Some(format!("the output in row {}: {error}", row.seq)),
                }
            }
        })?;
        if erased && !state.ended() {
            fault = Some("its payloads are gone".to_owned());
        }
        match (fault, input, rows.last()) {
            (None, Some(input), Some(last)) => Ok(Self {
                state,
                input,
                values,
                at: last.at,
                trace,
                erased,
            }),
            (Some(fault), ..) => Err(Unreadable::new(fault)),
            _ => Err(Unreadable::new("the journal is empty")),
        }
    }

    /// The encoded result of a saga that completed; empty if it was erased.
    pub(crate) fn result(&self, registered: &Registered) -> Arc<[u8]> {
        if self.erased {
            return Arc::default();
        }
        result_of(registered, &self.input, &self.values)
    }
}

impl Live {
    pub(crate) fn started(saga: Uuid, shard: u16, request: StartRequest) -> Self {
        let registered = request.registered.clone();
        Self {
            saga,
            span: registered.span(saga, &request.id, request.trace.as_deref()),
            id: request.id.clone(),
            shard,
            state: State::new(&registered.definition),
            input: request.value.clone(),
            values: vec![None; registered.definition.nodes.len()],
            registered,
            ctl: 0,
            crashes: 0,
            at: Timestamp(0),
            pending: None,
            stuck: None,
            attempts: Vec::new(),
            waiting: Vec::new(),
            patience: Vec::new(),
            timer: None,
            starter: Some(Box::new(request)),
            foreign: false,
            tells: true,
        }
    }

    pub(crate) fn definition(&self) -> &Arc<Definition> {
        &self.registered.definition
    }

    pub(crate) fn node(&self, place: u16) -> &NodeState {
        self.state.node(place)
    }

    /// Takes an input in, with all that follows of itself.
    pub(crate) fn feed(
        &mut self,
        input: Input,
        value: Option<Value>,
        given: Given,
        limits: Limits,
    ) -> Result<(), Illegal> {
        let given = Given {
            at: given.at.max(self.at),
            ..given
        };
        let is_result = matches!(
            input,
            Input::Done { .. }
                | Input::Failed { .. }
                | Input::UndoDone { .. }
                | Input::UndoFailed { .. }
        );
        let keep = is_result.then(|| (input.clone(), value.clone()));
        self.step(input, value, given)?;
        if let (Some(pending), Some(keep)) = (&mut self.pending, keep) {
            pending.inputs.push(keep);
        }
        while let Some(next) = core::pending(&self.registered.definition, &self.state, limits) {
            self.step(next, None, given)?;
        }
        Ok(())
    }

    fn step(&mut self, input: Input, value: Option<Value>, given: Given) -> Result<(), Illegal> {
        let registered = self.registered.clone();
        let definition = &registered.definition;
        let (mut entry, effects) = core::apply(definition, &mut self.state, input, given)?;
        self.at = given.at;
        if let Some(starter) = self.starter.as_ref().filter(|_| self.state.seq == 1) {
            entry.facts.trace.clone_from(&starter.trace);
        }
        if matches!(
            entry.kind,
            core::EntryKind::StepDone | core::EntryKind::UndoDone
        ) {
            self.crashes = 0;
        }
        let mut value = value;
        for (node, output) in &effects.outputs {
            let value = match value.take() {
                Some(value) => Some(value),
                // What cannot be read is found out before it is fed.
                None => value_of(&registered, *node, output).ok(),
            };
            self.values[usize::from(*node)] = value;
        }
        let mut row = core::row(&self.state, &entry, given.at);
        row.payload = row.payload.map(|plain| registered.seal(self.saga, plain));
        let transition = self.tells.then(|| self.transition(&entry, &effects, &row));
        let pending = self.pending.get_or_insert_default();
        push(&mut pending.rows, row);
        if let Some(transition) = transition {
            push(&mut pending.transitions, transition);
        }
        pending.starts.extend(effects.starts);
        pending.undoes.extend(effects.undoes);
        Ok(())
    }

    fn transition(&self, entry: &Entry, effects: &Effects, row: &Row) -> Transition {
        let definition = self.definition();
        let names = |places: &[u16]| -> Vec<Arc<str>> {
            let nodes = places.iter();
            nodes
                .map(|place| definition.nodes[usize::from(*place)].name.clone())
                .collect()
        };
        let attachment = self.starter.as_ref().filter(|_| row.seq == 1);
        Transition {
            saga: self.saga,
            definition: definition.name.clone(),
            version: definition.version,
            id: self.id.clone(),
            seq: row.seq,
            at: row.at,
            what: core::tell(definition, entry),
            starts: names(&effects.first),
            undoes: names(&effects.undoes),
            end: effects.over.and_then(|_| self.end()),
            attachment: attachment.and_then(|starter| starter.attachment.clone()),
        }
    }

    fn end(&self) -> Option<End> {
        core::end_of(self.definition(), &self.state, || {
            result_of(&self.registered, &self.input, &self.values)
        })
    }

    /// What is to be committed, out of `pending`.
    pub(crate) fn change(&mut self, lease: ShardLease) -> Option<Change> {
        let pending = self.pending.as_mut()?;
        let rows = std::mem::take(&mut pending.rows);
        let transitions = std::mem::take(&mut pending.transitions);
        let expect_seq = rows.first()?.seq - 1;
        let start = self.starter.as_ref().map(|starter| NewSaga {
            definition: self.registered.definition.name.clone(),
            version: self.registered.definition.version,
            id: self.id.clone(),
            input_hash: starter.hash,
            attachment: starter.attachment.clone(),
        });
        let head = if self.state.ended() {
            Head::Ended {
                state: self.state.coarse(),
            }
        } else {
            Head::Live {
                wake_at: self.state.wake_at(self.at),
                past_pivot: self.state.past_pivot,
                state: self.state.coarse(),
                attention: self.state.attention || self.state.parked.is_some(),
                crashes: self.crashes,
            }
        };
        Some(Change {
            saga: self.saga,
            lease,
            expect_seq,
            expect_ctl: self.ctl,
            start,
            rows,
            head,
            signals: pending.signals.clone(),
            requests_until: pending.requests_until,
            transitions,
        })
    }

    /// Whether an attempt of this node is under way or waits to begin.
    pub(crate) fn under_way(&self, node: u16) -> bool {
        self.attempts.iter().any(|attempt| attempt.node == node)
            || self.waiting.iter().any(|waiting| waiting.node == node)
    }

    /// Nodes that are allowed to run.
    pub(crate) fn running(&self) -> Vec<u16> {
        (0_u16..)
            .zip(self.state.nodes.iter())
            .filter(|(_, node)| matches!(node.status, Status::Running | Status::UndoRunning))
            .map(|(place, _)| place)
            .collect()
    }

    /// Until when attempts that another process began could still send something.
    pub(crate) fn could_send_until(&self, now: Timestamp) -> Timestamp {
        let nodes = &self.definition().nodes;
        let running = self.running();
        let timeouts = running
            .iter()
            .filter_map(|node| nodes[usize::from(*node)].policy);
        // An attempt that asks first takes up to twice its timeout.
        let longest = timeouts.map(|policy| policy.attempt_timeout * 2).max();
        now.saturating_add(longest.unwrap_or_default())
    }

    /// Whether an attempt that has not begun should not begin any more.
    pub(crate) fn pointless(&self, node: u16) -> bool {
        self.state.phase != Phase::Forward && self.node(node).status == Status::Running
    }

    /// When a timer is next needed.
    pub(crate) fn next_timer(&self) -> Option<Timestamp> {
        let waits = self.waiting.iter();
        let waits = waits.filter_map(|waiting| waiting.on.as_ref().map(|(_, _, until)| *until));
        let due = self.state.next_due().map(|(due, _)| due);
        waits.chain(due).min()
    }

    pub(crate) fn idle(&self) -> bool {
        self.attempts.is_empty()
            && self.waiting.is_empty()
            && self.pending.is_none()
            && self.stuck.is_none()
    }
}

/// Mostly there is one of each: four, as a vector begins with, are beyond what an allocator
/// keeps at hand.
fn push<T>(all: &mut Vec<T>, one: T) {
    if all.is_empty() {
        all.reserve_exact(1);
    }
    all.push(one);
}

fn result_of(registered: &Registered, input: &Value, values: &[Option<Value>]) -> Arc<[u8]> {
    let result = (registered.code.result)(&registered.scope(input, values));
    // Outputs were encoded before; a tuple of them is encoded too.
    (registered.code.output.encode)(&result)
        .unwrap_or_default()
        .into()
}

/// The value of a node's output.
pub(crate) fn value_of(
    registered: &Registered,
    node: u16,
    output: &Output,
) -> serde_json::Result<Value> {
    let work = &registered.code.work[usize::from(node)];
    match (output, &work.action) {
        (Output::Bytes(bytes), _) => (work.codec.decode)(bytes),
        (Output::Heard(words), Action::Signal { hear, .. }) => hear(words),
        (
            Output::Absent,
            Action::Signal {
                absent: Some(absent),
                ..
            },
        ) => Ok(absent()),
        _ => Ok(Arc::new(())),
    }
}
