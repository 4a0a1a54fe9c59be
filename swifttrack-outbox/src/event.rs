//! What is appended: one event, checked before it is written.

use std::borrow::Cow;

use uuid::Uuid;

use crate::error::Refusal;
use crate::slot::slot_of;

/// The largest event by default, in bytes: key, payload and headers, those that the relay adds
/// included. A broker takes batches of 1,048,588 bytes unless it was told otherwise.
pub const EVENT_BYTES_MAX: usize = 1_000_000;

/// The most headers that an event may have of its own.
pub const HEADERS_MAX: usize = 32;

const HEADER_NAME_BYTES_MAX: usize = 128;
const HEADER_VALUE_BYTES_MAX: usize = 4_096;
const NAME_BYTES_MAX: usize = 255;
const TOPIC_BYTES_MAX: usize = 249;

/// What the relay adds to a record (id, type, CloudEvents, trace, framing), generously.
const ADDED_BYTES: usize = 1_024;

/// A fact that is to be published exactly if the caller's transaction commits.
///
/// Topic, key, type and payload are what Kafka gets. Events of one topic and key are published
/// in the order in which they were appended, as long as their writers are serialised by a row
/// lock or a version check on what the key names (or use
/// [`append_ordered`](crate::append_ordered)).
///
/// ```
/// use swifttrack_outbox::Event;
/// let event = Event::new("order-events", "ORD-001", "CMS_VERIFIED", br#"{"version":1}"#.to_vec())
///     .header("tenant", "lk")
///     .idempotency_key("ORD-001:4");
/// assert_eq!(event.topic(), "order-events");
/// ```
#[derive(Clone, Debug)]
pub struct Event {
    pub(crate) id: Uuid,
    pub(crate) topic: Cow<'static, str>,
    pub(crate) key: Cow<'static, str>,
    pub(crate) kind: Cow<'static, str>,
    pub(crate) payload: Option<Vec<u8>>,
    pub(crate) headers: Vec<(Cow<'static, str>, Cow<'static, str>)>,
    pub(crate) traceparent: Option<String>,
    pub(crate) tracestate: Option<String>,
    pub(crate) idempotency_key: Option<String>,
}

impl Event {
    /// An event with a fresh id (uuid v7). Nothing is checked before it is appended.
    #[must_use]
    pub fn new(
        topic: impl Into<Cow<'static, str>>,
        key: impl Into<Cow<'static, str>>,
        kind: impl Into<Cow<'static, str>>,
        payload: impl Into<Vec<u8>>,
    ) -> Self {
        Self {
            id: Uuid::now_v7(),
            topic: topic.into(),
            key: key.into(),
            kind: kind.into(),
            payload: Some(payload.into()),
            headers: Vec::new(),
            traceparent: None,
            tracestate: None,
            idempotency_key: None,
        }
    }

    /// A record without a value, which a compacted topic takes as "forget this key".
    #[must_use]
    pub fn tombstone(
        topic: impl Into<Cow<'static, str>>,
        key: impl Into<Cow<'static, str>>,
        kind: impl Into<Cow<'static, str>>,
    ) -> Self {
        let mut event = Self::new(topic, key, kind, Vec::new());
        event.payload = None;
        event
    }

    /// Takes an id that the caller made; consumers drop duplicates by it.
    #[must_use]
    pub fn with_id(mut self, id: Uuid) -> Self {
        self.id = id;
        self
    }

    /// Adds a header of the caller's own. The names that the relay sets are refused at append:
    /// `id`, `type`, `traceparent`, `tracestate` and all of `ce_…`. `content-type` replaces the
    /// relay's.
    #[must_use]
    pub fn header(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Cow<'static, str>>,
    ) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Stores the W3C trace context, so that the consumer's span joins the producer's trace.
    #[must_use]
    pub fn traceparent(mut self, traceparent: impl Into<String>) -> Self {
        self.traceparent = Some(traceparent.into());
        self
    }

    /// Stores the W3C `tracestate` beside the `traceparent`, up to 180 bytes.
    #[must_use]
    pub fn tracestate(mut self, tracestate: impl Into<String>) -> Self {
        self.tracestate = Some(tracestate.into());
        self
    }

