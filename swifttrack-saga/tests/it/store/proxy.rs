//! A wire between client and server that can be cut at a chosen moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

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
    cut: Arc<AtomicU8>,
}

impl Proxy {
    /// In front of the server of `url`; `word` is what a message has to contain to be cut.
    pub(crate) async fn to(url: &str, word: &'static [u8]) -> Self {
        let server = host(url).to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let cut = Arc::new(AtomicU8::new(Cut::Never as u8));
        let armed = Arc::clone(&cut);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.unwrap();
                tokio::spawn(forward(client, server, word, Arc::clone(&armed)));
            }
        });
        Self { port, cut }
    }

    pub(crate) fn url(&self, url: &str) -> String {
        url.replacen(host(url), &format!("127.0.0.1:{}", self.port), 1)
    }

    /// Whether what it was armed for has happened.
    pub(crate) fn is_done(&self) -> bool {
        self.cut.load(Ordering::SeqCst) == Cut::Never as u8
    }

    /// Cuts once.
    pub(crate) fn arm(&self, cut: Cut) {
        self.cut.store(cut as u8, Ordering::SeqCst);
    }
}

fn host(url: &str) -> &str {
    let rest = url.split_once("//").unwrap().1;
    let rest = rest.split(['/', '?']).next().unwrap();
    rest.rsplit('@').next().unwrap()
}

async fn forward(
    mut client: TcpStream,
    mut server: TcpStream,
    word: &'static [u8],
    armed: Arc<AtomicU8>,
) {
    let (mut up, mut down) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let Ok(n @ 1..) = read else { return };
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
