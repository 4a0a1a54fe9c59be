//! One line of the file: what happened, and what is needed to have it again.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The longest line that is read back. An answer with the most and the longest
/// addresses that the order service lets through is a twentieth of it.
pub(crate) const LINE_BYTES_MAX: usize = 2 << 20;

/// What a request's body comes down to: equal bodies are one request, other bodies another.
///
/// Headers, trace and deadline are no part of it. It is kept in the file, so it
/// is a SHA-256 (its first half) and not one of the standard library's hashes,
/// which may change.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Fingerprint(u128);

impl Fingerprint {
    /// Of a body that was parsed, so that white space and the order of JSON members do not count.
    ///
    /// # Panics
    ///
    /// If the body cannot be written as JSON (a map whose keys are not strings).
    #[must_use]
    #[track_caller]
    pub fn of(body: &impl Serialize) -> Self {
        Self::of_bytes(&serde_json::to_vec(body).expect("a body is plain data"))
    }

    /// Of a body whose bytes are canonical already.
    #[must_use]
    pub fn of_bytes(body: &[u8]) -> Self {
        let mut half = [0; 16];
        half.copy_from_slice(&Sha256::digest(body)[..16]);
        Self(u128::from_be_bytes(half))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({:032x})", self.0)
    }
}

impl From<Fingerprint> for String {
    fn from(print: Fingerprint) -> Self {
        format!("{:032x}", print.0)
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = std::num::ParseIntError;

    fn try_from(hex: String) -> Result<Self, Self::Error> {
        u128::from_str_radix(&hex, 16).map(Self)
    }
}

/// What a row says about its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Effect {
    /// The forward operation was done.
    Applied,
    /// It was undone.
    Cancelled,
    /// There was nothing to undo, and now there cannot be.
    Tombstoned,
    /// A cancel found the order cancelled. No effect: kept for its key alone, and not shown.
    #[serde(rename = "ALREADY_CANCELLED")]
    Already,
}

/// An effect as the control port shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    /// Counts the effects of this ledger from 1, without gaps.
    pub n: u64,
    /// The operation, by the name that a fault rule uses.
    pub op: String,
    /// The idempotency key; the order id where the request had none.
    pub key: String,
    /// The order.
    pub order_id: String,
    /// What happened.
    pub effect: Effect,
    /// When, by this machine's clock.
    pub at: DateTime<Utc>,
}

/// What is written for one effect.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Row<'a, H, A> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) n: Option<u64>,
    pub(crate) op: &'a str,
    pub(crate) key: &'a str,
    pub(crate) order_id: &'a str,
    pub(crate) effect: Effect,
    pub(crate) at: DateTime<Utc>,
    pub(crate) body: Fingerprint,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hold: Option<&'a H>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) answer: Option<&'a A>,
}

/// What the start needs of a row; the answer stays in the file.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Kept<H> {
    pub(crate) n: Option<u64>,
    pub(crate) key: String,
    pub(crate) order_id: String,
    pub(crate) effect: Effect,
    pub(crate) body: Fingerprint,
    #[serde(default = "none")]
    pub(crate) hold: Option<H>,
}

const fn none<H>() -> Option<H> {
    None
}

/// The answer of a row, and nothing else of it.
#[derive(Deserialize)]
pub(crate) struct Answered<A> {
    pub(crate) answer: A,
}

/// Appends `row` as one line: its CRC-32C, a space, its JSON, a line feed.
pub(crate) fn encode(line: &mut Vec<u8>, row: &impl Serialize) -> serde_json::Result<()> {
    let start = line.len();
    line.extend_from_slice(b"00000000 ");
    let written = serde_json::to_writer(&mut *line, row);
    if let Err(error) = written {
        line.truncate(start);
        return Err(error);
    }
    let crc = crc32c::crc32c(&line[start + 9..]);
    line[start..start + 8].copy_from_slice(format!("{crc:08x}").as_bytes());
    line.push(b'\n');
    Ok(())
}

/// The JSON of a line (without its line feed), if the line is whole.
pub(crate) fn decode(line: &[u8]) -> Option<&[u8]> {
    let (crc, rest) = line.split_at_checked(8)?;
    let json = rest.strip_prefix(b" ")?;
    let crc = u32::from_str_radix(std::str::from_utf8(crc).ok()?, 16).ok()?;
    (crc32c::crc32c(json) == crc).then_some(json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_lost_or_changed_a_byte_is_not_whole() {
        let mut line = Vec::new();
        encode(&mut line, &serde_json::json!({"order": "ORD-1\n"})).unwrap();
        assert_eq!(line.pop(), Some(b'\n'));
        assert_eq!(decode(&line), Some(&br#"{"order":"ORD-1\n"}"#[..]));
        for cut in 0..line.len() {
            assert_eq!(decode(&line[..cut]), None);
            let mut changed = line.clone();
            changed[cut] ^= 1;
            assert_eq!(decode(&changed), None, "byte {cut}");
        }
    }

    #[test]
    fn a_fingerprint_reads_back_and_does_not_change_from_release_to_release() {
        let print = Fingerprint::of_bytes(b"abc");
        assert_eq!(String::from(print), "ba7816bf8f01cfea414140de5dae2223");
        assert_eq!(Fingerprint::try_from(String::from(print)), Ok(print));
        assert_ne!(print, Fingerprint::of_bytes(b"abd"));
    }
}