    /// Makes a second append with the same key write nothing, for 24 hours by default (see
    /// [`expire`](crate::expire)). The row itself is gone once it is published, so the key is
    /// kept apart.
    #[must_use]
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    /// The id: the Kafka header `id` and CloudEvents' `ce_id`.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// The topic, which is Debezium's `aggregatetype`.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The key, which is Debezium's `aggregateid`.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    pub(crate) fn slot(&self) -> u8 {
        slot_of(&self.topic, &self.key)
    }

    /// The trace context as Debezium's column wants it: Java properties.
    pub(crate) fn tracing_span_context(&self) -> Option<String> {
        let parent = self.traceparent.as_ref()?;
        Some(match &self.tracestate {
            Some(state) => format!("traceparent={parent}\ntracestate={state}"),
            None => format!("traceparent={parent}"),
        })
    }

    /// The event's own headers as a JSON object, none if there are none.
    pub(crate) fn headers_json(&self) -> Option<String> {
        if self.headers.is_empty() {
            return None;
        }
        let map: serde_json::Map<String, serde_json::Value> = self
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.as_ref().into()))
            .collect();
        Some(serde_json::Value::Object(map).to_string())
    }

    /// What a broker is going to count, rounded up.
    pub(crate) fn bytes(&self) -> usize {
        let headers: usize = self
            .headers
            .iter()
            .map(|(n, v)| n.len() + v.len() + 10)
            .sum();
        self.payload.as_ref().map_or(0, Vec::len)
            + self.key.len()
            + 2 * self.kind.len()
            + self.traceparent.as_ref().map_or(0, String::len)
            + self.tracestate.as_ref().map_or(0, String::len)
            + headers
            + ADDED_BYTES
    }

    pub(crate) fn check(&self, bytes_max: usize) -> Result<(), Refusal> {
        check_topic(&self.topic)?;
        if !is_name(&self.key) || self.key.contains('\0') {
            return Err(Refusal::Key(clipped(&self.key)));
        }
        if !is_name(&self.kind) || self.kind.chars().any(char::is_control) {
            return Err(Refusal::Type(clipped(&self.kind)));
        }
        if let Some(key) = &self.idempotency_key
            && (!is_name(key) || key.contains('\0'))
        {
            return Err(Refusal::IdempotencyKey(clipped(key)));
        }
        self.check_headers()?;
        self.check_trace()?;
        let bytes = self.bytes();
        if bytes > bytes_max {
            return Err(Refusal::TooLarge { bytes, bytes_max });
        }
        Ok(())
    }

    fn check_headers(&self) -> Result<(), Refusal> {
        let refuse = |name: &str, reason| {
            Err(Refusal::Header {
                name: clipped(name),
                reason,
            })
        };
        for (n, (name, value)) in self.headers.iter().enumerate() {
            if n >= HEADERS_MAX {
                return refuse(name, "is one too many");
            }
            if name.is_empty()
                || name.len() > HEADER_NAME_BYTES_MAX
                || !name.bytes().all(|b| b.is_ascii_graphic())
            {
                return refuse(name, "has no name that is allowed");
            }
            if is_reserved(name) {
                return refuse(name, "is set by the relay");
            }
            if self.headers[..n].iter().any(|(other, _)| other == name) {
                return refuse(name, "is there twice");
            }
            if value.len() > HEADER_VALUE_BYTES_MAX || value.contains('\0') {
                return refuse(name, "has a value that is not allowed");
            }
        }
        Ok(())
    }

    fn check_trace(&self) -> Result<(), Refusal> {
        let Some(parent) = &self.traceparent else {
            return match &self.tracestate {
                Some(state) => Err(Refusal::Trace(clipped(state))),
                None => Ok(()),
            };
        };
        // version "-" 32 hex "-" 16 hex "-" flags
        let shape = [2, 32, 16, 2];
        let mut parts = parent.split('-');
        let well_formed = shape.iter().all(|len| {
            parts
                .next()
                .is_some_and(|p| p.len() == *len && p.bytes().all(|b| b.is_ascii_hexdigit()))
        }) && parts.next().is_none();
        if !well_formed {
            return Err(Refusal::Trace(clipped(parent)));
        }
        match &self.tracestate {
            // The column has 256 characters, as Debezium's documentation declares it.
            Some(state) if state.len() > 180 || state.chars().any(char::is_control) => {
                Err(Refusal::Trace(clipped(state)))
            }
            _ => Ok(()),
        }
    }
}

