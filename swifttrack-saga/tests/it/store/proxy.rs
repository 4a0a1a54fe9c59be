//! A wire between client and server that counts, and can be cut at a chosen moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// When to cut the connection that sends the word next.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    Never = 0,
    /// Before the server gets it.
    Before = 1,
    /// When the server has answered, before the client gets the answer.
    After = 2,
}

pub(crate) struct Proxy {
    port: u16,
    wire: Arc<Wire>,
}

struct Wire {
    /// What a message has to contain to be cut.
    word: &'static [u8],
    cut: AtomicU8,
    statements: AtomicU64,
}

impl Proxy {
    /// In front of the server of `url`; `word` is what a message has to contain to be cut.
    pub(crate) async fn to(url: &str, word: &'static [u8]) -> Self {
        let server = host(url).to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let wire = Arc::new(Wire {
            word,
            cut: AtomicU8::new(Cut::Never as u8),
            statements: AtomicU64::new(0),
        });
        let shared = Arc::clone(&wire);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.unwrap();
                tokio::spawn(forward(client, server, Arc::clone(&shared)));
            }
        });
        Self { port, wire }
    }

    pub(crate) fn url(&self, url: &str) -> String {
        url.replacen(host(url), &format!("127.0.0.1:{}", self.port), 1)
    }

    /// Whether what it was armed for has happened.
    pub(crate) fn is_done(&self) -> bool {
        self.wire.cut.load(Ordering::SeqCst) == Cut::Never as u8
    }

    /// Statements so far, of all connections.
    pub(crate) fn statements(&self) -> u64 {
        self.wire.statements.load(Ordering::SeqCst)
    }

    /// Cuts once.
    pub(crate) fn arm(&self, cut: Cut) {
        self.wire.cut.store(cut as u8, Ordering::SeqCst);
    }
}

fn host(url: &str) -> &str {
    let rest = url.split_once("//").unwrap().1;
    let rest = rest.split(['/', '?']).next().unwrap();
    rest.rsplit('@').next().unwrap()
}

/// What a client has sent of its messages (PostgreSQL's protocol, 55.7 Message Formats).
#[derive(Default)]
struct Messages {
    rest: Vec<u8>,
    /// Messages have a type once the session has started.
    typed: bool,
}

impl Messages {
    /// How many statements end in these bytes: simple ones, and executions of prepared ones.
    fn statements(&mut self, bytes: &[u8]) -> u64 {
        self.rest.extend_from_slice(bytes);
        let mut statements = 0;
        loop {
            let at = usize::from(self.typed);
            let Some(length) = self.rest.get(at..at + 4) else {
                return statements;
            };
            let end = at + u32::from_be_bytes(length.try_into().unwrap()) as usize;
            if self.rest.len() < end {
                return statements;
            }
            statements += u64::from(self.typed && matches!(self.rest[0], b'Q' | b'E'));
            // Eight bytes ask for encryption, which there is none of; the start follows.
            self.typed |= end > 8;
            self.rest.drain(..end);
        }
    }
}

async fn forward(mut client: TcpStream, mut server: TcpStream, wire: Arc<Wire>) {
    let (mut up, mut down) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let (word, armed) = (wire.word, &wire.cut);
    let mut messages = Messages::default();
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let Ok(n @ 1..) = read else { return };
                let statements = messages.statements(&up[..n]);
                wire.statements.fetch_add(statements, Ordering::SeqCst);
                let mut cut = 0;
                if up[..n].windows(word.len()).any(|part| part == word) {
                    cut = armed.swap(Cut::Never as u8, Ordering::SeqCst);
                }
                if cut == Cut::Before as u8 {
                    return;
                }
                if server.write_all(&up[..n]).await.is_err() {
                    return;
                }
                if cut == Cut::After as u8 {
                    let _ = server.read(&mut down).await;
                    return;
                }
            }
            read = server.read(&mut down) => {
                let Ok(n @ 1..) = read else { return };
                if client.write_all(&down[..n]).await.is_err() {
                    return;
                }
            }
        }
    }
}
