//! The client.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::Full;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout_at;

use super::base::Base;
use super::connection::{Broken, Connection, Route};
use super::pool::Pool;
use super::{Exchange, REQUEST_ID};
use crate::{CallContext, Class, Error};

/// A client of one partner, over HTTP/1.1. A clone shares its connections.
///
/// # Defaults
///
/// At most 64 connections (a call waits for one until its deadline), of which
/// 8 are kept idle for up to 15 s; answers up to 1 MiB; an answer must echo
/// the `X-Request-ID` of its request.
///
/// # Why idle connections are kept so briefly
///
/// A partner may close a connection in the very moment in which a request is
/// written to it, and then nobody knows whether the request was read. The age
/// should stay below the partner's own.
///
/// # Examples
///
/// ```no_run
/// use std::time::Duration;
///
/// use bytes::Bytes;
/// use swifttrack_adapters::CallContext;
/// use swifttrack_adapters::http::{Client, Exchange};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let partner = Client::new("http://ros.example:5003")?.idle_max(2);
/// let cx = CallContext::new("ORD-1", Duration::from_secs(5));
/// let request = http::Request::get("/health").body(Bytes::new())?;
/// let answer = partner.exchange(request, &cx).await?;
/// assert!(answer.status().is_success());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    route: Arc<Route>,
    pool: Arc<Pool>,
    slots: Arc<Semaphore>,
    connections_max: usize,
    idle_max: usize,
    idle_age_max: Duration,
    body_bytes_max: usize,
    echo: bool,
}

impl Client {
    /// A client of the partner at this URL; its path is put before every request's.
    ///
    /// # Errors
    ///
    /// When the URL is neither `http` nor `https` (which needs the feature `tls`), or holds a password, query or fragment. The error names it.
    pub fn new(base: &str) -> Result<Self, Error> {
        const CONNECTIONS_MAX: usize = 64;
        Ok(Self {
            route: Arc::new(Route {
                base: Base::parse(base)?,
                #[cfg(feature = "tls")]
                tls: crate::Tls::webpki(),
            }),
            pool: Arc::default(),
            slots: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            connections_max: CONNECTIONS_MAX,
            idle_max: 8,
            idle_age_max: Duration::from_secs(15),
            body_bytes_max: 1024 * 1024,
            echo: true,
        })
    }

