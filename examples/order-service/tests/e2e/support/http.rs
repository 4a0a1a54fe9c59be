//! A client in as many lines as the tests need: one connection a request, so that nothing is
//! reused, retried or cached behind a test's back.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{HeaderMap, Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// What went wrong below HTTP; while a service is down this is its normal answer.
pub(crate) type Unreached = Box<dyn std::error::Error + Send + Sync>;

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            panic!(
                "{error}: {} {:?}",
                self.status,
                String::from_utf8_lossy(&self.body)
            )
        })
    }

    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self
            .headers
            .get(name)
            .unwrap_or_else(|| panic!("no {name}: {self:?}"));
        value.to_str().unwrap()
    }

    /// The body of an answer that has to be a problem document with this status.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16) -> Value {
        let problem = self.json();
        assert_eq!(self.status, status, "{problem}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        for member in ["type", "title", "detail", "instance", "code"] {
            assert!(problem[member].is_string(), "no {member}: {problem}");
        }
        assert_eq!(problem["status"], status);
        problem
    }
}

/// A server by its address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    pub(crate) server: SocketAddr,
}

impl Client {
    pub(crate) async fn get(&self, path: &str) -> Result<Answer, Unreached> {
        self.send(Request::get(path).body(Bytes::new())?).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Answer, Unreached> {
        let body = Bytes::from(serde_json::to_vec(body)?);
        let json = (header::CONTENT_TYPE, "application/json");
        self.send(Request::post(path).header(json.0, json.1).body(body)?)
            .await
    }

    pub(crate) async fn delete(&self, path: &str) -> Result<Answer, Unreached> {
        let request = Request::builder().method(Method::DELETE).uri(path);
        self.send(request.body(Bytes::new())?).await
    }

    /// Sends a request and reads the answer to its end.
    pub(crate) async fn send(&self, request: Request<Bytes>) -> Result<Answer, Unreached> {
        let (parts, body) = self.open(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body,
        })
    }

    /// Sends a request and leaves the body, of a stream for example, to the caller.
    pub(crate) async fn open(
        &self,
        request: Request<Bytes>,
    ) -> Result<Response<Incoming>, Unreached> {
        let stream = TcpStream::connect(self.server).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // It ends with the answer's body.
        tokio::spawn(connection);
        let (mut parts, body) = request.into_parts();
        parts
            .headers
            .insert(header::HOST, self.server.to_string().parse()?);
        Ok(sender
            .send_request(Request::from_parts(parts, Full::new(body)))
            .await?)
    }
}
