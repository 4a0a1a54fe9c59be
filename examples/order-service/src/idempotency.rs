//! The `Idempotency-Key` header: one key, one order, for a day.

use std::fmt::Write as _;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::order::NewOrder;

/// How long a key is remembered.
pub const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest key.
pub const KEY_BYTES_MAX: usize = 255;

/// What a client sent in the header, and what it meant by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// The header's value.
    pub key: String,
    /// A digest of the order, compared after parsing.
    pub fingerprint: String,
}

impl Idempotency {
    /// Ties a key to an order.
    #[must_use]
    pub fn new(key: String, order: &NewOrder) -> Self {
        let canonical = serde_json::to_vec(order).unwrap_or_default();
        let mut fingerprint = String::with_capacity(64);
        for byte in Sha256::digest(&canonical) {
            let _ = write!(fingerprint, "{byte:02x}");
        }
        Self { key, fingerprint }
    }
}

/// Why a start was refused by its own transaction: another start took the key meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyTaken;
