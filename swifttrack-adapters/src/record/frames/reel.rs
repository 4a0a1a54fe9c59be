//! The record.

use std::fmt::Write as _;
use std::path::Path;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::record::{CassetteError, lines};

/// One call, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedCall {
    /// What was asked, redacted.
    pub request: RecordedFrame,
    /// What was answered, redacted; the partner's ERROR too.
    pub answer: RecordedFrame,
}

/// A message, without its id and deadline, which are another call's next time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedFrame {
    /// The type.
    pub kind: u8,
    /// The payload, in hexadecimal digits.
    pub payload: String,
}

impl RecordedFrame {
    pub(super) fn new(kind: u8, payload: &[u8]) -> Self {
        let mut hex = String::with_capacity(payload.len() * 2);
        for byte in payload {
            // Writing to a string does not fail.
            let _ = write!(hex, "{byte:02x}");
        }
        Self { kind, payload: hex }
    }

    /// `None` if the digits are no bytes.
    pub(super) fn bytes(&self) -> Option<Bytes> {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let pairs = self.payload.as_bytes().chunks(2);
        pairs
            .map(|pair| match pair {
                [high, low] => u8::try_from(digit(*high)? << 4 | digit(*low)?).ok(),
                _ => None,
            })
            .collect()
    }
}

/// Calls in the order in which they were answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reel {
    /// The calls.
    pub calls: Vec<RecordedCall>,
}

impl Reel {
    /// Reads a reel.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, is too long, or a line of it is no call. The error names the line.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, CassetteError> {
        lines::load(path.as_ref()).map(|calls| Self { calls })
    }

    /// Writes a reel, in place of what was there.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), CassetteError> {
        lines::save(path.as_ref(), &self.calls)
    }
}
