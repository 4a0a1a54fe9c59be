//! The client's side of an exchange.

use std::sync::Arc;

use bytes::Bytes;
use chrono::Utc;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Request, Response};

use super::{Credentials, Decode, Encode, Limits, Reply, Version, envelope, parse};
use crate::http::Exchange;
use crate::{CallContext, Error};

/// A client of one SOAP service.
///
/// # Defaults
///
/// No credentials; the default [`Limits`] on answers.
///
/// # Errors of its calls
///
/// A fault is no error but a [`Reply`]: only the contract knows what it says
/// about the effect. An answer that is no SOAP (a page of some box in the
/// middle) is `Unknown`; one that breaks the contract is `Protocol`. What
/// cannot be written as XML is `Rejected`. Below that, those of the [`Exchange`].
#[derive(Clone, Debug)]
pub struct Client {
    exchange: Arc<dyn Exchange>,
    path: String,
    version: Version,
    namespaces: &'static [(&'static str, &'static str)],
    credentials: Option<Credentials>,
    limits: Limits,
}

impl Client {
    /// A client of the service at `path`; `namespaces` are the prefixes that its messages are written with.
    pub fn new(
        exchange: impl Exchange,
        path: impl Into<String>,
        version: Version,
        namespaces: &'static [(&'static str, &'static str)],
    ) -> Self {
        Self {
            exchange: Arc::new(exchange),
            path: path.into(),
            version,
            namespaces,
            credentials: None,
            limits: Limits::new(),
        }
    }

    /// Shows a UsernameToken with every request.
    #[must_use]
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// How much of an answer is read.
    #[must_use]
    pub const fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sends a request and reads the answer `B`, or the fault with detail `D`.
    ///
    /// # Cancel safety
    ///
    /// That of the [`Exchange`].
    ///
    /// # Errors
    ///
    /// See the type.
    pub fn call<B: Decode, D: Decode>(
        &self,
        action: &str,
        headers: &[&dyn Encode],
        body: &dyn Encode,
        cx: &CallContext,
    ) -> impl Future<Output = Result<Reply<B, D>, Error>> + Send + use<B, D> {
        // Written before the first await, so that what is written need not be `Sync`.
        let request = self.request(action, headers, body);
        let exchange = Arc::clone(&self.exchange);
        let (version, limits, cx) = (self.version, self.limits, cx.clone());
        async move {
            let answer = exchange.exchange(request?, &cx).await?;
            read(&answer, version, &limits)
        }
    }

    fn request(
        &self,
        action: &str,
        headers: &[&dyn Encode],
        body: &dyn Encode,
    ) -> Result<Request<Bytes>, Error> {
        let token = self
            .credentials
            .as_ref()
            .map(|credentials| credentials.token(Utc::now()));
        let security = token.as_ref().map(|token| token as &dyn Encode);
        let headers: Vec<_> = security
            .into_iter()
            .chain(headers.iter().copied())
            .collect();
        let message = envelope(self.version, self.namespaces, &headers, body).map_err(|error| {
            Error::rejected("the request cannot be written as XML").with_source(error)
        })?;
        let request = Request::post(&*self.path).header(ACCEPT, self.version.media_type());
        let request = match self.version {
            Version::V11 => request
                .header(CONTENT_TYPE, self.version.content_type())
                .header("soapaction", format!("\"{action}\"")),
            Version::V12 => request.header(
                CONTENT_TYPE,
                format!("{}; action=\"{action}\"", self.version.content_type()),
            ),
        };
        request
            .body(message.into())
            .map_err(|error| Error::local("the request cannot be sent").with_source(error))
    }
}

fn read<B: Decode, D: Decode>(
    answer: &Response<Bytes>,
    version: Version,
    limits: &Limits,
) -> Result<Reply<B, D>, Error> {
    let status = answer.status();
    let is_soap = answer
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|content_type| version.accepts(content_type));
    if !is_soap {
        return Err(Error::unknown(format!(
            "the answer, with status {}, is not SOAP",
            status.as_u16()
        )));
    }
    let message = parse::<(), Reply<B, D>>(answer.body(), version, limits)
        .map_err(|error| Error::protocol("the answer is not as agreed").with_source(error))?;
    match message.body {
        Reply::Answer(_) if !status.is_success() => Err(Error::protocol(format!(
            "an answer that is no fault with status {}",
            status.as_u16()
        ))),
        reply => Ok(reply),
    }
}
