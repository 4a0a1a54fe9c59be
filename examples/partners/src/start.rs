//! From a configuration to a partner that answers.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::control::Control;
use crate::fault::Faults;
use crate::ledger::{Books, Ledger, PAGE_MAX, SecondKey, Shown};
use crate::{Config, Error, http_server};

/// What sets one partner apart from the others before its first request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Partner {
    /// Names the ledger's file.
    pub(crate) name: &'static str,
    /// What a fault rule may name.
    pub(crate) ops: &'static [&'static str],
    /// What the `code` of an `error` rule may be.
    pub(crate) codes: &'static [&'static str],
}

/// What a partner serves with.
pub(crate) struct Live<B: Books> {
    pub(crate) listener: TcpListener,
    pub(crate) ledger: Ledger<B>,
    pub(crate) faults: Arc<Faults>,
    /// Cancelled once the partner is to stop: take nothing new, finish what runs.
    pub(crate) stop: CancellationToken,
}

/// A partner that answers. Dropped, it stops taking connections and finishes
/// what runs; [`shutdown`](Self::shutdown) also waits for that.
#[derive(Debug)]
#[must_use = "dropped, the partner stops"]
pub struct Running {
    local: SocketAddr,
    control: SocketAddr,
    stop: CancellationToken,
    tasks: TaskTracker,
    faults: Arc<Faults>,
    ledger: Arc<dyn Kept>,
}

/// A ledger of any partner.
trait Kept: Send + Sync + std::fmt::Debug {
    fn close(&self);
    fn second_keys(&self) -> Vec<SecondKey>;
    fn page(&self, after: u64) -> BoxFuture<'_, io::Result<Vec<Shown>>>;
}

impl<B: Books> Kept for Ledger<B> {
    fn close(&self) {
        Self::close(self);
    }

    fn second_keys(&self) -> Vec<SecondKey> {
        Self::second_keys(self)
    }

    fn page(&self, after: u64) -> BoxFuture<'_, io::Result<Vec<Shown>>> {
        Box::pin(Self::page(self, after, PAGE_MAX))
    }
}

impl Running {
    /// Where it takes requests.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Where it takes fault rules and shows its ledger.
    #[must_use]
    pub const fn control_addr(&self) -> SocketAddr {
        self.control
    }

    /// Stops: no new connections, what runs is finished within two seconds or
    /// cut, the ledger is synced and its file let go.
    ///
    /// # Cancel safety
    ///
    /// Dropped half-way, the partner goes on stopping; only nobody waits for it.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.tasks.wait().await;
        let ledger = Arc::clone(&self.ledger);
        // It can only fail if the ledger's thread panicked; then it is closed, too.
        let _ = tokio::task::spawn_blocking(move || ledger.close()).await;
    }

    /// Its fault rules, without the way through the control port.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// All its effects so far.
    ///
    /// # Errors
    ///
    /// When the disk failed.
    pub async fn effects(&self) -> io::Result<Vec<Shown>> {
        let mut all: Vec<Shown> = Vec::new();
        loop {
            let page = self.ledger.page(all.len() as u64).await?;
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page);
        }
    }

    /// See [`Ledger::second_keys`].
    #[must_use]
    pub fn second_keys(&self) -> Vec<SecondKey> {
        self.ledger.second_keys()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Listens on both ports, opens the ledger, and runs `serve` and the control port.
///
/// A taken port is found before the ledger is touched, a bad ledger before anything is served.
pub(crate) async fn start<B, S, F>(
    config: &Config,
    partner: Partner,
    books: B,
    serve: S,
) -> Result<Running, Error>
where
    B: Books,
    S: FnOnce(Live<B>) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let (listener, local) = listen(config.listen_at()).await?;
    let control_at = match config.control_at() {
        Some(address) => address.to_owned(),
        None => beside(config.listen_at(), local)?.to_string(),
    };
    let (control_listener, control) = listen(&control_at).await?;

    let data = config.data_dir().to_owned();
    let opened = tokio::task::spawn_blocking(move || Ledger::open(&data, partner.name, books));
    let ledger = opened
        .await
        .map_err(|error| Error::setting(format!("the ledger could not be opened: {error}")))??;

    let faults = Arc::new(Faults::new(partner.ops, partner.codes, config.seed_of()));
    let stop = CancellationToken::new();
    let tasks = TaskTracker::new();
    let desk = Arc::new(Control {
        faults: Arc::clone(&faults),
        ledger: ledger.clone(),
    });
    tasks.spawn(http_server::serve(
        control_listener,
        stop.clone(),
        move |request, _| {
            let desk = Arc::clone(&desk);
            async move { Ok(desk.answer(request).await) }
        },
    ));
    tasks.spawn(serve(Live {
        listener,
        ledger: ledger.clone(),
        faults: Arc::clone(&faults),
        stop: stop.clone(),
    }));
    tasks.close();
    tracing::info!(partner = partner.name, %local, %control, "listening");
    Ok(Running {
        local,
        control,
        stop,
        tasks,
        faults,
        ledger: Arc::new(ledger),
    })
}

async fn listen(address: &str) -> Result<(TcpListener, SocketAddr), Error> {
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| Error::listen(address, source))?;
    let local = listener
        .local_addr()
        .map_err(|source| Error::listen(address, source))?;
    Ok((listener, local))
}

/// The control port's place when nobody chose one: a thousand above.
fn beside(asked: &str, local: SocketAddr) -> Result<SocketAddr, Error> {
    if asked.ends_with(":0") {
        return Ok(SocketAddr::new(local.ip(), 0));
    }
    match local.port().checked_add(1000) {
        Some(port) => Ok(SocketAddr::new(local.ip(), port)),
        None => Err(Error::setting(format!(
            "port {} leaves no room for a control port 1000 above it; name one",
            local.port()
        ))),
    }
}
