//! An HTTP partner that does, request by request, what a test tells it to.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Longest request that is read, in bytes.
const REQUEST_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What to do on a connection once a request was read from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Writes these bytes.
    Say(Vec<u8>),
    /// Waits.
    Pause(Duration),
    /// Says nothing until the client closes.
    Hang,
    /// Closes, as a server does that is done.
    Close,
    /// Closes with a reset, as a server does that crashed.
    Reset,
}

/// A request as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Which connection it came on, counted from 0.
    pub connection: usize,
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Names in small letters, and values, in order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Received {
    /// The first header of this name (in small letters).
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find_map(|(key, value)| (key == name).then_some(value.as_str()))
    }

    /// A well-formed answer that echoes the request; `headers` are whole lines, each with its `\r\n`.
    #[must_use]
    pub fn answer(&self, status: u16, headers: &str, body: &str) -> Vec<u8> {
        let echo = self.header("x-request-id").unwrap_or_default();
        self.answer_as(echo, status, headers, body)
    }

    /// [`answer`](Self::answer) under another request's id.
    #[must_use]
    pub fn answer_as(&self, echo: &str, status: u16, headers: &str, body: &str) -> Vec<u8> {
        let length = match status {
            204 | 304 => String::new(),
            _ => format!("content-length: {}\r\n", body.len()),
        };
        format!("HTTP/1.1 {status} S\r\nx-request-id: {echo}\r\n{length}{headers}\r\n{body}")
            .into_bytes()
    }
}

type Script = dyn Fn(&Received) -> Vec<Act> + Send + Sync;

/// The partner. It ends when it is dropped.
pub struct ScriptedHttp {
    address: SocketAddr,
    seen: Arc<Seen>,
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Seen {
    requests: Mutex<Vec<Received>>,
    opened: watch::Sender<usize>,
    closed: watch::Sender<usize>,
}

impl ScriptedHttp {
    /// Starts on a free port of 127.0.0.1; `script` says what to do about each request.
    ///
    /// # Errors
    ///
    /// When no port can be had.
    pub async fn start(
        script: impl Fn(&Received) -> Vec<Act> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let seen = Arc::new(Seen {
            requests: Mutex::default(),
            opened: watch::Sender::new(0),
            closed: watch::Sender::new(0),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::new(script), Arc::clone(&seen)));
        Ok(Self {
            address,
            seen,
            _tasks: tasks,
        })
    }

    /// Its base URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All requests so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Received> {
        self.seen.lock().clone()
    }

    /// How many connections were opened so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        *self.seen.opened.borrow()
    }

    /// Waits until so many connections were closed by either side.
    pub async fn closed(&self, connections: usize) {
        let mut closed = self.seen.closed.subscribe();
        // The sender lives as long as `self`.
        let _ = closed.wait_for(|closed| *closed >= connections).await;
    }
}

impl std::fmt::Debug for ScriptedHttp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScriptedHttp")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Seen {
    fn lock(&self) -> MutexGuard<'_, Vec<Received>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn accept(listener: TcpListener, script: Arc<Script>, seen: Arc<Seen>) {
    let mut connections = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        let number = *seen.opened.borrow();
        seen.opened.send_modify(|opened| *opened += 1);
        let (script, seen) = (Arc::clone(&script), Arc::clone(&seen));
        connections.spawn(async move {
            // However a connection ends, it has ended.
            let _ = serve(socket, number, &*script, &seen).await;
            seen.closed.send_modify(|closed| *closed += 1);
        });
    }
}

async fn serve(
    mut socket: TcpStream,
    connection: usize,
    script: &Script,
    seen: &Seen,
) -> io::Result<()> {
    let mut buffer = Vec::new();
    while let Some(request) = receive(&mut socket, connection, &mut buffer).await? {
        seen.lock().push(request.clone());
        for act in script(&request) {
            match act {
                Act::Say(bytes) => socket.write_all(&bytes).await?,
                Act::Pause(time) => tokio::time::sleep(time).await,
                Act::Hang => {
                    while socket.read(&mut [0; 1024]).await? > 0 {}
                    return Ok(());
                }
                Act::Close => return socket.shutdown().await,
                Act::Reset => return socket.set_zero_linger(),
            }
        }
    }
    Ok(())
}

async fn receive(
    socket: &mut TcpStream,
    connection: usize,
    buffer: &mut Vec<u8>,
) -> io::Result<Option<Received>> {
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if !more(socket, buffer).await? {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    let mut lines = head.lines();
    let mut first = lines.next().unwrap_or_default().split(' ');
    let mut received = Received {
        connection,
        method: first.next().unwrap_or_default().to_owned(),
        path: first.next().unwrap_or_default().to_owned(),
        headers: lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect(),
        body: Vec::new(),
    };
    let length: usize = received
        .header("content-length")
        .and_then(|length| length.parse().ok())
        .unwrap_or_default();
    let whole = end.saturating_add(length).min(REQUEST_BYTES_MAX);
    while buffer.len() < whole {
        if !more(socket, buffer).await? {
            return Ok(None);
        }
    }
    received.body = buffer[end..whole].to_vec();
    buffer.drain(..whole);
    Ok(Some(received))
}

async fn more(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<bool> {
    if buffer.len() >= REQUEST_BYTES_MAX {
        return Err(io::Error::other("a request beyond REQUEST_BYTES_MAX"));
    }
    Ok(socket.read_buf(buffer).await? > 0)
}
