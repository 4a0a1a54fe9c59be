//! The record.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{CassetteError, lines};

/// One exchange, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The request's headers, redacted and sorted.
    pub request_headers: Vec<(String, String)>,
    /// The request's body, redacted.
    pub request_body: String,
    /// The answer's status.
    pub status: u16,
    /// The answer's headers, redacted and sorted.
    pub answer_headers: Vec<(String, String)>,
    /// The answer's body, redacted.
    pub answer_body: String,
}

impl Recorded {
    pub(super) fn asks_the_same(&self, other: &Self) -> bool {
        self.method == other.method
            && self.path == other.path
            && self.request_headers == other.request_headers
            && self.request_body == other.request_body
    }
}

/// Exchanges in the order in which they were answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cassette {
    /// The exchanges.
    pub exchanges: Vec<Recorded>,
}

impl Cassette {
    /// Reads a cassette.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, is too long, or a line of it is no exchange. The error names the line.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, CassetteError> {
        lines::load(path.as_ref()).map(|exchanges| Self { exchanges })
    }

    /// Writes a cassette, in place of what was there.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), CassetteError> {
        lines::save(path.as_ref(), &self.exchanges)
    }
}
