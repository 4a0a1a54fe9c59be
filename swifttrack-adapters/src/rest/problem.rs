//! Problem details, as RFC 9457 has them, with our two members.

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde_json::{Map, Value};

use crate::Class;

/// What a partner says about a failed request.
///
/// Read as the RFC asks: a member of the wrong type is as good as absent, and
/// members that nobody knows are ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problem {
    /// What kind of problem, as a URI; `about:blank` says no more than the status.
    pub kind: Option<String>,
    /// The kind, for a person.
    pub title: Option<String>,
    /// The HTTP status as the origin sent it.
    pub status: Option<u16>,
    /// This occurrence, for a person.
    pub detail: Option<String>,
    /// This occurrence, as a URI.
    pub instance: Option<String>,
    /// The partner's own word for it, such as `UNKNOWN_ZONE`.
    pub code: Option<String>,
    /// What is known about the effect: `REJECTED`, `NOT_APPLIED` or `UNKNOWN`.
    pub class: Option<Class>,
}

impl Problem {
    /// The media type.
    pub const MEDIA_TYPE: &str = "application/problem+json";

    /// Reads the body of an answer, if it is one of problem details.
    #[must_use]
    pub fn of(headers: &HeaderMap, body: &[u8]) -> Option<Self> {
        let content_type = headers.get(CONTENT_TYPE)?.to_str().ok()?;
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        media_type
            .eq_ignore_ascii_case(Self::MEDIA_TYPE)
            .then(|| Self::parse(body))?
    }

    /// Reads problem details; `None` when they are no JSON object.
    #[must_use]
    pub fn parse(body: &[u8]) -> Option<Self> {
        let members: Map<String, Value> = serde_json::from_slice(body).ok()?;
        let text = |name| members.get(name).and_then(Value::as_str).map(str::to_owned);
        let status = members.get("status").and_then(Value::as_u64);
        Some(Self {
            kind: text("type"),
            title: text("title"),
            status: status.and_then(|status| u16::try_from(status).ok()),
            detail: text("detail"),
            instance: text("instance"),
            code: text("code"),
            class: match members.get("class").and_then(Value::as_str) {
                Some("REJECTED") => Some(Class::Rejected),
                Some("NOT_APPLIED") => Some(Class::NotApplied),
                Some("UNKNOWN") => Some(Class::Unknown),
                _ => None,
            },
        })
    }
}