pub(crate) fn check_topic(topic: &str) -> Result<(), Refusal> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if topic.is_empty()
        || topic.len() > TOPIC_BYTES_MAX
        || topic == "."
        || topic == ".."
        || !topic.bytes().all(allowed)
    {
        return Err(Refusal::Topic(clipped(topic)));
    }
    Ok(())
}

fn is_reserved(name: &str) -> bool {
    matches!(name, "id" | "type" | "traceparent" | "tracestate") || name.starts_with("ce_")
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= NAME_BYTES_MAX
}

/// An error message is no place for a megabyte.
fn clipped(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        Event::new("order-events", "ORD-1", "ORDER_ACCEPTED", b"{}".to_vec())
    }

    #[test]
    fn a_plain_event_passes() {
        assert_eq!(event().check(EVENT_BYTES_MAX), Ok(()));
        assert_eq!(
            Event::tombstone("t", "k", "GONE").check(EVENT_BYTES_MAX),
            Ok(())
        );
    }

    #[test]
    fn the_largest_event_passes_and_one_byte_more_does_not() {
        let mut event = event();
        let rest = EVENT_BYTES_MAX - event.bytes();
        let payload = event.payload.as_mut().unwrap();
        payload.resize(payload.len() + rest, b'x');
        assert_eq!(event.check(EVENT_BYTES_MAX), Ok(()));
        event.payload.as_mut().unwrap().push(b'x');
        assert!(matches!(
            event.check(EVENT_BYTES_MAX),
            Err(Refusal::TooLarge { .. })
        ));
    }

    #[test]
    fn names_that_kafka_or_the_database_would_refuse_are_refused_here() {
        let long = "k".repeat(256);
        let with = |topic: &'static str, key: &str, kind: &'static str| {
            Event::new(topic, key.to_owned(), kind, vec![]).check(EVENT_BYTES_MAX)
        };
        for topic in ["", "..", "order events", "ordré"] {
            assert!(
                matches!(with(topic, "k", "T"), Err(Refusal::Topic(_))),
                "{topic}"
            );
        }
        for key in ["", "a\0b", &long] {
            assert!(matches!(with("t", key, "T"), Err(Refusal::Key(_))), "{key}");
        }
        for kind in ["", "a\nb"] {
            assert!(
                matches!(with("t", "k", kind), Err(Refusal::Type(_))),
                "{kind}"
            );
        }
    }

    #[test]
    fn headers_of_the_relay_and_doubled_ones_are_refused() {
        for name in ["id", "type", "ce_id", "traceparent", "", "a b"] {
            let refused = event().header(name, "x").check(EVENT_BYTES_MAX);
            assert!(matches!(refused, Err(Refusal::Header { .. })), "{name}");
        }
        let twice = event().header("a", "1").header("a", "2");
        assert!(twice.check(EVENT_BYTES_MAX).is_err());
        let mut many = event();
        for n in 0..HEADERS_MAX {
            many = many.header(format!("h{n}"), "v");
        }
        assert_eq!(many.check(EVENT_BYTES_MAX), Ok(()));
        assert!(many.header("more", "v").check(EVENT_BYTES_MAX).is_err());
    }

    #[test]
    fn a_trace_is_w3c_or_refused() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let event = event().traceparent(good);
        assert_eq!(event.check(EVENT_BYTES_MAX), Ok(()));
        assert_eq!(
            event.tracing_span_context().unwrap(),
            format!("traceparent={good}")
        );
        assert!(
            event
                .clone()
                .traceparent("00-xyz")
                .check(EVENT_BYTES_MAX)
                .is_err()
        );
    }
}