    /// By which rules TLS is spoken, if the URL says `https`; without this, the public authorities are trusted.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: crate::Tls) -> Self {
        let base = self.route.base.clone();
        self.route = Arc::new(Route { base, tls });
        // Connections under other rules are not for this client.
        self.pool = Arc::default();
        self
    }

    /// How many connections there are at most, and so how many calls at a time; at least one.
    #[must_use]
    pub fn connections_max(mut self, connections: usize) -> Self {
        self.connections_max = connections.clamp(1, Semaphore::MAX_PERMITS);
        self.slots = Arc::new(Semaphore::new(self.connections_max));
        self
    }

    /// How many connections are kept when idle; none with 0.
    #[must_use]
    pub const fn idle_max(mut self, connections: usize) -> Self {
        self.idle_max = connections;
        self
    }

    /// How long a connection is kept when idle.
    #[must_use]
    pub const fn idle_age_max(mut self, age: Duration) -> Self {
        self.idle_age_max = age;
        self
    }

    /// How long the body of an answer may be, in bytes.
    #[must_use]
    pub const fn body_bytes_max(mut self, bytes: usize) -> Self {
        self.body_bytes_max = bytes;
        self
    }

    /// For a partner that does not echo `X-Request-ID`. Every call gets a
    /// connection of its own then, since nothing else tells a late answer from
    /// the right one.
    #[must_use]
    pub const fn without_echo(mut self) -> Self {
        self.echo = false;
        self
    }

    /// The host and port that this client speaks to.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.route.base.authority.to_str().unwrap_or_default()
    }

    /// A place among the connections, and a connection for it.
    async fn connection(
        &self,
        cx: &CallContext,
    ) -> Result<(SemaphorePermit<'_>, Connection), Error> {
        let authority = self.authority();
        let Ok(Ok(slot)) = timeout_at(cx.deadline, self.slots.acquire()).await else {
            let max = self.connections_max;
            return Err(Error::local(format!(
                "none of the {max} connections to {authority} became free by the deadline"
            )));
        };
        if let Some(connection) = self.pool.take(self.idle_age_max) {
            return Ok((slot, connection));
        }
        match timeout_at(cx.deadline, Connection::open(&self.route)).await {
            Ok(Ok(connection)) => Ok((slot, connection)),
            Ok(Err(error)) => {
                Err(Error::not_applied(format!("no connection to {authority}")).with_source(error))
            }
            Err(_) => Err(Error::not_applied(format!(
                "no connection to {authority} by the deadline"
            ))),
        }
    }

    fn prepare(
        &self,
        request: Request<Bytes>,
        request_id: &HeaderValue,
    ) -> Result<Request<Full<Bytes>>, Error> {
        let (mut head, body) = request.into_parts();
        let path = head.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        head.uri = format!("{}{path}", self.route.base.prefix)
            .parse::<Uri>()
            .map_err(|error| Error::local("the path cannot be used").with_source(error))?;
        // The length is hyper's to tell; a caller's word could only contradict it.
        head.headers.remove(CONTENT_LENGTH);
        head.headers.remove(TRANSFER_ENCODING);
        head.headers.insert(HOST, self.route.base.authority.clone());
        head.headers.insert(REQUEST_ID, request_id.clone());
        Ok(Request::from_parts(head, Full::new(body)))
    }

    fn check(&self, answer: &Response<Bytes>, request_id: &HeaderValue) -> Result<(), Error> {
        let status = answer.status();
        let mut echoes = answer.headers().get_all(REQUEST_ID).iter();
        let echo = echoes.next();
        if self.echo && (echo != Some(request_id) || echoes.next().is_some()) {
            let which = if echo.is_some() { "another" } else { "no" };
            return Err(Error::unknown(format!(
                "an answer with status {} and {which} {REQUEST_ID}",
                status.as_u16()
            )));
        }
        if status.is_redirection() || status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Error::unknown(format!(
                "the partner answered {}, which is not followed",
                status.as_u16()
            )));
        }
        Ok(())
    }
}

/// # Cancel safety
///
/// Dropping the future closes the connection if the request had begun; nothing
/// else is affected.
#[async_trait]
impl Exchange for Client {
    async fn exchange(
        &self,
        request: Request<Bytes>,
        cx: &CallContext,
    ) -> Result<Response<Bytes>, Error> {
        if cx.remaining().is_none() {
            return Err(Error::local("the deadline had passed before the call"));
        }
        let request_id = HeaderValue::try_from(cx.request_id.to_string())
            .map_err(|error| Error::local("the request id cannot be used").with_source(error))?;
        let request = self.prepare(request, &request_id)?;
        let (_slot, mut connection) = self.connection(cx).await?;

        let exchange = connection.exchange(request, self.body_bytes_max);
        let answer = match timeout_at(cx.deadline, exchange).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(broken)) => return Err(failed(broken, connection.has_sent())),
            Err(_) => {
                let class = class_of(connection.has_sent());
                return Err(Error::new(class, "no answer by the deadline"));
            }
        };
        self.check(&answer, &request_id)?;
        if self.echo && connection.settles().await {
            self.pool.put(connection, self.idle_max, self.idle_age_max);
        }
        Ok(answer)
    }
}

const fn class_of(has_sent: bool) -> Class {
    match has_sent {
        false => Class::NotApplied,
        true => Class::Unknown,
    }
}

fn failed(broken: Broken, has_sent: bool) -> Error {
    match broken {
        Broken::TooLarge => Error::protocol("the answer is larger than body_bytes_max"),
        Broken::Ended => Error::new(class_of(has_sent), "the connection ended without an answer"),
        Broken::Hyper(error) if error.is_parse() && has_sent => {
            Error::protocol("the answer is not HTTP").with_source(error)
        }
        Broken::Hyper(error) => {
            Error::new(class_of(has_sent), "the exchange broke off").with_source(error)
        }
    }
}
