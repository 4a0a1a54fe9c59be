//! The side that answers.

mod connection;
mod inbox;
mod options;
mod reply;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::select;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use self::connection::Connection;
pub use self::options::ServerOptions;
pub use self::reply::Reply;
use super::Protocol;
use super::control::{Fault, Hello};

/// Answers the requests of a protocol.
#[async_trait]
pub trait Handler<P: Protocol>: Send + Sync + 'static {
    /// Lets a client in.
    ///
    /// # Errors
    ///
    /// The fault that it is told before the connection closes.
    async fn hello(&self, hello: &Hello) -> Result<(), Fault> {
        let _ = hello;
        Ok(())
    }

    /// Does what is asked. Up to a window of these run side by side for a connection.
    ///
    /// # Cancel safety
    ///
    /// Dropped when the connection ends: nobody could be told of the outcome any more.
    async fn handle(&self, request: P::Request, incoming: Incoming) -> Reply;
}

/// What a request says besides its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Incoming {
    /// Its correlation id.
    pub id: u64,
    /// When its caller gives up. Past it no work should begin.
    pub deadline: Option<Instant>,
}

/// Accepts clients until `shutdown`, then goes away from each and lets its requests end.
///
/// # Cancel safety
///
/// Dropping it closes the listener and every connection at once.
pub async fn serve<P, H>(
    listener: TcpListener,
    handler: Arc<H>,
    options: ServerOptions,
    shutdown: impl Future<Output = ()>,
) where
    P: Protocol,
    H: Handler<P>,
{
    let (down, _) = watch::channel(false);
    let mut connections = JoinSet::new();
    let room = Arc::new(Semaphore::new(options.connections_max));
    let accept = async {
        loop {
            // The semaphore is never closed.
            let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
                return;
            };
            while connections.try_join_next().is_some() {}
            match listener.accept().await {
                Ok((socket, _)) => {
                    let serving = serve_socket::<P, H>(
                        socket,
                        Arc::clone(&handler),
                        options,
                        down.subscribe(),
                    );
                    connections.spawn(async move {
                        serving.await;
                        drop(permit);
                    });
                }
                // Out of descriptors, most likely: let some be given back.
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(Duration::from_millis(50)).await;
                }
            }
        }
    };
    select! {
        () = accept => {}
        () = shutdown => {}
    }
    drop(listener);
    down.send_replace(true);
    while connections.join_next().await.is_some() {}
}

/// Serves one client on any stream until it ends, or until `shutdown` and what it had in flight.
///
/// # Cancel safety
///
/// Dropping it closes the connection at once.
pub async fn serve_connection<P, H, Io>(
    io: Io,
    handler: Arc<H>,
    options: ServerOptions,
    shutdown: impl Future<Output = ()>,
) where
    P: Protocol,
    H: Handler<P>,
    Io: AsyncRead + AsyncWrite + Unpin,
{
    let (down, watcher) = watch::channel(false);
    let connection = Connection::<P, H, Io>::new(io, handler, options);
    let mut serving = std::pin::pin!(connection.run(watcher));
    select! {
        _ = &mut serving => return,
        () = shutdown => {
            down.send_replace(true);
        }
    }
    serving.await;
}

async fn serve_socket<P, H>(
    socket: TcpStream,
    handler: Arc<H>,
    options: ServerOptions,
    shutdown: watch::Receiver<bool>,
) where
    P: Protocol,
    H: Handler<P>,
{
    // Small frames are batched by us; a socket that refuses this still works.
    let _ = socket.set_nodelay(true);
    let over = Connection::<P, H, TcpStream>::new(socket, handler, options)
        .run(shutdown)
        .await;
    if over.reset {
        // The peer sees a reset, as after a crash, and not an orderly end.
        let _ = over.io.set_zero_linger();
    }
}
