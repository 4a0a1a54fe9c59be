//! The client.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Problem;
use crate::http::{self as transport, Exchange, retry_after};
use crate::{CallContext, Class, Error};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");
const DEADLINE_MS: HeaderName = HeaderName::from_static("request-deadline-ms");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A client of one partner that speaks JSON.
///
/// Every request carries `X-Request-ID`, `Request-Deadline-Ms` and, when there
/// is one, `traceparent`; every request but GET also `Idempotency-Key`.
///
/// # Errors of its calls
///
/// Of the class that the partner's problem details name, with their `code` and
/// with `Retry-After`. A 429 with a `code` and no class is `NotApplied`. Every
/// other status but 2xx is `Unknown`; a body that is not what was expected is
/// `Protocol`. Below that, those of the [`Exchange`].
///
/// # Cancel safety
///
/// That of the [`Exchange`].
///
/// # Examples
///
/// ```no_run
/// use std::time::Duration;
///
/// use serde::{Deserialize, Serialize};
/// use swifttrack_adapters::CallContext;
/// use swifttrack_adapters::rest::{Client, path};
///
/// #[derive(Serialize)]
/// #[serde(rename_all = "camelCase")]
/// struct Wanted {
///     delivery_addresses: Vec<String>,
/// }
///
/// #[derive(Deserialize)]
/// #[serde(rename_all = "camelCase")]
/// struct Route {
///     route_id: String,
/// }
///
/// # async fn example() -> Result<(), swifttrack_adapters::Error> {
/// let ros = Client::new("http://ros.example:5003")?;
/// let wanted = Wanted { delivery_addresses: vec!["1 Galle Road".into()] };
/// let cx = CallContext::new("ORD-1:ROS_OPTIMIZATION", Duration::from_secs(5));
/// let route: Route = ros.put(&path(["v1", "orders", "ORD-1", "route"]), &wanted, &cx).await?.body;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    exchange: Arc<dyn Exchange>,
    bearer: Option<HeaderValue>,
}

/// What a partner answered.
#[derive(Clone, Debug)]
pub struct Reply<T> {
    /// The status, one of 2xx.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body; an empty one reads as JSON's `null`.
    pub body: T,
}

impl Client {
    /// A client of the partner at this URL, by HTTP with the defaults of [`http::Client`](crate::http::Client).
    ///
    /// # Errors
    ///
    /// When the URL cannot be used. The error names it.
    pub fn new(base: &str) -> Result<Self, Error> {
        transport::Client::new(base).map(Self::over)
    }

    /// A client whose requests are carried by this.
    pub fn over(exchange: impl Exchange) -> Self {
        Self {
            exchange: Arc::new(exchange),
            bearer: None,
        }
    }

    /// Shows this token with every request.
    ///
    /// # Errors
    ///
    /// When the token holds what a header cannot.
    pub fn bearer(mut self, token: &str) -> Result<Self, Error> {
        // The cause is not kept: it could show the token.
        let mut value = HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|_| Error::local("the bearer token cannot be a header"))?;
        value.set_sensitive(true);
        self.bearer = Some(value);
        Ok(self)
    }

    /// Asks for what is there.
    ///
    /// # Errors
    ///
    /// See the type.
    pub async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        cx: &CallContext,
    ) -> Result<Reply<T>, Error> {
        self.call(Method::GET, path, Bytes::new(), cx).await
    }

    /// Puts a thing where it belongs.
    ///
    /// # Errors
    ///
    /// See the type.
    pub async fn put<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &(impl Serialize + Sync + ?Sized),
        cx: &CallContext,
    ) -> Result<Reply<T>, Error> {
        self.call(Method::PUT, path, json(body)?, cx).await
    }

    /// Hands a thing over.
    ///
    /// # Errors
    ///
    /// See the type.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &(impl Serialize + Sync + ?Sized),
        cx: &CallContext,
    ) -> Result<Reply<T>, Error> {
        self.call(Method::POST, path, json(body)?, cx).await
    }

    /// Takes a thing away.
    ///
    /// # Errors
    ///
    /// See the type.
    pub async fn delete<T: DeserializeOwned>(
        &self,
        path: &str,
        cx: &CallContext,
    ) -> Result<Reply<T>, Error> {
        self.call(Method::DELETE, path, Bytes::new(), cx).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        cx: &CallContext,
    ) -> Result<Reply<T>, Error> {
        let request = self.request(method, path, body, cx)?;
        let (head, body) = self.exchange.exchange(request, cx).await?.into_parts();
        if !head.status.is_success() {
            let answer = Response::from_parts(head, body);
            return Err(refusal(&answer, SystemTime::now()));
        }
        let text: &[u8] = if body.is_empty() { b"null" } else { &body };
        if !body.is_empty() && !is_json(&head.headers) {
            return Err(Error::protocol("the answer is not JSON"));
        }
        let body = serde_json::from_slice(text)
            .map_err(|error| Error::protocol("the answer is not as agreed").with_source(error))?;
        Ok(Reply {
            status: head.status,
            headers: head.headers,
            body,
        })
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        cx: &CallContext,
    ) -> Result<Request<Bytes>, Error> {
        let left = cx.remaining().unwrap_or_default();
        let left_ms = u64::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        let mut request = Request::builder()
            .method(&method)
            .uri(path)
            .header(ACCEPT, "application/json, application/problem+json")
            .header(DEADLINE_MS, left_ms);
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, JSON);
        }
        if method != Method::GET {
            request = request.header(IDEMPOTENCY_KEY, &cx.idempotency_key);
        }
        if let Some(trace_parent) = &cx.trace_parent {
            request = request.header(TRACE_PARENT, trace_parent);
        }
        if let Some(bearer) = &self.bearer {
            request = request.header(AUTHORIZATION, bearer);
        }
        request
            .body(body)
            .map_err(|error| Error::local("the request cannot be sent").with_source(error))
    }
}

fn json(body: &(impl Serialize + ?Sized)) -> Result<Bytes, Error> {
    serde_json::to_vec(body)
        .map(Bytes::from)
        .map_err(|error| Error::local("the request cannot be JSON").with_source(error))
}

fn is_json(headers: &HeaderMap) -> bool {
    let media_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .map(|value| value.trim().to_ascii_lowercase());
    media_type.is_some_and(|value| value == "application/json" || value.ends_with("+json"))
}

/// What an answer other than 2xx says.
fn refusal(answer: &Response<Bytes>, now: SystemTime) -> Error {
    let status = answer.status();
    let problem = Problem::of(answer.headers(), answer.body()).unwrap_or_default();
    let class = match (problem.class, &problem.code) {
        (Some(class), _) => class,
        (None, Some(_)) if status == StatusCode::TOO_MANY_REQUESTS => Class::NotApplied,
        (None, _) => Class::Unknown,
    };
    let message = match problem.detail.or(problem.title) {
        Some(said) => format!("the partner answered {}: {said}", status.as_u16()),
        None => format!("the partner answered {}", status.as_u16()),
    };
    let error = Error::new(class, message).with_retry_after(retry_after(answer.headers(), now));
    match problem.code {
        Some(code) => error.with_code(code),
        None => error,
    }
}
