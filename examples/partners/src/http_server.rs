//! HTTP/1.1 with the socket in reach, so that an answer can go wrong on the wire.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::fault::{Fault, Faults, Mode};
use crate::problem::Problem;

/// The largest body that is taken in.
const BODY_BYTES_MAX: usize = 1 << 20;
/// The most connections at a time; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 4096;
/// A request must have arrived whole by then.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(30);
/// What runs when the server stops may take that long.
const GRACE: Duration = Duration::from_secs(2);

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The connection ends without (more of) an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection was cut on purpose")]
pub(crate) struct Cut;

/// The answer to a request that was not understood.
pub(crate) type Refusal = Box<Response<Bytes>>;

/// A partner that speaks HTTP.
pub(crate) trait Site: Send + Sync + 'static {
    /// A request that was understood.
    type Call: Send + 'static;

    /// Understands a request, or answers what is wrong with it.
    fn read(&self, request: Request<Bytes>) -> Result<Self::Call, Refusal>;

    /// The name that a fault rule has for it; `None` for what no rule hits.
    fn op(&self, call: &Self::Call) -> Option<&'static str>;

    /// Does it.
    fn answer(&self, call: Self::Call) -> impl Future<Output = Response<Bytes>> + Send;

    /// Answers an error that a rule asked for, `None` for BUSY.
    fn error(&self, call: &Self::Call, code: Option<&str>) -> Response<Bytes>;
}

/// Serves `site`, whose answers go wrong as `faults` says, until `stop`.
pub(crate) async fn serve_site<S: Site>(
    listener: TcpListener,
    stop: CancellationToken,
    site: S,
    faults: Arc<Faults>,
) {
    let site = Arc::new(site);
    serve(listener, stop, move |request, socket| {
        let (site, faults) = (Arc::clone(&site), Arc::clone(&faults));
        async move { answer(&site, &faults, request, &socket).await }
    })
    .await;
}

/// Serves `answer` until `stop`; then finishes what runs, within two seconds.
pub(crate) async fn serve<A, F>(listener: TcpListener, stop: CancellationToken, answer: A)
where
    A: Fn(Request<Bytes>, Arc<TcpStream>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response<Bytes>, Cut>> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                connections.spawn(connection(stream, stop.clone(), answer.clone()));
            }
            Err(error) => {
                // Out of file descriptors, most likely: it passes as connections end.
                tracing::warn!(%error, "cannot accept");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, drained).await.is_err() {
        connections.shutdown().await;
    }
}

async fn connection<A, F>(stream: TcpStream, stop: CancellationToken, answer: A)
where
    A: Fn(Request<Bytes>, Arc<TcpStream>) -> F + Sync,
    F: Future<Output = Result<Response<Bytes>, Cut>> + Send,
{
    // Small answers shall not wait for the peer's acknowledgement; without it they are only slower.
    let _ = stream.set_nodelay(true);
    let socket = Arc::new(stream);
    let service = service_fn(|request: Request<Incoming>| {
        let (answer, socket) = (&answer, Arc::clone(&socket));
        async move {
            let response = match collect(request).await {
                Ok(request) => answer(request, socket).await?,
                Err(refusal) => refusal,
            };
            Ok::<_, Cut>(response.map(Full::new))
        }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIME_MAX)
        .serve_connection(TokioIo::new(Socket(Arc::clone(&socket))), service);
    tokio::pin!(serving);
    let result = tokio::select! {
        result = &mut serving => result,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "connection ended");
    }
}

async fn collect(request: Request<Incoming>) -> Result<Request<Bytes>, Response<Bytes>> {
    let (parts, body) = request.into_parts();
    let whole = tokio::time::timeout(
        REQUEST_TIME_MAX,
        Limited::new(body, BODY_BYTES_MAX).collect(),
    );
    let (status, code, detail) = match whole.await {
        Ok(Ok(body)) => return Ok(Request::from_parts(parts, body.to_bytes())),
        Ok(Err(error)) if error.is::<LengthLimitError>() => (
            StatusCode::PAYLOAD_TOO_LARGE,
            "TOO_LARGE",
            format!("a body has at most {BODY_BYTES_MAX} bytes"),
        ),
        Ok(Err(error)) => (StatusCode::BAD_REQUEST, "MALFORMED", error.to_string()),
        Err(_) => (
            StatusCode::REQUEST_TIMEOUT,
            "TIMEOUT",
            "the body did not arrive in time".to_owned(),
        ),
    };
    let mut response = Problem::new(status, code, detail)
        .class("REJECTED")
        .response();
    echo(parts.headers.get(REQUEST_ID).cloned(), &mut response);
    // The rest of the body is not waited for.
    let close = http::HeaderValue::from_static("close");
    response
        .headers_mut()
        .insert(http::header::CONNECTION, close);
    Err(response)
}

