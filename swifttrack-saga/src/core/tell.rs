//! Entries in the words of the hook.

use std::sync::Arc;
use std::time::Duration;

use crate::core::entry::{Entry, EntryKind};
use crate::core::state::{Phase, State, Status};
use crate::definition::{Definition, Undo};
use crate::hook::{End, What};
use crate::store::Timestamp;

/// An entry as the hook sees it.
pub(crate) fn tell(definition: &Definition, entry: &Entry) -> What {
    let facts = &entry.facts;
    let name = || {
        entry
            .node
            .map(|node| definition.nodes[usize::from(node)].name.clone())
    };
    let step = || name().unwrap_or_else(|| Arc::from(""));
    let text = |text: &Option<Arc<str>>| text.clone().unwrap_or_else(|| Arc::from(""));
    let attempt = entry.attempt();
    let bytes = || entry.payload.clone().unwrap_or_default();
    let other = |kind| What::Other { kind, step: name() };
    match entry.kind {
        EntryKind::Started => What::Started { input: bytes() },
        EntryKind::StepDone => What::StepDone {
            step: step(),
            attempt,
            output: bytes(),
        },
        EntryKind::StepRetry => What::StepRetry {
            step: step(),
            attempt,
            unknown: facts.unknown,
            error: facts.failure(),
            due: Timestamp(facts.due.unwrap_or_default()),
            pause: Duration::from_micros(facts.pause.unwrap_or_default()),
        },
        EntryKind::StepFailed => What::StepFailed {
            step: step(),
            attempt,
            unknown: facts.unknown,
            error: facts.failure(),
        },
        EntryKind::UndoDone => What::UndoDone {
            step: step(),
            attempt,
        },
        EntryKind::UndoRetry => What::UndoRetry {
            step: step(),
            attempt,
            error: facts.failure(),
            due: Timestamp(facts.due.unwrap_or_default()),
        },
        EntryKind::Parked => What::Parked {
            reason: text(&facts.message),
        },
        EntryKind::Cancel if !facts.ignored => What::CancelRequested {
            who: text(&facts.who),
            reason: text(&facts.why),
        },
        EntryKind::Cancel | EntryKind::Operator => What::Operator {
            verb: text(&facts.word),
            who: text(&facts.who),
            reason: text(&facts.why),
            applied: !facts.ignored,
        },
        EntryKind::Attention => What::Attention {
            reason: text(&facts.message),
        },
        EntryKind::AttentionCleared => What::AttentionCleared,
        EntryKind::Attempt => other("attempt"),
        EntryKind::Slept => other("slept"),
        EntryKind::TimedOut => other("timed-out"),
        EntryKind::Signal => other("signal"),
        EntryKind::Interrupted => other("interrupted"),
        EntryKind::Released => other("released"),
        EntryKind::Withdrawn => other("withdrawn"),
        EntryKind::Deadline => other("deadline"),
        EntryKind::Deferred => other("deferred"),
    }
}

/// How a saga ended; `result` is asked for if it was completed.
pub(crate) fn end_of(
    definition: &Definition,
    state: &State,
    result: impl FnOnce() -> Arc<[u8]>,
) -> Option<End> {
    match state.phase {
        Phase::Completed => Some(End::Completed { result: result() }),
        Phase::Compensated => {
            let named = |fits: &dyn Fn(Undo, Status, bool) -> bool| -> Vec<Arc<str>> {
                let pairs = definition.nodes.iter().zip(state.nodes.iter());
                pairs
                    .filter(|(plan, node)| fits(plan.undo, node.status, node.may_stand()))
                    .map(|(plan, _)| plan.name.clone())
                    .collect()
            };
            let mut undone = named(&|_, status, _| status == Status::Undone);
            undone.reverse();
            let irrevocable = named(&|undo, status, stands| {
                status == Status::Left || (stands && matches!(undo, Undo::Irrevocable(_)))
            });
            let failed = state.failed.as_deref();
            Some(End::Compensated {
                undone,
                irrevocable,
                cancelled: state.cancelled,
                failed: failed.and_then(|(place, _)| {
                    place.map(|place| definition.nodes[usize::from(place)].name.clone())
                }),
                error: failed.map(|(_, why)| why.clone()),
            })
        }
        _ => None,
    }
}
