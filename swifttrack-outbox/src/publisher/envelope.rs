//! The headers that every record gets.

use crate::relay::row::Row;

/// CloudEvents in binary mode, the plain `id` and `type` that Debezium's router gives, the
/// trace context, and the event's own headers.
#[derive(Clone, Debug)]
pub(crate) struct Envelope {
    pub(crate) source: String,
    pub(crate) content_type: String,
}

/// What the relay sets: id, type, content-type, four of `ce_`, two of the trace.
pub(crate) const STANDARD_HEADERS: usize = 9;

impl Envelope {
    /// Calls `put(name, value)` for each header, the standard ones first.
    pub(crate) fn headers<'a>(
        &'a self,
        row: &'a Row,
        id: &'a str,
        put: &mut dyn FnMut(&str, &str),
    ) {
        let own = own_headers(row);
        let content_type = own
            .iter()
            .find(|(name, _)| name == "content-type")
            .map_or(self.content_type.as_str(), |(_, value)| value);
        put("id", id);
        put("type", &row.kind);
        put("content-type", content_type);
        for line in row.trace.as_deref().unwrap_or_default().lines() {
            if let Some((name @ ("traceparent" | "tracestate"), value)) = line.split_once('=') {
                put(name, value);
            }
        }
        put("ce_id", id);
        put("ce_source", &self.source);
        put("ce_type", &row.kind);
        put("ce_specversion", "1.0");
        for (name, value) in &own {
            if name != "content-type" {
                put(name, value);
            }
        }
    }
}

fn own_headers(row: &Row) -> Vec<(String, String)> {
    let Some(json) = &row.headers else {
        return Vec::new();
    };
    let Ok(serde_json::Value::Object(map)) = serde_json::from_str(json) else {
        return Vec::new();
    };
    map.into_iter()
        .map(|(name, value)| match value {
            serde_json::Value::String(text) => (name, text),
            other => (name, other.to_string()),
        })
        .collect()
}
