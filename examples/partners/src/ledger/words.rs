//! What goes in and what comes out.

use chrono::{DateTime, Utc};

use super::row::Fingerprint;

/// A request, as far as the ledger needs to know it.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The operation, by the name that a fault rule uses.
    pub op: &'a str,
    /// The idempotency key. Empty: the order id counts as the key.
    pub key: &'a str,
    /// The order.
    pub order_id: &'a str,
    /// The rest of the body.
    pub body: Fingerprint,
}

impl Call<'_> {
    pub(super) const fn key(&self) -> &str {
        if self.key.is_empty() {
            self.order_id
        } else {
            self.key
        }
    }
}

/// Number and time of the effect that is about to be.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// Its number in this ledger, from 1.
    pub n: u64,
    /// Its time, to the millisecond.
    pub at: DateTime<Utc>,
}

/// The answer to a forward request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done<A> {
    /// The first answer.
    pub answer: A,
    /// Whether it had been given before.
    pub replayed: bool,
}

/// What a cancel came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undone {
    /// The effect was there and is gone.
    Cancelled,
    /// It had been cancelled, or fenced, before.
    Already,
    /// There was none, and now there cannot be one.
    Tombstoned,
}

/// What is known about an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look<A> {
    /// Nothing happened so far.
    Nothing,
    /// Its effect stands.
    Live(A),
    /// It was cancelled, or fenced; the answer is that of the effect, if there ever was one.
    Cancelled(Option<A>),
}

/// Why nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused<R> {
    /// The key, or the order, was used with another body.
    KeyReused,
    /// The order was cancelled or fenced.
    Cancelled,
    /// The partner's own reason.
    Business(R),
    /// More waits to be written than may wait.
    Busy,
    /// The disk failed: whether it was done is not known.
    Lost,
}

/// An order that had its effect was asked for again, under another key. Here it
/// is one effect; at a partner that goes by keys alone it would be two.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecondKey {
    /// The order.
    pub order_id: String,
    /// The key that came after the first.
    pub key: String,
}
