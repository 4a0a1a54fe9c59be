//! A row on its way from the table to the broker.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use uuid::Uuid;

/// One event as the relay holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) seq: i64,
    pub(crate) id: Uuid,
    pub(crate) slot: u8,
    /// Shared by the rows of a page, since there are few topics and many rows.
    pub(crate) topic: Arc<str>,
    pub(crate) key: String,
    pub(crate) kind: Arc<str>,
    /// Lies beside those of other rows of its page.
    pub(crate) payload: Option<Bytes>,
    /// The event's own headers, a JSON object.
    pub(crate) headers: Option<String>,
    /// Java properties: `traceparent=…`, perhaps `tracestate=…`.
    pub(crate) trace: Option<String>,
    /// Milliseconds of the Unix epoch, by the database's clock.
    pub(crate) created_ms: i64,
    /// It comes from `outbox_dead` and is published again.
    pub(crate) replayed: bool,
}

/// What the rows of a page share: equal texts are one allocation, and payloads lie side by side in
/// blocks. Freed one by one, and in another order than they came, tens of thousands of payloads
/// would leave the heap in pieces.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// A list: pages have a handful of topics and types, and the last one is the likeliest.
    texts: Vec<Arc<str>>,
    block: BytesMut,
}

/// Beyond this many, texts are no longer looked up.
const TEXTS_MAX: usize = 64;

/// Bytes of a block. It lives as long as any of its payloads.
const BLOCK: usize = 64 * 1024;

/// A payload of more bytes has its own allocation, so that little of a block stays empty.
const SMALL_MAX: usize = BLOCK / 8;

impl Shared {
    pub(crate) fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.iter().rev().find(|known| known.as_ref() == text) {
            return Arc::clone(known);
        }
        let fresh: Arc<str> = text.into();
        if self.texts.len() < TEXTS_MAX {
            self.texts.push(Arc::clone(&fresh));
        }
        fresh
    }

    pub(crate) fn payload(&mut self, bytes: &[u8]) -> Bytes {
        if bytes.len() > SMALL_MAX {
            return Bytes::copy_from_slice(bytes);
        }
        if self.block.capacity() < bytes.len() {
            self.block = BytesMut::with_capacity(BLOCK);
        }
        self.block.extend_from_slice(bytes);
        self.block.split().freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_lie_side_by_side_and_stay_what_they_are() {
        let sent: Vec<Vec<u8>> = (0..3_000_usize)
            .map(|n| vec![n as u8; n * 37 % (SMALL_MAX + 2)])
            .collect();
        let mut shared = Shared::default();
        let kept: Vec<Bytes> = sent.iter().map(|bytes| shared.payload(bytes)).collect();
        assert_eq!(kept, sent);
        let mut shared = Shared::default();
        let two = [shared.payload(b"one"), shared.payload(b"two")];
        assert_eq!(two[0].as_ptr().wrapping_add(3), two[1].as_ptr());
    }
}
