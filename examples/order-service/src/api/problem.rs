//! Errors as RFC 9457 problem details.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use crate::order::Violation;

/// An error as a client sees it.
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: Box<str>,
    instance: Option<Box<str>>,
    errors: Vec<Violation>,
    retry_after_s: Option<u64>,
}

macro_rules! problems {
    ($($(#[$doc:meta])* $name:ident $status:ident $code:literal $title:literal;)*) => {
        impl Problem {
            $(
                $(#[$doc])*
                pub fn $name(detail: impl Into<Box<str>>) -> Self {
                    Self {
                        status: StatusCode::$status,
                        code: $code,
                        title: $title,
                        detail: detail.into(),
                        instance: None,
                        errors: Vec::new(),
                        retry_after_s: None,
                    }
                }
            )*
        }
    };
}

problems! {
    /// Not JSON, or not a request that can be read.
    malformed BAD_REQUEST "MALFORMED_REQUEST" "The request cannot be read";
    /// Nothing here.
    not_found NOT_FOUND "NOT_FOUND" "There is nothing here";
    /// Another method is wanted.
    method_not_allowed METHOD_NOT_ALLOWED "METHOD_NOT_ALLOWED" "The method is not allowed here";
    /// It took too long to arrive.
    timeout REQUEST_TIMEOUT "REQUEST_TIMEOUT" "The request took too long";
    /// It contradicts what is there.
    conflict CONFLICT "CONFLICT" "The request contradicts the present state";
    /// Too many bytes.
    too_large PAYLOAD_TOO_LARGE "BODY_TOO_LARGE" "The body is too large";
    /// Another media type is wanted.
    unsupported UNSUPPORTED_MEDIA_TYPE "UNSUPPORTED_MEDIA_TYPE" "The media type is not supported";
    /// Readable, and against the rules.
    invalid UNPROCESSABLE_ENTITY "VALIDATION_FAILED" "The request breaks a rule";
    /// The key stands for another order.
    key_reused UNPROCESSABLE_ENTITY "IDEMPOTENCY_KEY_REUSED" "The idempotency key was used for another order";
    /// Not now.
    unavailable SERVICE_UNAVAILABLE "UNAVAILABLE" "The service cannot do this now";
    /// A defect of ours.
    internal INTERNAL_SERVER_ERROR "INTERNAL" "Something went wrong on our side";
}

impl Problem {
    /// Every rule that was broken.
    #[must_use]
    pub fn with_errors(mut self, errors: Vec<Violation>) -> Self {
        self.errors = errors;
        self
    }

    /// The path that it is about.
    #[must_use]
    pub fn at(mut self, instance: impl Into<Box<str>>) -> Self {
        self.instance = Some(instance.into());
        self
    }

    /// When to try again.
    #[must_use]
    pub const fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// A database that did not answer. What it said stays in the log.
    #[must_use]
    pub fn database(error: &sqlx::Error) -> Self {
        tracing::error!(error = %error, "the database did not answer");
        Self::unavailable("the database does not answer").retry_after(2)
    }
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        Self::database(&error)
    }
}

/// Names the request's path in a problem that names no other, whoever made it.
pub(super) async fn name_instance(request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let mut response = next.run(request).await;
    let unnamed = response.extensions_mut().remove::<Problem>();
    if let Some(problem) = unnamed.filter(|problem| problem.instance.is_none()) {
        *response.body_mut() = Body::from(problem.at(path).body());
        // That of the body before; the server measures this one.
        response.headers_mut().remove(header::CONTENT_LENGTH);
    }
    response
}

impl Problem {
    fn body(&self) -> String {
        let mut body = Map::new();
        let kind = self.code.to_ascii_lowercase().replace('_', "-");
        body.insert(
            "type".into(),
            json!(format!("urn:swifttrack:problem:{kind}")),
        );
        body.insert("title".into(), json!(self.title));
        body.insert("status".into(), json!(self.status.as_u16()));
        body.insert("detail".into(), json!(self.detail));
        if let Some(instance) = &self.instance {
            body.insert("instance".into(), json!(instance));
        }
        body.insert("code".into(), json!(self.code));
        if !self.errors.is_empty() {
            body.insert("errors".into(), json!(self.errors));
        }
        Value::Object(body).to_string()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.body()).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(self);
        response
    }
}