/// An answer names the request that it belongs to.
fn echo(id: Option<http::HeaderValue>, response: &mut Response<Bytes>) {
    if let Some(id) = id {
        response.headers_mut().insert(REQUEST_ID, id);
    }
}

async fn answer<S: Site>(
    site: &Arc<S>,
    faults: &Faults,
    request: Request<Bytes>,
    socket: &TcpStream,
) -> Result<Response<Bytes>, Cut> {
    let id = request.headers().get(REQUEST_ID).cloned();
    let named = |mut response: Response<Bytes>| {
        echo(id.clone(), &mut response);
        response
    };
    let call = match site.read(request) {
        Ok(call) => call,
        Err(refusal) => return Ok(named(*refusal)),
    };
    let fault = site.op(&call).and_then(|op| faults.draw(op));
    let Some(fault) = fault else {
        return Ok(named(site.answer(call).await));
    };
    match fault.mode {
        Mode::Error => return Ok(named(site.error(&call, fault.code.as_deref()))),
        Mode::ResetBefore => return Err(reset(socket)),
        // A task of its own: what is on its way arrives, also when its sender has gone.
        Mode::Latency => {
            let (site, fault) = (Arc::clone(site), fault);
            let late = tokio::spawn(async move {
                fault.hang().await;
                site.answer(call).await
            });
            return late.await.map(named).map_err(|_| Cut);
        }
        _ => {}
    }
    let response = named(site.answer(call).await);
    spoil(&fault, response, socket).await
}

/// Makes of a right answer what the rule asks for.
async fn spoil(
    fault: &Fault,
    response: Response<Bytes>,
    socket: &TcpStream,
) -> Result<Response<Bytes>, Cut> {
    match fault.mode {
        Mode::Latency | Mode::Error | Mode::ResetBefore => {}
        Mode::Hang => fault.hang().await,
        Mode::ResetAfterCommit => return Err(reset(socket)),
        Mode::Garbage => {
            let _ = write(socket, &fault.garbage()).await;
            return Err(Cut);
        }
        Mode::HalfReply => {
            let whole = on_the_wire(&response);
            let _ = write(socket, &whole[..whole.len() / 2]).await;
            return Err(Cut);
        }
        // The first copy here, the second by the server as if nothing had been.
        Mode::DuplicateReply => write(socket, &on_the_wire(&response))
            .await
            .map_err(|_| Cut)?,
    }
    Ok(response)
}

/// The connection's end will be a reset, not a goodbye.
fn reset(socket: &TcpStream) -> Cut {
    if let Err(error) = socket.set_zero_linger() {
        tracing::warn!(%error, "the reset will be a close");
    }
    Cut
}

/// The bytes of an answer with a known length.
fn on_the_wire(response: &Response<Bytes>) -> Vec<u8> {
    let status = response.status();
    let reason = status.canonical_reason().unwrap_or("");
    let mut bytes = format!("HTTP/1.1 {} {reason}\r\n", status.as_u16()).into_bytes();
    for (name, value) in response.headers() {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    if status != StatusCode::NO_CONTENT {
        let length = format!("content-length: {}\r\n", response.body().len());
        bytes.extend_from_slice(length.as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(response.body());
    bytes
}

async fn write(socket: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        socket.writable().await?;
        match socket.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A socket that the HTTP server and the one who spoils its answers hold together.
struct Socket(Arc<TcpStream>);

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(cx))?;
            match self.0.try_read(buffer.initialize_unfilled()) {
                Ok(read) => {
                    buffer.advance(read);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(cx))?;
            match self.0.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Dropping the socket says goodbye, or resets.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
