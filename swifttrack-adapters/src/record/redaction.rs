//! What does not go on record.

use http::{HeaderMap, HeaderName};

/// Put in the place of what was struck out.
const STRUCK: &str = "[redacted]";

/// What is struck out of requests and answers before they are kept or compared.
///
/// # Defaults
///
/// The values of `Authorization`, `Proxy-Authorization`, `Cookie` and
/// `Set-Cookie`; and what differs from run to run and says nothing:
/// `X-Request-ID`, `traceparent`, `Request-Deadline-Ms` and `Date`. In bodies:
/// the content of the XML elements `Password`, `Nonce`, `Created`,
/// `RequestId` and `TraceParent`, whatever their prefix.
#[derive(Clone, Debug)]
pub struct Redaction {
    headers: Vec<HeaderName>,
    xml_elements: Vec<String>,
    json_members: Vec<String>,
}

impl Redaction {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        use http::header::{AUTHORIZATION, COOKIE, DATE, PROXY_AUTHORIZATION, SET_COOKIE};
        Self {
            headers: vec![
                AUTHORIZATION,
                PROXY_AUTHORIZATION,
                COOKIE,
                SET_COOKIE,
                DATE,
                crate::http::REQUEST_ID,
                HeaderName::from_static("traceparent"),
                HeaderName::from_static("request-deadline-ms"),
            ],
            xml_elements: ["Password", "Nonce", "Created", "RequestId", "TraceParent"]
                .map(str::to_owned)
                .to_vec(),
            json_members: Vec::new(),
        }
    }

    /// Strikes out the value of a header too.
    #[must_use]
    pub fn header(mut self, name: HeaderName) -> Self {
        self.headers.push(name);
        self
    }

    /// Strikes out the content of every XML element of this local name too.
    #[must_use]
    pub fn xml_element(mut self, local: impl Into<String>) -> Self {
        self.xml_elements.push(local.into());
        self
    }

    /// Strikes out the value of every JSON member of this name, at any depth.
    #[must_use]
    pub fn json_member(mut self, name: impl Into<String>) -> Self {
        self.json_members.push(name.into());
        self
    }

    /// Names and values, sorted, so that their order does not matter.
    pub(super) fn headers(&self, headers: &HeaderMap) -> Vec<(String, String)> {
        let mut all: Vec<_> = headers
            .iter()
            .map(|(name, value)| {
                let value = match self.headers.contains(name) {
                    true => STRUCK.to_owned(),
                    false => String::from_utf8_lossy(value.as_bytes()).into_owned(),
                };
                (name.as_str().to_owned(), value)
            })
            .collect();
        all.sort();
        all
    }

    pub(super) fn body(&self, body: &[u8]) -> String {
        let text = String::from_utf8_lossy(body);
        match serde_json::from_str(&text) {
            Ok(mut value) if !self.json_members.is_empty() => {
                self.strike_json(&mut value);
                value.to_string()
            }
            Ok(_) => text.into_owned(),
            Err(_) => self.strike_xml(&text),
        }
    }

    fn strike_json(&self, value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Object(members) => {
                for (name, value) in members {
                    match self.json_members.contains(name) {
                        true => *value = STRUCK.into(),
                        false => self.strike_json(value),
                    }
                }
            }
            serde_json::Value::Array(values) => {
                values.iter_mut().for_each(|value| self.strike_json(value));
            }
            _ => {}
        }
    }

    /// On the letters, not on the structure: what is malformed must be recorded too,
    /// and a secret in it must not.
    fn strike_xml(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('<') {
            let Some(end) = rest[at..].find('>').map(|end| at + end + 1) else {
                break;
            };
            let tag = &rest[at + 1..end - 1];
            out.push_str(&rest[..end]);
            rest = &rest[end..];
            let name = tag
                .split([' ', '\t', '\r', '\n', '/'])
                .next()
                .unwrap_or_default();
            let local = name.rsplit(':').next().unwrap_or_default();
            if tag.ends_with('/') || !self.xml_elements.iter().any(|struck| struck == local) {
                continue;
            }
            out.push_str(STRUCK);
            // To the end tag; if there is none, nothing of the rest is kept.
            match rest.find(&format!("</{name}")) {
                Some(close) => rest = &rest[close..],
                None => return out,
            }
        }
        out.push_str(rest);
        out
    }
}

impl Default for Redaction {
    fn default() -> Self {
        Self::new()
    }
}
