//! What the versions of a schema mean to this binary.

use super::StoreError;

/// The version that was found, unless a newer binary made it.
pub(super) fn not_newer(found: i64, known: usize) -> Result<usize, StoreError> {
    let found = usize::try_from(found).unwrap_or(usize::MAX);
    match found <= known {
        true => Ok(found),
        false => Err(StoreError::schema(format!(
            "the schema is at version {found}, this binary knows {known}"
        ))),
    }
}
