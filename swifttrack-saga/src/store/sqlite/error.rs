//! What an error of SQLite means for a batch of transitions.

use crate::store::StoreError;

/// Whether a commit could have taken effect when the error came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// COMMIT was not begun.
    Before,
    /// COMMIT was running.
    Committing,
}

const ERROR: i32 = 1;
const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const TOO_BIG: i32 = 18;
const CONSTRAINT: i32 = 19;
const MISMATCH: i32 = 20;

pub(super) fn store_error(error: sqlx::Error, phase: Phase) -> StoreError {
    match code(&error) {
        Some(BUSY | LOCKED) => StoreError::retriable(error),
        Some(TOO_BIG | CONSTRAINT | MISMATCH) => StoreError::invalid(error),
        Some(ERROR) if error.to_string().contains("no such") => StoreError::schema(error),
        // Input, output, a full disk, a worker thread that is gone.
        _ => match phase {
            Phase::Before => StoreError::unavailable(error),
            Phase::Committing => StoreError::ambiguous(error),
        },
    }
}

/// What a hook's failure means: its own fault, unless the database said otherwise.
pub(super) fn hook_error(source: Box<dyn std::error::Error + Send + Sync>) -> StoreError {
    match source.downcast::<sqlx::Error>() {
        Ok(error) if matches!(code(&error), Some(BUSY | LOCKED)) => StoreError::retriable(*error),
        Ok(error) => StoreError::hook(*error),
        Err(other) => StoreError::hook(other),
    }
}

/// The primary result code: the low byte of the extended one.
fn code(error: &sqlx::Error) -> Option<i32> {
    let extended: i32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(extended & 0xff)
}
