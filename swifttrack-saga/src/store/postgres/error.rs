//! What an error of Postgres means for a batch of transitions.

use sqlx::postgres::{PgDatabaseError, PgSeverity};

use crate::store::StoreError;

/// Raised by `saga_assert`.
pub(super) const MOVED: &str = "SG001";
/// A start under an id that is taken.
const UNIQUE_VIOLATION: &str = "23505";

/// Whether a commit could have taken effect when the error came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// COMMIT was not sent.
    Before,
    /// COMMIT, or a statement that commits by itself, was on its way.
    Committing,
}

/// Whether the asserting statement found a saga that moved or an id that is taken.
pub(super) fn is_conflict(error: &sqlx::Error) -> bool {
    matches!(code(error).as_deref(), Some(MOVED | UNIQUE_VIOLATION))
}

/// Whether the connection must not be used again.
pub(super) fn is_lost(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(database) => {
            let fatal = database
                .try_downcast_ref::<PgDatabaseError>()
                .is_some_and(|error| {
                    matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic)
                });
            // The session ended: by an administrator, a crash or a timeout of its own.
            fatal || matches!(code(error).as_deref(), Some(code) if code.starts_with("08"))
        }
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::BeginFailed
        | sqlx::Error::WorkerCrashed => true,
        _ => false,
    }
}

pub(super) fn store_error(error: sqlx::Error, phase: Phase) -> StoreError {
    if is_lost(&error) {
        return match phase {
            Phase::Before => StoreError::unavailable(error),
            Phase::Committing => StoreError::ambiguous(error),
        };
    }
    match code(&error).as_deref() {
        // Serialization failure, deadlock, lock timeout, statement timeout or cancel.
        Some("40001" | "40P01" | "55P03" | "57014") => StoreError::retriable(error),
        // No such table, column or function.
        Some("42P01" | "42703" | "42883") => StoreError::schema(error),
        // Bad data, constraint, over a limit of the program.
        Some(code)
            if code.starts_with("22") || code.starts_with("23") || code.starts_with("54") =>
        {
            StoreError::invalid(error)
        }
        _ => StoreError::unavailable(error),
    }
}

/// What a hook's failure means: its own fault, unless the database said otherwise.
pub(super) fn hook_error(source: Box<dyn std::error::Error + Send + Sync>) -> StoreError {
    match source.downcast::<sqlx::Error>() {
        Ok(error) if is_lost(&error) => StoreError::unavailable(*error),
        Ok(error) => match code(&error).as_deref() {
            Some("40001" | "40P01" | "55P03" | "57014") => StoreError::retriable(*error),
            _ => StoreError::hook(*error),
        },
        Err(other) => StoreError::hook(other),
    }
}

fn code(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}
