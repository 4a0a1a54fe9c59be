//! The saga as a pure function: no clock, no I/O, no SQL.
//!
//! ```text
//!            decide                    evolve
//!  Input ─────────────▶ Entry ──────────────────▶ State, Effects
//!                         │ ▲
//!                         ▼ │   fold = evolve over all rows
//!                      journal row
//! ```
//!
//! What was decided is in the entry, random numbers and policies included, so that folding
//! a journal gives the same state whatever the policies say today.

mod decide;
mod entry;
mod evolve;
mod state;
mod tell;

pub(crate) use self::decide::{Body, Given, Illegal, Input, Limits, Refusal, pending};
pub(crate) use self::entry::{Entry, EntryKind, Unreadable, version_in};
pub(crate) use self::evolve::{Effects, Output, Places};
pub(crate) use self::state::{ENDED_COMPLETED, NodeState, Phase, State, Status};
pub(crate) use self::tell::{end_of, tell};

use crate::definition::Definition;
use crate::store::{Row, Timestamp};

/// Decides what an input means and changes the state accordingly.
pub(crate) fn apply(
    definition: &Definition,
    state: &mut State,
    input: Input,
    given: Given,
) -> Result<(Entry, Effects), Illegal> {
    let entry = decide::decide(definition, state, input, given)?;
    let effects = evolve::evolve(definition, state, &entry, given.at);
    Ok((entry, effects))
}

/// The state after a journal, telling each step of it to `seen`.
pub(crate) fn fold(
    definition: &Definition,
    rows: &[Row],
    mut seen: impl FnMut(&State, &Row, &Entry, &Effects),
) -> Result<State, Unreadable> {
    let mut state = State::new(definition);
    for row in rows {
        if row.seq != state.seq + 1 {
            return Err(Unreadable::gap(state.seq, row.seq));
        }
        let entry = Entry::read(definition, row)?;
        let effects = evolve::evolve(definition, &mut state, &entry, row.at);
        seen(&state, row, &entry, &effects);
    }
    Ok(state)
}

/// A row for an entry that was applied.
pub(crate) fn row(state: &State, entry: &Entry, at: Timestamp) -> Row {
    entry.row(state.seq, at)
}
