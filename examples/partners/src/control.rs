//! The control port: what shall go wrong, and what happened.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use serde_json::json;

use crate::fault::Faults;
use crate::ledger::{Books, Ledger, PAGE_MAX};
use crate::problem::{Fault as Wrong, Problem, empty_response, json_response};

/// How many effects a page has when the caller does not say.
const PAGE_DEFAULT: usize = 1000;

pub(crate) struct Control<B: Books> {
    pub(crate) faults: Arc<Faults>,
    pub(crate) ledger: Ledger<B>,
}

impl<B: Books> Control<B> {
    pub(crate) async fn answer(&self, request: Request<Bytes>) -> Response<Bytes> {
        match (request.uri().path(), request.method()) {
            ("/_fault", &Method::POST) => self.set(request.body()),
            ("/_fault", &Method::DELETE) => {
                self.faults.clear();
                empty_response(StatusCode::NO_CONTENT)
            }
            ("/_ledger", &Method::GET) => self.page(request.uri().query().unwrap_or("")).await,
            ("/health", &Method::GET) => json_response(StatusCode::OK, &json!({"status": "ok"})),
            ("/_fault", _) => not_allowed("POST, DELETE"),
            ("/_ledger" | "/health", _) => not_allowed("GET"),
            _ => not_found(),
        }
    }

    fn set(&self, body: &[u8]) -> Response<Bytes> {
        let parsed = serde_json::from_slice(body).map_err(|error| {
            vec![Wrong {
                pointer: String::new(),
                detail: format!("not JSON: {error}"),
            }]
        });
        match parsed.and_then(|value| self.faults.parse(&value)) {
            Ok(rule) => {
                self.faults.set(rule);
                empty_response(StatusCode::NO_CONTENT)
            }
            Err(errors) => bad_request("the rule makes no sense", errors),
        }
    }

    async fn page(&self, query: &str) -> Response<Bytes> {
        let (mut after, mut limit, mut errors) = (0, PAGE_DEFAULT, Vec::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let detail = match name {
                "after" => match value.parse() {
                    Ok(n) => {
                        after = n;
                        continue;
                    }
                    Err(_) => "a whole number, 0 or more".to_owned(),
                },
                "limit" => match value.parse() {
                    Ok(n) if (1..=PAGE_MAX).contains(&n) => {
                        limit = n;
                        continue;
                    }
                    _ => format!("a whole number from 1 to {PAGE_MAX}"),
                },
                _ => "no such parameter".to_owned(),
            };
            let pointer = format!("?{name}");
            errors.push(Wrong { pointer, detail });
        }
        if !errors.is_empty() {
            return bad_request("the query makes no sense", errors);
        }
        match self.ledger.page(after, limit).await {
            Ok(effects) => {
                let next = effects.last().map_or(after, |last| last.n);
                json_response(StatusCode::OK, &json!({"effects": effects, "next": next}))
            }
            Err(error) => Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "INTERNAL",
                error.to_string(),
            )
            .response(),
        }
    }
}

fn bad_request(what: &str, errors: Vec<Wrong>) -> Response<Bytes> {
    let named: Vec<_> = errors
        .iter()
        .map(|error| format!("{}: {}", error.pointer, error.detail))
        .collect();
    let detail = format!("{what}: {}", named.join("; "));
    Problem::new(StatusCode::BAD_REQUEST, "MALFORMED", detail)
        .errors(errors)
        .response()
}

pub(crate) fn not_found() -> Response<Bytes> {
    Problem::new(StatusCode::NOT_FOUND, "NOT_FOUND", "there is nothing here").response()
}

pub(crate) fn not_allowed(allow: &'static str) -> Response<Bytes> {
    let detail = format!("this takes {allow}");
    let mut response =
        Problem::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", detail).response();
    response
        .headers_mut()
        .insert(http::header::ALLOW, http::HeaderValue::from_static(allow));
    response
}
