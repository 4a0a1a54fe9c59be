//! One connection, and one exchange at a time on it.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::base::Base;
use super::wire::{Line, Wire};

/// Longest head of an answer.
const HEAD_BYTES_MAX: usize = 64 * 1024;

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Where a partner is and how its connections are secured.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) base: Base,
    #[cfg(feature = "tls")]
    pub(super) tls: crate::Tls,
}

impl Route {
    async fn secured(&self, wire: Wire) -> io::Result<Box<dyn Duplex>> {
        // What counts bytes lies below TLS: what TLS has not sent was not sent.
        #[cfg(feature = "tls")]
        if self.base.tls {
            return Ok(Box::new(self.tls.connect(&self.base.host, wire).await?));
        }
        Ok(Box::new(wire))
    }
}

type Driver = http1::Connection<TokioIo<Box<dyn Duplex>>, Full<Bytes>>;

/// A connection that nobody drives but its user: dropped in the middle of an
/// exchange, it is closed.
pub(super) struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    /// `None` once the connection has ended.
    driver: Option<Pin<Box<Driver>>>,
    line: Arc<Line>,
    /// What had been written before the present exchange: a handshake, other requests.
    mark: u64,
    pub(super) idle_since: Instant,
}

/// Why an exchange brought no answer.
#[derive(Debug)]
pub(super) enum Broken {
    Hyper(hyper::Error),
    TooLarge,
    Ended,
}

impl Connection {
    pub(super) async fn open(route: &Route) -> io::Result<Self> {
        let base = &route.base;
        let socket = TcpStream::connect((base.host.as_str(), base.port)).await?;
        socket.set_nodelay(true)?;
        let line = Line::new(socket);
        let wire = Wire(Arc::clone(&line));
        let stream = route.secured(wire).await?;
        let (sender, driver) = http1::Builder::new()
            .max_buf_size(HEAD_BYTES_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        Ok(Self {
            sender,
            driver: Some(Box::pin(driver)),
            mark: line.bytes_written(),
            line,
            idle_since: Instant::now(),
        })
    }

    /// Whether any byte of the present or last exchange was handed to the socket.
    pub(super) fn has_sent(&self) -> bool {
        self.line.bytes_written() != self.mark
    }

    /// Whether nothing has come since the last answer. A byte that nobody
    /// asked for, such as a second answer, makes a connection useless.
    pub(super) fn is_usable(&self) -> bool {
        self.driver.is_some() && self.line.is_quiet()
    }

    /// Sends a request and reads its answer whole.
    ///
    /// Cancel safety: after a drop the connection must be dropped too.
    pub(super) async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
        body_bytes_max: usize,
    ) -> Result<Response<Bytes>, Broken> {
        self.mark = self.line.bytes_written();
        let driver = &mut self.driver;
        let mut answer = pin!(self.sender.send_request(request));
        let answer = poll_fn(|cx| {
            let ended = drive(driver, cx);
            match answer.as_mut().poll(cx) {
                Poll::Ready(answer) => Poll::Ready(answer.map_err(Broken::Hyper)),
                Poll::Pending if ended => Poll::Ready(Err(Broken::Ended)),
                Poll::Pending => Poll::Pending,
            }
        })
        .await?;
        let (head, body) = answer.into_parts();
        let body = read(driver, body, body_bytes_max).await?;
        Ok(Response::from_parts(head, body))
    }

    /// Whether the connection can carry another exchange after this one.
    pub(super) async fn settles(&mut self) -> bool {
        let Self { sender, driver, .. } = self;
        poll_fn(|cx| {
            let ended = drive(driver, cx);
            Poll::Ready(!ended && matches!(sender.poll_ready(cx), Poll::Ready(Ok(()))))
        })
        .await
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("line", &self.line)
            .field("idle_since", &self.idle_since)
            .finish_non_exhaustive()
    }
}

/// Moves bytes; says whether the connection has ended.
fn drive(driver: &mut Option<Pin<Box<Driver>>>, cx: &mut Context<'_>) -> bool {
    if let Some(running) = driver
        && running.as_mut().poll(cx).is_ready()
    {
        *driver = None;
    }
    driver.is_none()
}

async fn read(
    driver: &mut Option<Pin<Box<Driver>>>,
    body: Incoming,
    bytes_max: usize,
) -> Result<Bytes, Broken> {
    let announced = body.size_hint().lower();
    if announced > bytes_max as u64 {
        return Err(Broken::TooLarge);
    }
    let mut body = pin!(body);
    let mut whole = BytesMut::new();
    loop {
        let frame = poll_fn(|cx| {
            let ended = drive(driver, cx);
            match body.as_mut().poll_frame(cx) {
                Poll::Pending if ended => Poll::Ready(Some(Err(Broken::Ended))),
                polled => polled.map_err(Broken::Hyper),
            }
        })
        .await
        .transpose()?;
        let Some(frame) = frame else { break };
        // Trailers say nothing that we asked for.
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if whole.len() + data.len() > bytes_max {
            return Err(Broken::TooLarge);
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// The moment between the look at an idle connection and its use, made long.
    #[tokio::test]
    async fn a_peer_that_went_before_the_first_byte_was_sent_nothing() {
        for reset in [false, true] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            let route = Route {
                base: Base::parse(&url).unwrap(),
                #[cfg(feature = "tls")]
                tls: crate::Tls::webpki(),
            };
            let mut connection = Connection::open(&route).await.unwrap();
            let (peer, _) = listener.accept().await.unwrap();
            if reset {
                peer.set_zero_linger().unwrap();
            }
            assert!(connection.is_usable());
            drop(peer);
            while connection.is_usable() {
                tokio::task::yield_now().await;
            }
            // The runtime has to hear of it too.
            let line = Arc::clone(&connection.line);
            poll_fn(|cx| Wire(Arc::clone(&line)).poll_gone(cx)).await;

            let request = Request::post("/").body(Full::new(Bytes::new())).unwrap();
            let broken = connection.exchange(request, 1).await;
            assert!(broken.is_err());
            assert!(!connection.has_sent(), "{broken:?}");
        }
    }
}
