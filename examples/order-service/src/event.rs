//! Events as consumers see them.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

/// What the service calls itself in the CloudEvents headers.
pub const SOURCE: &str = "/swifttrack/order-service";

/// An event before it has its place in the order's sequence.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// `CMS_VERIFIED` and so on.
    pub kind: String,
    /// What belongs to it; ids and amounts, never addresses or names.
    pub data: Value,
}

impl Draft {
    /// An event of this kind.
    pub fn new(kind: impl Into<String>, data: Value) -> Self {
        Self {
            kind: kind.into(),
            data,
        }
    }
}

/// An event of an order with its place in the sequence, as `order-events` carries it.
#[must_use]
pub fn order_event(
    id: Uuid,
    order: &str,
    sequence: i64,
    at: DateTime<Utc>,
    draft: &Draft,
) -> Value {
    json!({
        "eventId": id,
        "eventType": draft.kind,
        "orderId": order,
        "sequence": sequence,
        "timestamp": rfc3339(at),
        "version": 1,
        "data": draft.data,
    })
}

/// An event that stands outside an order's sequence, as `retry-events` carries it.
#[must_use]
pub fn retry_event(id: Uuid, order: &str, at: DateTime<Utc>, draft: &Draft) -> Value {
    json!({
        "eventId": id,
        "eventType": draft.kind,
        "orderId": order,
        "timestamp": rfc3339(at),
        "version": 1,
        "data": draft.data,
    })
}

/// An event about a partner, as `health-events` carries it.
#[must_use]
pub fn health_event(
    id: Uuid,
    service: &str,
    instance: &str,
    at: DateTime<Utc>,
    draft: &Draft,
) -> Value {
    json!({
        "eventId": id,
        "eventType": draft.kind,
        "service": service,
        "instance": instance,
        "timestamp": rfc3339(at),
        "version": 1,
        "data": draft.data,
    })
}

/// RFC 3339 in UTC, to the millisecond.
#[must_use]
pub fn rfc3339(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// A moment that is kept as microseconds since 1970.
#[must_use]
pub fn moment(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).unwrap_or_default()
}
