//! A row on its way from the table to the broker.

use std::sync::Arc;

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
    pub(crate) payload: Option<Vec<u8>>,
    /// The event's own headers, a JSON object.
    pub(crate) headers: Option<String>,
    /// Java properties: `traceparent=…`, perhaps `tracestate=…`.
    pub(crate) trace: Option<String>,
    /// Milliseconds of the Unix epoch, by the database's clock.
    pub(crate) created_ms: i64,
    /// It comes from `outbox_dead` and is published again.
    pub(crate) replayed: bool,
}

/// Gives equal texts one allocation, within a page.
#[derive(Debug, Default)]
pub(crate) struct Interner {
    /// A list: pages have a handful of topics and types, and the last one is the likeliest.
    texts: Vec<Arc<str>>,
}

/// Beyond this many, texts are no longer looked up.
const TEXTS_MAX: usize = 64;

impl Interner {
    pub(crate) fn get(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.iter().rev().find(|known| known.as_ref() == text) {
            return Arc::clone(known);
        }
        let fresh: Arc<str> = text.into();
        if self.texts.len() < TEXTS_MAX {
            self.texts.push(Arc::clone(&fresh));
        }
        fresh
    }
}
